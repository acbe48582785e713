"""Rank association inside strata: Spearman's rho and a bend, with bootstrap draws and permutation p.

Letters: N points, B bootstrap draws, P permutations, M columns. Ranks are taken inside each stratum and scaled to run
from -1/2 to 1/2, so that strata of any unit and size combine: a stratum's weight is about its number of points.
"""

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from medsweep.analysis.records import Array
from medsweep.identity import derive_seed

Strata = Sequence[NDArray[np.intp]]
"""Positions of the points of each stratum."""
CLOSE = 1e-9
"""Sums of products of ranks nearer than this are equal: rounding must not decide a permutation."""


def strata_of(labels: Sequence[object]) -> list[NDArray[np.intp]]:
    """Positions by label, labels in sorted order; strata of one point are left out, since they have no order."""
    names = np.asarray([str(label) for label in labels])
    strata = [np.flatnonzero(names == name) for name in sorted(set(names))]
    return [positions for positions in strata if len(positions) >= 2]


def scaled_ranks(x_N: Array, strata: Strata) -> Array:
    """(rank - (n + 1) / 2) / n inside each stratum of n points, ties at the mean; NaN outside all strata."""
    ranks_N = np.full(len(x_N), np.nan)
    for positions in strata:
        n = len(positions)
        ranks_N[positions] = (scipy.stats.rankdata(x_N[positions]) - (n + 1) / 2) / n
    return ranks_N


def bootstrap_counts(strata: Strata, n: int, resamples: int, purpose: str) -> Array:
    """How often each of n points is drawn, (B, N): with replacement inside each stratum, seed fixed."""
    counts_BN = np.zeros((resamples, n))
    for i, positions in enumerate(strata):
        rng = np.random.default_rng(derive_seed("analysis", purpose, i))
        size = len(positions)
        counts_BN[:, positions] = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
    return counts_BN


def drawn_ranks(x_N: Array, counts_BN: Array, strata: Strata) -> Array:
    """``scaled_ranks`` of every bootstrap sample, (B, N): a point drawn c times is c tied points. No sort per draw."""
    ranks_BN = np.zeros_like(counts_BN)
    for positions in strata:
        order = positions[np.argsort(x_N[positions], kind="stable")]
        starts = np.flatnonzero(np.r_[True, np.diff(x_N[order]) != 0])
        group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(order)]))
        tied_BG = np.add.reduceat(counts_BN[:, order], starts, axis=1)
        middle_BG = np.cumsum(tied_BG, axis=1) - (tied_BG - 1) / 2
        ranks_BN[:, order] = ((middle_BG - (len(order) + 1) / 2) / len(order))[:, group]
    return ranks_BN


def rho(x_BN: Array, y_BN: Array, counts_BN: Array) -> Array:
    """Spearman's rho of every draw, (B,): sum c x y / sqrt(sum c x^2 sum c y^2) over scaled ranks; NaN if constant."""
    return _ratio((counts_BN * x_BN * y_BN).sum(1), (counts_BN * x_BN**2).sum(1), (counts_BN * y_BN**2).sum(1))


def bend(x_BN: Array, y_BN: Array, counts_BN: Array, strata: Strata) -> Array:
    """Correlation of y ranks with squared x ranks made orthogonal to stratum means and to x, (B,); NaN if undefined.

    Negative: y is largest where x is in the middle.
    """
    square_BN = x_BN**2
    for positions in strata:
        mean_B1 = (counts_BN[:, positions] * square_BN[:, positions]).sum(1, keepdims=True) / len(positions)
        square_BN[:, positions] -= mean_B1
    spread_B, both_B = (counts_BN * x_BN**2).sum(1), (counts_BN * square_BN * x_BN).sum(1)
    slope_B = np.divide(both_B, spread_B, out=np.zeros_like(spread_B), where=spread_B > 0)
    square_BN -= slope_B[:, None] * x_BN
    product_B = (counts_BN * square_BN * y_BN).sum(1)
    return _ratio(product_B, (counts_BN * square_BN**2).sum(1), (counts_BN * y_BN**2).sum(1))


def permutation_p(x_NM: Array, y_N: Array, strata: Strata, permutations: int, purpose: str) -> Array:
    """Two-sided p of rho for M columns of scaled ranks, (M,): y shuffled inside strata, (1 + as extreme) / (1 + P)."""
    used = np.concatenate(list(strata))
    shuffled_PN = np.empty((permutations, len(used)))
    start = 0
    for i, positions in enumerate(strata):
        rng = np.random.default_rng(derive_seed("analysis", purpose, "permutation", i))
        block = np.tile(y_N[positions], (permutations, 1))
        shuffled_PN[:, start : start + len(positions)] = rng.permuted(block, axis=1)
        start += len(positions)
    found_M = np.abs(y_N[used] @ x_NM[used])
    extreme_PM = np.abs(shuffled_PN @ x_NM[used]) >= found_M - CLOSE
    p_M: Array = (1 + extreme_PM.sum(axis=0)) / (1 + permutations)
    return p_M


def _ratio(product_B: Array, first_B: Array, second_B: Array) -> Array:
    scale_B = np.sqrt(first_B * second_B)
    return np.divide(product_B, scale_B, out=np.full_like(scale_B, np.nan), where=scale_B > CLOSE)
