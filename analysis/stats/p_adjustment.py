"""Adjusted p values: Holm for any family of tests, Shaffer for all pairs of arms.

Both hold the family-wise error whatever the dependence between the tests.
"""

import math
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.analysis.records import Array

SMALLEST: Final = sys.float_info.min
"""The least p that is reported: one that underflows is tiny, not 0."""


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjustment (Holm 1979). A NaN stays NaN and counts as a comparison.

    Equal to ``multipletests`` of statsmodels 0.15, which collects garbage at each call. That takes 0.1 s or more, and
    an analysis adjusts hundreds of families.
    """
    raw = np.asarray(p, dtype=np.float64)
    return _step_down(raw, np.arange(len(raw), 0, -1))


def shaffer(p: Sequence[float], k: int) -> tuple[float, ...]:
    """Shaffer's static procedure (Shaffer 1986, S1) over all k (k-1) / 2 pairs of k arms, in the given order.

    The i-th smallest p is multiplied by the largest number of pairs that can all be equal once i - 1 pairs differ: if A
    differs from B, then C cannot equal both. Never above Holm's. No library has it (statsmodels 0.15, scikit-posthocs
    0.17).

    Raises:
        ValueError: the number of p values is not that of the pairs, or one is NaN.
    """
    raw = np.asarray(p, dtype=np.float64)
    if len(raw) != math.comb(k, 2) or np.isnan(raw).any():
        raise ValueError(
            f"{k} arms need {math.comb(k, 2)} p values, one for each pair, got {int(np.isfinite(raw).sum())}"
        )
    possible = np.array(sorted(true_counts(k)))
    left = np.arange(len(raw), 0, -1)
    factors = possible[np.searchsorted(possible, left, side="right") - 1]
    return _step_down(raw, factors)


def _step_down(raw: Array, factors: NDArray[np.integer]) -> tuple[float, ...]:
    """The i-th smallest p times ``factors[i]``, never below the one before it and at most 1, in the given order."""
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * factors), 1.0)
    return tuple(adjusted.tolist())


def true_counts(k: int) -> frozenset[int]:
    """Numbers of pairwise equalities of k arms that can hold at once: S(k) = union of C(j, 2) + S(k - j)."""
    counts: list[frozenset[int]] = [frozenset({0}), frozenset({0})]
    for size in range(2, k + 1):
        counts.append(frozenset(math.comb(j, 2) + rest for j in range(1, size + 1) for rest in counts[size - j]))
    return counts[k]
