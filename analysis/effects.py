"""How large is a difference: mean with t and BCa intervals, Hodges-Lehmann, rank-biserial, win/tie/loss."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.records import Array, Estimate, mean_estimate
from medsweep.identity import derive_seed

RESAMPLES = 9999
EXACT_UP_TO = 50
"""Patients up to which the Hodges-Lehmann interval uses the exact signed-rank distribution."""


@dataclass(frozen=True)
class Interval:
    """``low`` to ``high`` with the ``coverage`` the method attains; NaN where it has none."""

    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Effect:
    """Arm minus control over ``n`` patients, in units of the metric.

    Means use the ``n_finite`` patients with a finite difference; ranks and wins use all. ``rank_biserial`` is
    positive, and ``wins`` counts patients, where the arm is better, whatever the metric's direction.
    """

    arm: str
    n: int
    n_finite: int
    mean: Estimate
    sd: float
    bca: Interval
    hodges_lehmann: float
    hodges_lehmann_ci: Interval
    rank_biserial: float
    wins: int
    ties: int
    losses: int


def effect(arm: str, differences: Array, *, higher_is_better: bool, level: float) -> Effect:
    """Describe the N per-patient ``differences`` (arm minus control); intervals at ``level``."""
    finite = differences[np.isfinite(differences)]
    gains = differences if higher_is_better else -differences
    return Effect(
        arm=arm,
        n=len(differences),
        n_finite=len(finite),
        mean=mean_estimate(finite, level),
        sd=float(finite.std(ddof=1)) if len(finite) > 1 else math.nan,
        bca=bca(finite, level),
        hodges_lehmann=float(np.median(walsh_averages(finite))) if len(finite) else math.nan,
        hodges_lehmann_ci=hodges_lehmann_interval(finite, level),
        rank_biserial=rank_biserial(gains),
        wins=int((gains > 0).sum()),
        ties=int((gains == 0).sum()),
        losses=int((gains < 0).sum()),
    )


def bca(differences: Array, level: float) -> Interval:
    """Bias-corrected and accelerated bootstrap of the mean (Efron 1987), over patients, seed fixed."""
    if len(differences) < 3:
        return Interval(math.nan, math.nan, math.nan)
    if np.ptp(differences) == 0:
        return Interval(float(differences[0]), float(differences[0]), level)
    # sorted, so that the order of patients in the table does not pick the resamples
    sample = np.sort(differences)
    rng = np.random.default_rng(derive_seed("analysis", "bca"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            (sample,), np.mean, n_resamples=RESAMPLES, confidence_level=level, method="BCa", batch=1000, rng=rng
        )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high), level)


def walsh_averages(differences: Array) -> Array:
    """All (d_i + d_j) / 2 with i <= j, sorted; N (N+1) / 2 of them."""
    i, j = np.triu_indices(len(differences))
    averages: Array = np.sort((differences[i] + differences[j]) / 2)
    return averages


def hodges_lehmann_interval(differences: Array, level: float) -> Interval:
    """Interval of Walsh averages that inverts the signed-rank test (Hollander and Wolfe 1973, 3.3).

    Exact distribution up to 50 patients, normal above. Below 6 patients no interval reaches 95 %; the widest is
    given, with the coverage it has.
    """
    n = len(differences)
    if n < 2:
        return Interval(math.nan, math.nan, math.nan)
    averages = walsh_averages(differences)
    tail = (1 - level) / 2
    if n <= EXACT_UP_TO:
        cdf = np.cumsum(signed_rank_pmf(n))
        cut = max(int(np.searchsorted(cdf, tail)), 1)
        coverage = 1 - 2 * float(cdf[cut - 1])
    else:
        mean, sd = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        cut = max(round(mean + sd * float(stats.norm.ppf(tail))), 1)
        coverage = level
    return Interval(float(averages[cut - 1]), float(averages[-cut]), coverage)


def signed_rank_pmf(n: int) -> Array:
    """P(V = v), v = 0 .. n(n+1)/2, for the signed-rank sum of n untied differences under symmetry."""
    pmf = np.ones(1)
    for rank in range(1, n + 1):
        step = np.zeros(rank + 1)
        step[[0, rank]] = 0.5
        pmf = np.convolve(pmf, step)
    return pmf


def rank_biserial(gains: Array) -> float:
    """Matched rank-biserial correlation (R+ - R-) / (R+ + R-) (Kerby 2014), zeros ranked, then dropped (Pratt)."""
    ranks = stats.rankdata(np.abs(gains))
    total = float(ranks[gains != 0].sum())
    if total == 0:
        return 0.0
    return float((ranks[gains > 0].sum() - ranks[gains < 0].sum()) / total)
