"""How firm is the ranking? Patients are resampled, all arms and seeds together, and the arms ranked again."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from medsweep.analysis.records import Array, rounded
from medsweep.analysis.stats.effects import RESAMPLES, bootstrap_means
from medsweep.analysis.stats.omnibus import refuse_holes


@dataclass(frozen=True)
class RankStability:
    """Rank of the arm's mean over patients (1 is best), share of resamples it leads, middle ``level`` of ranks.

    ``shares`` are those of rank 1 .. k, where arms that tie share the ranks they cover; ``mean_rank`` is the mean of
    the arm's ranks inside patients, the other way to rank.
    """

    arm: str
    rank: float
    share_first: float
    low: float
    high: float
    shares: tuple[float, ...]
    mean_rank: float


@dataclass(frozen=True)
class Ranking:
    """The whole ranking over ``n`` patients, arms in their given order.

    ``tau``: Kendall's tau-b of a resample's ranking with the full one, mean and middle ``level``; NaN where all arms
    tie. ``tau_aggregation``: of the ranking by means with the one by mean ranks.
    """

    n: int
    resamples: int
    level: float
    arms: tuple[RankStability, ...]
    tau: float
    tau_low: float
    tau_high: float
    tau_aggregation: float
    method: str = "percentile bootstrap over patients"


def ranking(wide: pd.DataFrame, *, higher_is_better: bool, level: float, resamples: int = RESAMPLES) -> Ranking:
    """Bootstrap of the ranking by mean score; ``wide``: patients x arms, complete.

    Shows how much of a podium is luck of the patients drawn; retraining moves ranks as well, which it does not show.
    The ranks of a bootstrap sample spread somewhat more than those of a new sample would.

    Raises:
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    values = rounded(wide.sort_index().to_numpy(dtype=np.float64))
    oriented = -values if higher_is_better else values
    n = len(oriented)
    means_BK = bootstrap_means(oriented, resamples, "patients")
    ranks_BK = scipy.stats.rankdata(means_BK, axis=1)
    full = scipy.stats.rankdata(rounded(oriented.mean(axis=0)))
    within = scipy.stats.rankdata(oriented, axis=1).mean(axis=0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ranks_BK, tails, axis=0, method="inverted_cdf")
    shares_KK = _shares(means_BK)
    tau = _tau(ranks_BK, full)
    defined = tau[~np.isnan(tau)]
    tau_low, tau_high = np.quantile(defined, tails, method="inverted_cdf") if len(defined) else (np.nan, np.nan)
    arms = tuple(
        RankStability(str(arm), rank, shares[0], arm_low, arm_high, tuple(shares), mean_rank)
        for arm, rank, shares, arm_low, arm_high, mean_rank in zip(
            wide.columns, full.tolist(), shares_KK.tolist(), low.tolist(), high.tolist(), within.tolist(), strict=True
        )
    )
    mean_tau = float(defined.mean()) if len(defined) else float("nan")
    agreement = float(_tau(within[None, :].round(12), full)[0])
    return Ranking(n, resamples, level, arms, mean_tau, float(tau_low), float(tau_high), agreement)


def _shares(means_BK: Array) -> Array:
    """K arms x K ranks: the share of resamples; an arm tied over ranks a .. b has 1 / (b - a + 1) of each."""
    first = scipy.stats.rankdata(means_BK, method="min", axis=1).astype(int)
    last = scipy.stats.rankdata(means_BK, method="max", axis=1).astype(int)
    resamples, k = means_BK.shape
    share = 1.0 / (last - first + 1)
    shares = np.zeros((k, k))
    for rank in range(1, k + 1):
        shares[:, rank - 1] = np.where((first <= rank) & (rank <= last), share, 0.0).sum(axis=0) / resamples
    return shares


def _tau(ranks_BK: Array, full_K: Array) -> Array:
    """Kendall's tau-b of each row with the full ranking; NaN where one of them ties all arms."""
    i, j = np.triu_indices(len(full_K), 1)
    reference = np.sign(full_K[i] - full_K[j])
    signs = np.sign(ranks_BK[:, i] - ranks_BK[:, j]).astype(np.float32)
    size = np.sqrt(np.abs(signs).sum(axis=1, dtype=np.float64) * np.abs(reference).sum())
    with np.errstate(invalid="ignore"):
        tau: Array = (signs @ reference) / np.where(size > 0, size, np.nan)
    return tau
