"""Do the arms differ at all? Friedman's test with ties, the Iman-Davenport F and Kendall's W; blocks are patients."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import scipy

from medsweep.analysis.records import Array, rounded
from medsweep.analysis.stats.p_adjustment import SMALLEST

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
class NoOmnibus:
    """Why there is no omnibus test."""

    reason: str


def ranks_of(wide: pd.DataFrame, *, higher_is_better: bool) -> Array:
    """Ranks inside each patient, 1 is best, ties share the mean rank; same shape as ``wide`` (patients x arms).

    Raises:
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    values = rounded(wide.to_numpy(dtype=np.float64))
    ranks: Array = scipy.stats.rankdata(-values if higher_is_better else values, axis=1)
    return ranks


def friedman(wide: pd.DataFrame, *, higher_is_better: bool) -> Omnibus | NoOmnibus:
    """Friedman's chi2 with the tie correction (Conover 1999, 5.8) and F = (n-1) chi2 / (n(k-1) - chi2).

    ``wide``: patients x arms, complete. F is Iman and Davenport 1980; for one and the same order in every patient it
    is infinite, and p is the exact (1/k!)^(n-1), with fewer orders than k! where arms are tied.

    Raises:
        ValueError: a cell has no score; dropping its patient here would change the question asked.
    """
    refuse_holes(wide)
    n, k = wide.shape
    if k < 2:
        return NoOmnibus(f"{k} arm: nothing to compare")
    if k == 2:
        return NoOmnibus(TWO_ARMS)
    if n < 2:
        return NoOmnibus(f"{n} patient: ranks need at least two")
    ranks = ranks_of(wide, higher_is_better=higher_is_better)
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
        p = max(float(scipy.stats.f.sf(f, df1, df2)), SMALLEST)
    p_chi2 = max(float(scipy.stats.chi2.sf(chi2, df1)), SMALLEST)
    return Omnibus(arms, n, mean_ranks, chi2, p_chi2, f, df1, df2, p, chi2 / (n * (k - 1)), note, ties)


def refuse_holes(wide: pd.DataFrame) -> None:
    """Complete blocks or an error that names the first patients; raises ValueError."""
    holes = wide.index[wide.isna().any(axis=1)].tolist()
    if holes:
        raise ValueError(f"{len(holes)} of {len(wide)} patients lack a score, first {holes[:3]}")


def _same_order_p(ranks: Array) -> float:
    """Probability that n patients share one order: one in k! / (t_1! t_2! ...) for each but the first."""
    n, k = ranks.shape
    _, ties = np.unique(ranks[0], return_counts=True)
    orders = math.factorial(k) // math.prod(math.factorial(int(t)) for t in ties)
    return max(math.exp(-(n - 1) * math.log(orders)), SMALLEST)
