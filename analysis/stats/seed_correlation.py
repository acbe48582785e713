"""How much runs of one seed move together in all arms: whether runs may be paired is declared, this says what is so."""

import math
from dataclasses import dataclass

import numpy as np
import scipy

from medsweep.analysis.records import Array
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import scores_of


@dataclass(frozen=True)
class SeedCorrelation:
    """Correlation of the mean scores of two arms over runs of one fold and seed, with its interval at ``level``.

    ``runs`` are the folds and seeds that all ``arms`` have; folds with fewer than two such seeds tell nothing.
    """

    value: float
    low: float
    high: float
    level: float
    runs: int
    arms: int


def seed_correlation(reduced: Reduced, level: float) -> SeedCorrelation | None:
    """Intraclass correlation of runs, consistency of one arm (Shrout and Fleiss 1979, ICC(3,1)), pooled over folds.

    Arms with no second seed are left out, as are runs with an infinite score. None where fewer than two arms share two
    seeds, or nothing varies.
    """
    scores = scores_of(reduced)
    total_seed = total_rest = 0.0
    freedom_seed = freedom_rest = runs = 0
    compared = 0
    for cells, own in zip(scores.fold_cells(), scores.seeds, strict=True):
        means_AR = _means(scores.values[:, cells].reshape(len(scores.arms), -1, len(own)))
        shared_AR = means_AR[np.isfinite(means_AR).sum(axis=1) >= 2]
        shared_AR = shared_AR[:, np.isfinite(shared_AR).all(axis=0)]
        k, r = shared_AR.shape
        if min(k, r) < 2:
            continue
        rest_AR = shared_AR - shared_AR.mean(axis=1, keepdims=True)
        seed_R = rest_AR.mean(axis=0)
        total_seed += k * float((seed_R**2).sum())
        total_rest += float(((rest_AR - seed_R) ** 2).sum())
        freedom_seed, freedom_rest = freedom_seed + r - 1, freedom_rest + (r - 1) * (k - 1)
        runs, compared = runs + r, k
    if not runs or total_rest <= 0:
        return None
    f, k = (total_seed / freedom_seed) / (total_rest / freedom_rest), compared
    tail = (1 + level) / 2
    low = f / float(scipy.stats.f.ppf(tail, freedom_seed, freedom_rest))
    high = f * float(scipy.stats.f.ppf(tail, freedom_rest, freedom_seed))
    value, *ends = ((ratio - 1) / (ratio + k - 1) if math.isfinite(ratio) else 1.0 for ratio in (f, low, high))
    return SeedCorrelation(value, ends[0], ends[1], level, runs, k)


def _means(values_APR: Array) -> Array:
    """A x R: means over the patients; NaN where an arm has no such run."""
    with np.errstate(invalid="ignore"):
        means: Array = values_APR.mean(axis=1)
    return means
