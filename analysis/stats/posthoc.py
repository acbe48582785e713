"""Which arms differ: Nemenyi over all pairs, as the field prints it, and Wilcoxon against the control with Holm.

The Nemenyi verdict on a pair depends on the other arms (Benavoli, Corani, Mangili 2016); Wilcoxon's does not.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from medsweep.analysis.records import Array
from medsweep.analysis.stats.adjust import SMALLEST, holm, symmetric
from medsweep.analysis.stats.omnibus import Omnibus
from medsweep.analysis.stats.signed_rank import signed_rank_ps
from medsweep.analysis.stats.studentised import range_quantile, range_sf
from medsweep.errors import nearest

__all__ = [
    "BonferroniDunn",
    "Nemenyi",
    "Wilcoxon",
    "against_control",
    "bonferroni_dunn",
    "cliques",
    "critical_difference",
    "holm",
    "nemenyi",
    "signed_rank_p",
    "small_n_warning",
    "smallest_p",
]


@dataclass(frozen=True)
class Nemenyi:
    """All pairs: ``p`` is k x k in the order of ``arms``; ``cliques`` are maximal groups without a significant pair."""

    arms: tuple[str, ...]
    p: tuple[tuple[float, ...], ...]
    critical_difference: float
    alpha: float
    cliques: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BonferroniDunn:
    """Mean ranks against the control's: ``z`` is positive where the arm ranks better; ``arms`` without the control.

    ``p`` is the two-sided normal p, ``p_bonferroni`` times k - 1, ``p_holm`` step-down; an arm differs by Bonferroni
    exactly where its mean rank is ``critical_difference`` or more from the control's.
    """

    control: str
    arms: tuple[str, ...]
    n: int
    alpha: float
    critical_difference: float
    z: tuple[float, ...]
    p: tuple[float, ...]
    p_bonferroni: tuple[float, ...]
    p_holm: tuple[float, ...]


@dataclass(frozen=True)
class Wilcoxon:
    """Signed-rank test of one arm against the control, over ``n`` patients."""

    arm: str
    n: int
    p: float
    p_holm: float


def standard_error(k: int, n: int) -> float:
    """SE of a difference of two mean ranks: sqrt(k (k+1) / (6 n)), without ties."""
    return math.sqrt(k * (k + 1) / (6 * n))


def critical_difference(k: int, n: int, alpha: float) -> float:
    """Nemenyi's critical difference of mean ranks: q_alpha sqrt(k (k+1) / (6 n)) (Demsar 2006, 3.2.2)."""
    return range_quantile(alpha, k) / math.sqrt(2) * standard_error(k, n)


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
    """Nemenyi's test (Demsar 2006, 3.2.2): |R_i - R_j| sqrt(2) / SE against the studentised range of k normals.

    ``omnibus`` gives the mean ranks of the complete ``wide`` (patients x arms). All pairs at once, hence conservative
    for comparisons with one control; the verdict on a pair moves with the other arms.

    Raises:
        ValueError: ``omnibus`` is of another table.
    """
    if (omnibus.n, omnibus.k) != wide.shape:
        raise ValueError(f"omnibus test of {omnibus.n} x {omnibus.k} scores beside a table of {wide.shape}")
    ranks, (i, j) = np.asarray(omnibus.mean_ranks), np.triu_indices(omnibus.k, 1)
    apart = np.abs(ranks[i] - ranks[j])
    p = symmetric(range_sf(apart * math.sqrt(2) / standard_error(omnibus.k, omnibus.n), omnibus.k), omnibus.k)
    difference = critical_difference(omnibus.k, omnibus.n, alpha)
    return Nemenyi(
        arms=omnibus.arms,
        p=tuple(tuple(row) for row in p.tolist()),
        critical_difference=difference,
        alpha=alpha,
        cliques=cliques(omnibus.arms, omnibus.mean_ranks, difference),
    )


def bonferroni_dunn(omnibus: Omnibus, control: str, alpha: float) -> BonferroniDunn:
    """Dunn's comparison of mean ranks with one control (Demsar 2006, 3.2.2), k - 1 comparisons.

    CD = z_(alpha / (2 (k-1))) sqrt(k (k+1) / (6 n)). Normal approximation, hence not for a handful of patients, and
    dependent on the pool as Nemenyi's test is: the signed-rank tests with Holm are the primary family.

    Raises:
        ValueError: no arm is called ``control``.
    """
    if control not in omnibus.arms:
        raise ValueError(f"no arm is called {control!r}; {nearest(control, omnibus.arms)}")
    ranks, comparisons = dict(zip(omnibus.arms, omnibus.mean_ranks, strict=True)), omnibus.k - 1
    error = standard_error(omnibus.k, omnibus.n)
    arms = tuple(arm for arm in omnibus.arms if arm != control)
    z = tuple((ranks[control] - ranks[arm]) / error for arm in arms)
    p = tuple(np.maximum(2 * special.ndtr(-np.abs(z)), SMALLEST).tolist())
    return BonferroniDunn(
        control=control,
        arms=arms,
        n=omnibus.n,
        alpha=alpha,
        critical_difference=float(-special.ndtri(alpha / (2 * comparisons)) * error),
        z=z,
        p=p,
        p_bonferroni=tuple(min(1.0, comparisons * one) for one in p),
        p_holm=holm(p),
    )


def signed_rank_p(differences: Array) -> float:
    """Two-sided Wilcoxon signed-rank p with Pratt's zeros: exact, by permutation or normal by n, as scipy chooses.

    1 where every difference is 0, and NaN for no patient; see ``signed_rank_ps``.
    """
    return float(signed_rank_ps(np.asarray(differences, dtype=np.float64)[:, None])[0])


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
