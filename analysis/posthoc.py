"""Which arms differ: Nemenyi over all pairs, as the field prints it, and Wilcoxon against the control with Holm.

The Nemenyi verdict on a pair depends on the other arms (Benavoli, Corani, Mangili 2016); Wilcoxon's does not.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats

from analysis.omnibus import Omnibus, ranks_of
from analysis.records import Array


@dataclass(frozen=True)
class Nemenyi:
    """All pairs: ``p`` is k x k in the order of ``arms``; ``cliques`` are maximal groups without a significant pair."""

    arms: tuple[str, ...]
    p: tuple[tuple[float, ...], ...]
    critical_difference: float
    alpha: float
    cliques: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Wilcoxon:
    """Signed-rank test of one arm against the control, over ``n`` patients."""

    arm: str
    n: int
    p: float
    p_holm: float


def critical_difference(k: int, n: int, alpha: float) -> float:
    """Nemenyi's critical difference of mean ranks: q_alpha sqrt(k (k+1) / (6 n)) (Demsar 2006, 3.2.2)."""
    q = float(stats.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
    return q * math.sqrt(k * (k + 1) / (6 * n))


def cliques(arms: Sequence[str], mean_ranks: Sequence[float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Maximal groups of arms, best first, whose mean ranks all differ by less than ``difference``; no singles.

    Under one critical difference such groups are intervals of mean ranks.
    """
    order = sorted(range(len(arms)), key=lambda i: (mean_ranks[i], i))
    groups: list[tuple[str, ...]] = []
    last_end = 0
    for start in range(len(order)):
        end = start
        while end < len(order) and mean_ranks[order[end]] - mean_ranks[order[start]] < difference:
            end += 1
        if end > last_end and end - start > 1:
            groups.append(tuple(arms[i] for i in order[start:end]))
        last_end = max(last_end, end)
    return tuple(groups)


def nemenyi(wide: pd.DataFrame, omnibus: Omnibus, *, higher_is_better: bool, alpha: float) -> Nemenyi:
    """Nemenyi's test on the complete ``wide`` (patients x arms); ``omnibus`` gives the mean ranks."""
    ranks = ranks_of(wide, higher_is_better=higher_is_better).to_numpy()
    matrix = scikit_posthocs.posthoc_nemenyi_friedman(ranks).to_numpy()
    difference = critical_difference(omnibus.k, omnibus.n, alpha)
    return Nemenyi(
        arms=omnibus.arms,
        p=tuple(tuple(float(p) for p in row) for row in matrix),
        critical_difference=difference,
        alpha=alpha,
        cliques=cliques(omnibus.arms, omnibus.mean_ranks, difference),
    )


def signed_rank_p(differences: Array) -> float:
    """Two-sided Wilcoxon signed-rank p with Pratt's zeros: exact, by permutation or normal as scipy chooses by n.

    1 where every difference is 0, and NaN for no patient.
    """
    if len(differences) == 0:
        return math.nan
    if not differences.any():
        return 1.0
    with warnings.catch_warnings():
        # scipy computes the normal z even where it then takes the exact p; with one nonzero difference it divides by 0
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjustment (Holm 1979); a NaN stays NaN and counts as a comparison."""
    raw = np.asarray(p, dtype=np.float64)
    known = np.where(np.isnan(raw), 1.0, raw)
    order = np.argsort(known, kind="stable")
    steps = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(steps, 1.0)
    return tuple(np.where(np.isnan(raw), math.nan, adjusted).tolist())


def against_control(differences: Sequence[tuple[str, Array]]) -> tuple[Wilcoxon, ...]:
    """The primary family: every arm's differences from the control, Holm over all of them."""
    raw = [signed_rank_p(delta) for _, delta in differences]
    rows = zip(differences, raw, holm(raw), strict=True)
    return tuple(Wilcoxon(arm, len(delta), p, adjusted) for (arm, delta), p, adjusted in rows)


def smallest_p(n: int) -> float:
    """Smallest two-sided p the signed-rank test can reach with ``n`` nonzero, untied differences: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - n))


def small_n_warning(n: int, comparisons: int, alpha: float) -> str | None:
    """Says so when the first Holm step cannot reach ``alpha`` whatever the data."""
    reachable = smallest_p(n) * comparisons
    if reachable <= alpha:
        return None
    return (
        f"With {n} patients and {comparisons} comparisons the smallest Holm-adjusted signed-rank p is "
        f"{min(reachable, 1.0):.3g}, above {alpha:g}: no arm can be shown to differ from the control."
    )
