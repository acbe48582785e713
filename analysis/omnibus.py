"""Do the arms differ at all? Friedman's test with ties, the Iman-Davenport F and Kendall's W; blocks are patients."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats


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

    @property
    def k(self) -> int:
        """Number of arms."""
        return len(self.arms)


@dataclass(frozen=True)
class NoOmnibus:
    """Why there is no omnibus test."""

    reason: str


def ranks_of(wide: pd.DataFrame, *, higher_is_better: bool) -> pd.DataFrame:
    """Ranks inside each patient, 1 is best, ties share the mean rank; same shape as ``wide`` (patients x arms)."""
    values = wide.to_numpy(dtype=np.float64)
    ranks = stats.rankdata(-values if higher_is_better else values, axis=1)
    return pd.DataFrame(ranks, index=wide.index, columns=wide.columns)


def friedman(wide: pd.DataFrame, *, higher_is_better: bool) -> Omnibus | NoOmnibus:
    """Friedman's chi2 with the tie correction (Conover 1999, 5.8) and F = (n-1) chi2 / (n(k-1) - chi2).

    ``wide``: patients x arms, complete. F is Iman and Davenport 1980; for one and the same order in every patient it
    is infinite, and p is the exact (1/k!)^(n-1).

    Raises:
        ValueError: a cell has no score; dropping its patient here would change the question asked.
    """
    holes = wide.index[wide.isna().any(axis=1)].tolist()
    if holes:
        raise ValueError(f"{len(holes)} of {len(wide)} patients lack a score, first {holes[:3]}")
    n, k = wide.shape
    if k == 2:
        return NoOmnibus("two arms: the Wilcoxon signed-rank test of the pair is the test")
    if n < 2:
        return NoOmnibus(f"{n} patient: ranks need at least two")
    ranks = ranks_of(wide, higher_is_better=higher_is_better)
    mean_ranks = tuple(float(rank) for rank in ranks.mean())
    arms = tuple(str(arm) for arm in wide.columns)
    df1, df2 = k - 1, (k - 1) * (n - 1)
    spread = float(((ranks - (k + 1) / 2) ** 2).to_numpy().sum())
    if spread == 0:
        note = "every patient scores all arms alike"
        return Omnibus(arms, n, mean_ranks, 0.0, 1.0, 0.0, df1, df2, 1.0, 0.0, note)
    chi2 = n**2 * (k - 1) * float(((ranks.mean() - (k + 1) / 2) ** 2).sum()) / spread
    slack = n * (k - 1) - chi2
    if slack < 1e-9 * n * (k - 1):
        f, p, note = math.inf, math.factorial(k) ** -float(n - 1), "every patient ranks the arms in the same order"
    else:
        f, note = (n - 1) * chi2 / slack, ""
        p = float(stats.f.sf(f, df1, df2))
    p_chi2 = float(stats.chi2.sf(chi2, df1))
    return Omnibus(arms, n, mean_ranks, chi2, p_chi2, f, df1, df2, p, chi2 / (n * (k - 1)), note)
