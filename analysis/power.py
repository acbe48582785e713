"""What could this design have shown? Smallest detectable difference, and the power to show equivalence."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.power import TTestPower

from analysis.effects import Effect


@dataclass(frozen=True)
class Power:
    """For one comparison: SD of the differences over n patients, and what a design of that size shows.

    ``detectable`` is the true mean difference found with power ``target`` at alpha / comparisons, the first Holm step.
    ``tost`` is the probability of showing equivalence when the true difference is 0.
    """

    arm: str
    n: int
    sd: float
    target: float
    detectable: float
    tost: float


def power_of(effect: Effect, *, margin: float, alpha: float, comparisons: int) -> Power:
    """Power of one arm against the control; NaN for n < 2, and certainty without spread."""
    target = 0.8
    arm, n, sd = effect.arm, effect.n_finite, effect.sd
    if n < 2 or math.isnan(sd):
        return Power(arm, n, sd, target, math.nan, math.nan)
    if sd == 0:
        return Power(arm, n, sd, target, 0.0, 1.0)
    return Power(arm, n, sd, target, detectable(n, sd, alpha / comparisons, target), tost_power(n, sd, margin, alpha))


def detectable(n: int, sd: float, alpha: float, target: float = 0.8) -> float:
    """Smallest mean difference a two-sided paired t test over ``n`` patients finds with power ``target``."""
    dz = TTestPower().solve_power(effect_size=None, nobs=n, alpha=alpha, power=target)
    return float(np.asarray(dz).item()) * sd


def tost_power(n: int, sd: float, margin: float, alpha: float) -> float:
    """P(both one-sided tests reject) at a true difference of 0.

    The integral over the sample SD s of P(|mean| < margin - t s / sqrt(n)), a form of Owen's Q, by midpoints of the
    chi-square quantiles of s.
    """
    quantiles = (np.arange(4000) + 0.5) / 4000
    s = sd * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))
    room = margin - stats.t.ppf(1 - alpha, n - 1) * s / math.sqrt(n)
    inside = 2 * stats.norm.cdf(np.maximum(room, 0) * math.sqrt(n) / sd) - 1
    return float(inside.mean())
