"""All pairs of arms by Wilcoxon's test: the matrix beside Nemenyi's, and other procedures on request."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsweep.analysis.records import Estimate, mean_estimate, rounded
from medsweep.analysis.stats.mean_ranks import Matrix, conover, symmetric
from medsweep.analysis.stats.omnibus import ranks_of, refuse_holes
from medsweep.analysis.stats.p_adjustment import holm, shaffer
from medsweep.analysis.stats.wilcoxon import signed_rank_ps
from medsweep.analysis.table.reduction import PostHocMethod, difference


@dataclass(frozen=True)
class PairComparison:
    """``first`` minus ``second`` in units of the metric; ``wins`` are patients for whom ``first`` is better.

    The mean is over the ``n_finite`` patients with a finite difference; p and wins are over all.
    """

    first: str
    second: str
    n_finite: int
    mean: Estimate
    wins: int
    ties: int
    losses: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Pairwise:
    """Every pair once, in the order of ``arms``; signed-rank p with Holm over all k (k-1) / 2 pairs.

    ``order`` are positions in ``arms``, best mean first (an arm with an infinite score last, by mean rank).
    """

    arms: tuple[str, ...]
    n: int
    alpha: float
    level: float
    order: tuple[int, ...]
    pairs: tuple[PairComparison, ...]
    method: str = "Wilcoxon signed-rank, Pratt zeros; Holm over all pairs"

    @property
    def k(self) -> int:
        """Number of arms."""
        return len(self.arms)


@dataclass(frozen=True)
class AllPairs:
    """Adjusted p of all pairs, k x k in the order of the table; ``note`` says where a rule was bent."""

    method: PostHocMethod
    test: str
    correction: str
    p: Matrix
    note: str = ""


def pairwise(wide: pd.DataFrame, *, higher_is_better: bool, alpha: float, level: float) -> Pairwise:
    """Mean difference, win/tie/loss, and signed-rank p with Holm for every pair (Ismail-Fawaz et al. 2023, the MCM).

    ``wide``: n patients x k arms, complete; intervals of the mean are t intervals at ``level``. Two infinite scores
    of a patient differ by 0. ``scikit_posthocs.posthoc_wilcoxon`` pairs patients by the order of the rows, so that a
    shuffled long table changes every p.

    Raises:
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    values = wide.to_numpy(dtype=np.float64)
    n, k = values.shape
    rows, columns = np.triu_indices(k, 1)
    delta = difference(values[:, rows], values[:, columns])
    raw = signed_rank_ps(delta).tolist()
    gains = delta if higher_is_better else -delta
    wins, ties = (gains > 0).sum(axis=0).tolist(), (gains == 0).sum(axis=0).tolist()
    arms = tuple(str(arm) for arm in wide.columns)
    pairs = []
    for at, (i, j, p, p_holm) in enumerate(zip(rows, columns, raw, holm(raw), strict=True)):
        finite = delta[np.isfinite(delta[:, at]), at]
        counts = (wins[at], ties[at], n - wins[at] - ties[at])
        pairs.append(PairComparison(arms[i], arms[j], len(finite), mean_estimate(finite, level), *counts, p, p_holm))
    return Pairwise(arms, n, alpha, level, _order(wide, higher_is_better), tuple(pairs))


def _order(wide: pd.DataFrame, higher_is_better: bool) -> tuple[int, ...]:
    means = rounded(wide.to_numpy(dtype=np.float64).mean(axis=0))
    ranks = ranks_of(wide, higher_is_better=higher_is_better).mean(axis=0)
    oriented = -means if higher_is_better else means
    return tuple(sorted(range(len(means)), key=lambda i: (oriented[i], ranks[i], i)))


def all_pairs(wide: pd.DataFrame, method: PostHocMethod, *, higher_is_better: bool) -> AllPairs:
    """All pairs by another procedure than Nemenyi's, on request; ``wide``: n patients x k arms, complete.

    ``shaffer`` corrects signed-rank p, which do not depend on the other arms. ``conover`` tests mean ranks, which do.

    Raises:
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    if method == "conover":
        p_KK, note = conover(wide, higher_is_better=higher_is_better)
        return AllPairs(method, "Conover's t on rank sums", "Holm", p_KK, note)
    values, k = wide.to_numpy(dtype=np.float64), wide.shape[1]
    rows, columns = np.triu_indices(k, 1)
    raw = signed_rank_ps(difference(values[:, rows], values[:, columns])).tolist()
    return AllPairs(method, "Wilcoxon signed-rank", "Shaffer (static)", symmetric(shaffer(raw, k), k))
