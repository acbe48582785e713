"""Post hoc tests on Friedman's mean ranks: Nemenyi, Bonferroni-Dunn and Conover, by scikit-posthocs.

Their verdict on a pair depends on the other arms (Benavoli, Corani, Mangili 2016); that of a signed-rank test does not.
scikit-posthocs drops a patient with a missing score without a word, so every function here refuses such a table first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import scikit_posthocs
import scipy
from scipy import special

from medsweep.analysis.records import Array, rounded
from medsweep.analysis.stats.omnibus import Omnibus, ranks_of, refuse_holes
from medsweep.analysis.stats.p_adjustment import SMALLEST, holm

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Nemenyi:
    """All pairs: ``p`` is k x k in the order of ``arms``; ``cliques`` are maximal groups without a significant pair."""

    arms: tuple[str, ...]
    p: Matrix
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
    alpha: float
    critical_difference: float
    z: tuple[float, ...]
    p: tuple[float, ...]
    p_bonferroni: tuple[float, ...]
    p_holm: tuple[float, ...]


@dataclass(frozen=True)
class Flip:
    """Nemenyi's p of a pair with all arms, and with ``left_out`` gone; one is below alpha, the other is not."""

    first: str
    second: str
    left_out: str
    p_all: float
    p_without: float


@dataclass(frozen=True)
class LeaveOneOut:
    """Verdicts of Nemenyi's test that another arm decides, of ``checked`` pairs x arms left out."""

    alpha: float
    checked: int
    flips: tuple[Flip, ...]


def standard_error(k: int, n: int) -> float:
    """SE of a difference of two mean ranks: sqrt(k (k+1) / (6 n)), without ties."""
    return math.sqrt(k * (k + 1) / (6 * n))


@lru_cache(maxsize=256)
def critical_difference(k: int, n: int, alpha: float) -> float:
    """Nemenyi's critical difference of mean ranks: q_alpha sqrt(k (k+1) / (6 n)) (Demsar 2006, 3.2.2)."""
    return float(scipy.stats.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2) * standard_error(k, n)


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
    """Nemenyi's test (Demsar 2006, 3.2.2) of all pairs; ``wide``: the n patients x k arms that ``omnibus`` is of.

    All pairs at once, hence conservative for comparisons with one control.

    Raises:
        ValueError: a cell has no score.
    """
    ranks_NK = ranks_of(wide, higher_is_better=higher_is_better)
    p_KK = scikit_posthocs.posthoc_nemenyi_friedman(ranks_NK).to_numpy()
    difference = critical_difference(omnibus.k, omnibus.n, alpha)
    return Nemenyi(
        arms=omnibus.arms,
        p=matrix(np.maximum(p_KK, SMALLEST)),
        critical_difference=difference,
        alpha=alpha,
        cliques=cliques(omnibus.arms, omnibus.mean_ranks, difference),
    )


def bonferroni_dunn(
    wide: pd.DataFrame, omnibus: Omnibus, control: str, *, higher_is_better: bool, alpha: float
) -> BonferroniDunn:
    """Dunn's comparison of mean ranks with one control (Demsar 2006, 3.2.2), k - 1 comparisons; ``wide`` as in Nemenyi.

    CD = z_(alpha / (2 (k-1))) sqrt(k (k+1) / (6 n)). Normal approximation, hence not for a handful of patients. The
    signed-rank tests with Holm are the primary family.

    Raises:
        ValueError: a cell has no score.
    """
    at, others = omnibus.arms.index(control), [arm != control for arm in omnibus.arms]
    ranks_NK = ranks_of(wide, higher_is_better=higher_is_better)
    p = np.maximum(scikit_posthocs.posthoc_siegel_friedman(ranks_NK).to_numpy()[at, others], SMALLEST)
    error, mean_ranks = standard_error(omnibus.k, omnibus.n), np.array(omnibus.mean_ranks)
    return BonferroniDunn(
        control=control,
        arms=tuple(arm for arm in omnibus.arms if arm != control),
        alpha=alpha,
        critical_difference=float(-special.ndtri(alpha / (2 * len(p)))) * error,
        z=tuple(((mean_ranks[at] - mean_ranks[others]) / error).tolist()),
        p=tuple(p.tolist()),
        p_bonferroni=tuple(np.minimum(len(p) * p, 1.0).tolist()),
        p_holm=holm(p.tolist()),
    )


def conover(wide: pd.DataFrame, *, higher_is_better: bool) -> tuple[Matrix, str]:
    """Holm-adjusted p of Conover's t test on rank sums (Conover 1999, 5.8), k x k, and a note where it has none.

    ``wide``: n patients x k arms. Assumes that the omnibus test rejects. Where every patient ranks the arms in the same
    order the test has no error term, and scikit-posthocs 0.17 divides by zero (0 or NaN for ten patients who all order
    three arms alike). The sign test of each pair is exact there, and stands in.

    Raises:
        ValueError: a cell has no score.
    """
    ranks_NK = ranks_of(wide, higher_is_better=higher_is_better)
    n, k = ranks_NK.shape
    if (ranks_NK == ranks_NK[0]).all():
        pairs = np.triu_indices(k, 1)
        sign_test = np.where(ranks_NK[0, pairs[0]] != ranks_NK[0, pairs[1]], min(1.0, 2.0 ** (1 - n)), 1.0)
        note = "every patient ranks the arms in the same order, so Conover's t has no error term: sign test instead"
        return symmetric(holm(sign_test.tolist()), k), note
    p_KK = scikit_posthocs.posthoc_conover_friedman(ranks_NK, p_adjust="holm").to_numpy()
    return matrix(np.maximum(p_KK, SMALLEST)), ""


def leave_one_arm_out(wide: pd.DataFrame, *, higher_is_better: bool, alpha: float) -> LeaveOneOut:
    """Which of Nemenyi's verdicts another arm decides (Benavoli, Corani and Mangili 2016): each is left out in turn.

    Without arm a, the mean rank of j falls by the share of patients for whom a beats j, ties counting half. Needs
    four arms, since two are no pool.

    Raises:
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    arms, (n, k) = tuple(str(arm) for arm in wide.columns), wide.shape
    if k < 4:
        return LeaveOneOut(alpha, 0, ())
    values = rounded(wide.to_numpy(dtype=np.float64))
    oriented = values if higher_is_better else -values
    beats = np.stack([((arm > oriented) + 0.5 * (arm == oriented)).mean(axis=0) for arm in oriented.T[:, :, None]])
    ranks = 0.5 + beats.sum(axis=0)
    far, first, second = critical_difference(k, n, alpha), *np.triu_indices(k, 1)
    flips = []
    for left_out in range(k):
        fewer = ranks - beats[left_out]
        # rounding keeps a gap that equals the critical difference on one side of it
        gaps, gaps_without = (np.abs(mean[first] - mean[second]).round(12) for mean in (ranks, fewer))
        flipped = (gaps >= far) != (gaps_without >= critical_difference(k - 1, n, alpha))
        for pair in np.flatnonzero(flipped & (first != left_out) & (second != left_out)):
            p = (_nemenyi_p(gaps[pair], k, n), _nemenyi_p(gaps_without[pair], k - 1, n))
            flips.append(Flip(arms[first[pair]], arms[second[pair]], arms[left_out], *p))
    return LeaveOneOut(alpha, k * math.comb(k - 1, 2), tuple(flips))


def _nemenyi_p(gap: float, k: int, n: int) -> float:
    return float(scipy.stats.studentized_range.sf(gap * math.sqrt(2) / standard_error(k, n), k, np.inf))


def symmetric(pairs: Sequence[float], k: int) -> Matrix:
    """k x k with ``pairs`` (row by row above the diagonal) above and below the diagonal, which is 1."""
    p_KK = np.ones((k, k))
    rows, columns = np.triu_indices(k, 1)
    p_KK[rows, columns] = p_KK[columns, rows] = pairs
    return matrix(p_KK)


def matrix(p_KK: Array) -> Matrix:
    """A square array as the records hold it."""
    return tuple(tuple(row) for row in p_KK.tolist())
