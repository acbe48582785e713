"""Wilcoxon's signed-rank test: each arm against the control with Holm, many arms at once, the exact distribution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from medsweep.analysis.records import Array
from medsweep.analysis.stats.p_adjustment import SMALLEST, holm

EXACT_UP_TO: Final = 50
"""Patients up to which the interval of Hodges and Lehmann uses the exact distribution."""
MOST_STEPS: Final = 40_000_000
"""Nonzero differences times the sum of their doubled ranks up to which the distribution is counted out."""


@dataclass(frozen=True)
class Wilcoxon:
    """Signed-rank test of one arm against the control, over ``n`` patients."""

    arm: str
    n: int
    p: float
    p_holm: float


def against_control(differences: Sequence[tuple[str, Array]]) -> tuple[Wilcoxon, ...]:
    """The primary family: every arm's differences from the control, Holm over all of them."""
    raw = [signed_rank_p(delta) for _, delta in differences]
    rows = zip(differences, raw, holm(raw), strict=True)
    return tuple(Wilcoxon(arm, len(delta), p, adjusted) for (arm, delta), p, adjusted in rows)


def signed_rank_p(differences: Array) -> float:
    """``signed_rank_ps`` of one arm; 1 where every difference is 0, and NaN for no patient."""
    return float(signed_rank_ps(np.asarray(differences, dtype=np.float64)[:, None])[0])


def signed_rank_ps(d_NM: Array) -> Array:
    """Two-sided Wilcoxon signed-rank p of each column, zeros ranked, then dropped (Pratt 1959).

    Exact, also with ties and zeros: the sum of doubled mid-ranks with random signs is counted over all signs. Beyond
    ``MOST_STEPS`` of work, about 270 patients without zeros, the normal distribution with the tie correction (Cureton
    1967). 1 where all differences are 0. An infinite difference has the largest rank. Assumes differences that are
    symmetric around 0 under the null, and independent patients.

    Raises:
        ValueError: a difference is NaN, as infinity minus infinity is.
    """
    if np.isnan(d_NM).any():
        raise ValueError(f"{int(np.isnan(d_NM).sum())} differences are NaN; two infinite scores differ by 0")
    n, m = d_NM.shape
    if n == 0:
        return np.full(m, math.nan)
    doubled_NM = (2 * scipy.stats.rankdata(np.abs(d_NM), axis=0)).round().astype(np.int64)
    p = np.ones(m)
    for column in range(m):
        used = d_NM[:, column] != 0
        ranks = doubled_NM[used, column]
        if ranks.size:
            p[column] = _two_sided(ranks, int(ranks[d_NM[used, column] > 0].sum()))
    return p


def _two_sided(ranks: NDArray[np.int64], plus: int) -> float:
    """P of a sum of ranks as far from its middle as ``plus``."""
    if len(ranks) * int(ranks.sum()) > MOST_STEPS:
        return _normal(ranks.astype(np.float64), plus)
    unit = int(np.gcd.reduce(ranks))
    pmf = _sum_pmf(tuple(np.sort(ranks // unit).tolist()))
    at = plus // unit
    return max(min(1.0, 2 * min(float(pmf[: at + 1].sum()), float(pmf[at:].sum()))), SMALLEST)


@lru_cache(maxsize=64)
def _sum_pmf(ranks: tuple[int, ...]) -> Array:
    """P(sum = v) of the ranks that get a plus, each with probability one half."""
    pmf = np.zeros(sum(ranks) + 1)
    pmf[0] = 1.0
    top = 0
    for rank in ranks:
        # both sides are read before either is written
        pmf[rank : top + rank + 1] += pmf[: top + 1].copy()
        pmf[: top + rank + 1] *= 0.5
        top += rank
    pmf.flags.writeable = False
    return pmf


def _normal(ranks: Array, plus: float) -> float:
    """The sum of ranks with random signs has mean half their sum and variance a quarter of their squares."""
    z = (plus - ranks.sum() / 2) / math.sqrt(float((ranks**2).sum()) / 4)
    return max(float(2 * special.ndtr(-abs(z))), SMALLEST)


def signed_rank_pmf(n: int) -> Array:
    """P(V = v), v = 0 .. n(n+1)/2, for the signed-rank sum of n untied differences under symmetry."""
    return _sum_pmf(tuple(range(1, n + 1)))
