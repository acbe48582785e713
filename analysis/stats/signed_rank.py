"""Wilcoxon's signed ranks for many arms at once: p as scipy gives it, and the exact null distribution."""

import itertools
import math
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import special, stats

from medsweep.analysis.records import Array
from medsweep.analysis.stats.adjust import SMALLEST

EXACT_UP_TO: Final = 50
"""Patients up to which the exact distribution of untied signed ranks is used."""
PERMUTED_UP_TO: Final = 13
"""Patients up to which ties or zeros are met by all 2^n signs."""


def signed_rank_ps(d_NM: Array) -> Array:
    """Two-sided Wilcoxon signed-rank p of each column, zeros ranked, then dropped (Pratt 1959).

    As scipy chooses by n: exact without ties and zeros up to 50 patients, all 2^n signs with them up to 13, else the
    normal distribution with the tie correction (Cureton 1967), without continuity correction. An infinite difference
    has the largest rank. 1 where every difference is 0. Assumes differences that are symmetric around 0 under the
    null, and independent patients.

    Raises:
        ValueError: a difference is NaN, as infinity minus infinity is.
    """
    if np.isnan(d_NM).any():
        raise ValueError(f"{int(np.isnan(d_NM).sum())} differences are NaN; two infinite scores differ by 0")
    n, m = d_NM.shape
    if n == 0:
        return np.full(m, math.nan)
    ranks = stats.rankdata(np.abs(d_NM), axis=0)
    zeros = (d_NM == 0).sum(axis=0)
    plain = (zeros == 0) & (np.diff(np.sort(ranks, axis=0), axis=0) > 0).all(axis=0)
    plus = (ranks * (d_NM > 0)).sum(axis=0)
    p = np.ones(m)
    for column in np.flatnonzero(zeros < n):
        if plain[column] and n <= EXACT_UP_TO:
            p[column] = _exact(plus[column], n)
        elif n <= PERMUTED_UP_TO:
            p[column] = _over_all_signs(ranks[:, column] * (d_NM[:, column] != 0), plus[column])
        else:
            p[column] = _normal(ranks[d_NM[:, column] != 0, column], plus[column])
    return p


def _exact(plus: float, n: int) -> float:
    pmf = signed_rank_pmf(n)
    v = round(plus)
    return min(1.0, 2 * min(float(pmf[: v + 1].sum()), float(pmf[v:].sum())))


def _over_all_signs(ranks: Array, plus: float) -> float:
    sums = _signs(len(ranks)) @ ranks
    close = 1e-9 * len(ranks)
    return min(1.0, 2 * min(float((sums <= plus + close).mean()), float((sums >= plus - close).mean())))


def _normal(ranks: Array, plus: float) -> float:
    """The sum of ranks with random signs has mean half their sum and variance a quarter of their squares."""
    z = (plus - ranks.sum() / 2) / math.sqrt(float((ranks**2).sum()) / 4)
    return max(float(2 * special.ndtr(-abs(z))), SMALLEST)


@lru_cache(maxsize=PERMUTED_UP_TO)
def _signs(n: int) -> Array:
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


@lru_cache(maxsize=64)
def signed_rank_pmf(n: int) -> Array:
    """P(V = v), v = 0 .. n(n+1)/2, for the signed-rank sum of n untied differences under symmetry."""
    pmf = np.ones(1)
    for rank in range(1, n + 1):
        step = np.zeros(rank + 1)
        step[[0, rank]] = 0.5
        pmf = np.convolve(pmf, step)
    pmf.flags.writeable = False
    return pmf
