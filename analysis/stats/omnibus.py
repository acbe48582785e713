"""Do the arms differ at all? Friedman's test with ties, the Iman-Davenport F and Kendall's W; blocks are patients.

Quade's test, which weighs patients by their spread, and aligned ranks, which compare across patients, show how far the
answer hangs on Friedman's choice to use the order inside each patient alone.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy import stats

from medsweep.analysis.records import Array
from medsweep.analysis.stats.adjust import SMALLEST

TWO_ARMS: Final = "two arms: the Wilcoxon signed-rank test of the pair is the test"
ALIKE: Final = "every patient scores all arms alike"
SAME_ORDER: Final = "every patient ranks the arms in the same order"


@dataclass(frozen=True)
class Omnibus:
    """n blocks, k arms; ``mean_ranks`` in the order of ``arms``, rank 1 is best. F is the main statistic."""

    arms: tuple[str, ...]
    n: int
    mean_ranks: tuple[float, ...]
    chi2: float
    p_chi2: float
    f: float
    df1: int
    df2: int
    p: float
    kendall_w: float
    note: str = ""
    ties: int = 0
    """Patients with at least one tie between arms."""

    @property
    def k(self) -> int:
        """Number of arms."""
        return len(self.arms)


@dataclass(frozen=True)
class Quade:
    """Quade's F over n patients; ``scores`` are mean weighted ranks, centred on 0, the lowest is best."""

    arms: tuple[str, ...]
    n: int
    scores: tuple[float, ...]
    f: float
    df1: int
    df2: int
    p: float
    note: str = ""
    method: str = "Quade"


@dataclass(frozen=True)
class AlignedRanks:
    """Aligned-rank chi2 over n patients; ``mean_ranks`` run from 1 (best) to n k over all scores together."""

    arms: tuple[str, ...]
    n: int
    mean_ranks: tuple[float, ...]
    chi2: float
    df: int
    p: float
    note: str = ""
    method: str = "Friedman test on aligned ranks"


@dataclass(frozen=True)
class NoOmnibus:
    """Why there is no omnibus test."""

    reason: str


def ranks_of(wide: pd.DataFrame, *, higher_is_better: bool) -> pd.DataFrame:
    """Ranks inside each patient, 1 is best, ties share the mean rank; same shape as ``wide`` (patients x arms)."""
    return pd.DataFrame(_ranks(wide, higher_is_better), index=wide.index, columns=wide.columns)


def friedman(wide: pd.DataFrame, *, higher_is_better: bool) -> Omnibus | NoOmnibus:
    """Friedman's chi2 with the tie correction (Conover 1999, 5.8) and F = (n-1) chi2 / (n(k-1) - chi2).

    ``wide``: patients x arms, complete. F is Iman and Davenport 1980; for one and the same order in every patient it
    is infinite, and p is the exact (1/k!)^(n-1), with fewer orders than k! where arms are tied.

    Raises:
        ValueError: a cell has no score; dropping its patient here would change the question asked.
    """
    refused = _refused(wide)
    if refused is not None:
        return refused
    n, k = wide.shape
    ranks = _ranks(wide, higher_is_better)
    mean_ranks = tuple(ranks.mean(axis=0).tolist())
    arms = tuple(str(arm) for arm in wide.columns)
    ties = int((np.diff(np.sort(ranks, axis=1), axis=1) == 0).any(axis=1).sum())
    df1, df2 = k - 1, (k - 1) * (n - 1)
    spread = float(((ranks - (k + 1) / 2) ** 2).sum())
    if spread == 0:
        return Omnibus(arms, n, mean_ranks, 0.0, 1.0, 0.0, df1, df2, 1.0, 0.0, ALIKE, ties)
    chi2 = n**2 * (k - 1) * float(((ranks.mean(axis=0) - (k + 1) / 2) ** 2).sum()) / spread
    slack = n * (k - 1) - chi2
    if slack < 1e-9 * n * (k - 1):
        f, p, note = math.inf, _same_order_p(ranks), SAME_ORDER
    else:
        f, note = (n - 1) * chi2 / slack, ""
        p = max(float(stats.f.sf(f, df1, df2)), SMALLEST)
    p_chi2 = max(float(stats.chi2.sf(chi2, df1)), SMALLEST)
    return Omnibus(arms, n, mean_ranks, chi2, p_chi2, f, df1, df2, p, chi2 / (n * (k - 1)), note, ties)


def quade(wide: pd.DataFrame, *, higher_is_better: bool) -> Quade | NoOmnibus:
    """Quade's test (Quade 1979; Conover 1999, 5.8): ranks inside a patient times the rank of the patient's range.

    ``wide``: patients x arms, complete. More powerful than Friedman's for few arms where ranges of different patients
    compare; not for a metric without a common scale. A patient with an infinite score has the widest range. Where all
    patients weigh the same and agree, F is infinite and p the exact one.

    Raises:
        ValueError: a cell has no score.
    """
    refused = _refused(wide)
    if refused is not None:
        return refused
    n, k = wide.shape
    values = wide.to_numpy(dtype=np.float64)
    low, high = values.min(axis=1), values.max(axis=1)
    ranges = np.zeros(n)
    np.subtract(high, low, out=ranges, where=high != low)
    ranks = _ranks(wide, higher_is_better)
    scores_NK = stats.rankdata(ranges.round(12))[:, None] * (ranks - (k + 1) / 2)
    arms, df1, df2 = tuple(str(arm) for arm in wide.columns), k - 1, (k - 1) * (n - 1)
    total, between = float((scores_NK**2).sum()), float((scores_NK.sum(axis=0) ** 2).sum() / n)
    means = tuple(scores_NK.mean(axis=0).tolist())
    if total == 0:
        return Quade(arms, n, means, 0.0, df1, df2, 1.0, ALIKE)
    if total - between < 1e-9 * total:
        return Quade(arms, n, means, math.inf, df1, df2, _same_order_p(ranks), SAME_ORDER)
    f = (n - 1) * between / (total - between)
    return Quade(arms, n, means, f, df1, df2, max(float(stats.f.sf(f, df1, df2)), SMALLEST))


def aligned_ranks(wide: pd.DataFrame, *, higher_is_better: bool) -> AlignedRanks | NoOmnibus:
    """Hodges and Lehmann 1962: each patient's mean is taken off, then all n k scores are ranked together.

    chi2 = (k-1) sum_j (R_j - n (nk+1)/2)^2 / sum_ij (r_ij - r_i.)^2, the permutation variance, so that ties need no
    correction. Gains over Friedman's where arms are few. Not for infinite scores, whose patient has no mean.

    Raises:
        ValueError: a cell has no score.
    """
    refused = _refused(wide)
    if refused is not None:
        return refused
    values = wide.to_numpy(dtype=np.float64)
    if np.isinf(values).any():
        lost = int(np.isinf(values).any(axis=1).sum())
        return NoOmnibus(f"{lost} patients have an infinite score, which no mean can align; Friedman's test ranks it")
    n, k = values.shape
    # near-ties of floating point would rank at random
    aligned = (values - values.mean(axis=1, keepdims=True)).round(12)
    ranks = stats.rankdata(-aligned if higher_is_better else aligned).reshape(n, k)
    arms, mean_ranks = tuple(str(arm) for arm in wide.columns), tuple(ranks.mean(axis=0).tolist())
    within = float(((ranks - ranks.mean(axis=1, keepdims=True)) ** 2).sum())
    if within == 0:
        return AlignedRanks(arms, n, mean_ranks, 0.0, k - 1, 1.0, ALIKE)
    chi2 = (k - 1) * float(((ranks.sum(axis=0) - n * (n * k + 1) / 2) ** 2).sum()) / within
    p = max(float(stats.chi2.sf(chi2, k - 1)), SMALLEST)
    return AlignedRanks(arms, n, mean_ranks, chi2, k - 1, p)


def refuse_holes(wide: pd.DataFrame) -> None:
    """Complete blocks or an error that names the first patients; raises ValueError."""
    holes = wide.index[wide.isna().any(axis=1)].tolist()
    if holes:
        raise ValueError(f"{len(holes)} of {len(wide)} patients lack a score, first {holes[:3]}")


def _refused(wide: pd.DataFrame) -> NoOmnibus | None:
    refuse_holes(wide)
    n, k = wide.shape
    if k < 2:
        return NoOmnibus(f"{k} arm: nothing to compare")
    if k == 2:
        return NoOmnibus(TWO_ARMS)
    if n < 2:
        return NoOmnibus(f"{n} patient: ranks need at least two")
    return None


def _ranks(wide: pd.DataFrame, higher_is_better: bool) -> Array:
    values = wide.to_numpy(dtype=np.float64).round(12)
    ranks: Array = stats.rankdata(-values if higher_is_better else values, axis=1)
    return ranks


def _same_order_p(ranks: Array) -> float:
    """Probability that n patients share one order: one in k! / (t_1! t_2! ...) for each but the first."""
    n, k = ranks.shape
    _, ties = np.unique(ranks[0], return_counts=True)
    orders = math.factorial(k) // math.prod(math.factorial(int(t)) for t in ties)
    return max(math.exp(-(n - 1) * math.log(orders)), SMALLEST)
