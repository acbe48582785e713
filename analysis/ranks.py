"""How firm is the ranking? Patients are resampled, all arms and seeds together, and the arms ranked again."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from medsweep.identity import derive_seed

RESAMPLES = 2000


@dataclass(frozen=True)
class RankStability:
    """Rank of the arm's mean over patients (1 is best), share of resamples it leads, middle ``level`` of ranks."""

    arm: str
    rank: float
    share_first: float
    low: float
    high: float


def rank_stability(wide: pd.DataFrame, *, higher_is_better: bool, level: float) -> tuple[RankStability, ...]:
    """Percentile bootstrap over patients with a fixed seed; arms that lead together share the lead."""
    values = wide.sort_index().to_numpy(dtype=np.float64)
    oriented = -values if higher_is_better else values
    rng = np.random.default_rng(derive_seed("analysis", "rank stability"))
    n = len(oriented)
    means = np.stack([oriented[rng.integers(n, size=n)].mean(axis=0).round(12) for _ in range(RESAMPLES)])
    ranks = stats.rankdata(means, axis=1)
    leads = means == means.min(axis=1, keepdims=True)
    share = (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(ranks, [(1 - level) / 2, (1 + level) / 2], axis=0, method="inverted_cdf")
    full = stats.rankdata(oriented.mean(axis=0).round(12))
    return tuple(
        RankStability(str(arm), float(full[i]), float(share[i]), float(low[i]), float(high[i]))
        for i, arm in enumerate(wide.columns)
    )
