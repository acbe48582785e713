"""Is a difference large enough to matter? Two one-sided tests, and the verdict on two axes.

A large p alone never reads as "no effect": without the margin shown it is inconclusive.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from statsmodels.stats.weightstats import ttost_paired

from analysis.records import Array, mean_estimate


class Verdict(StrEnum):
    """difference shown (yes / no) x confined to the margin (yes / no), with the sign of the mean difference."""

    SUPERIOR = "superior"
    INFERIOR = "inferior"
    EQUIVALENT = "equivalent"
    NEGLIGIBLE = "different but negligible"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Equivalence:
    """Paired TOST at +-margin: ``p`` is the larger of the two one-sided p; [low, high] is the 1 - 2 alpha interval."""

    margin: float
    p: float
    p_above_lower: float
    p_below_upper: float
    low: float
    high: float
    inside: bool


@dataclass(frozen=True)
class Evidence:
    """The two axes at one level of analysis, and the sign of the benefit (+1 better, -1 worse, 0 unclear)."""

    different: bool
    inside: bool
    sign: int


def tost(differences: Array, margin: float, alpha: float) -> Equivalence:
    """Schuirmann's two one-sided paired t tests over N patients; NaN, and not inside, for N < 2."""
    estimate = mean_estimate(differences, 1 - 2 * alpha)
    if len(differences) < 2:
        return Equivalence(margin, math.nan, math.nan, math.nan, math.nan, math.nan, False)
    if estimate.se == 0:
        lower, upper = float(estimate.value <= -margin), float(estimate.value >= margin)
    else:
        _, (_, lower, _), (_, upper, _) = ttost_paired(differences, np.zeros_like(differences), -margin, margin)
    p = max(float(lower), float(upper))
    return Equivalence(margin, p, float(lower), float(upper), estimate.low, estimate.high, p < alpha)


def verdict(evidence: Evidence) -> Verdict:
    """The verdict on two axes; a difference without a clear sign is not shown."""
    different = evidence.different and evidence.sign != 0
    if evidence.inside:
        return Verdict.NEGLIGIBLE if different else Verdict.EQUIVALENT
    if not different:
        return Verdict.INCONCLUSIVE
    return Verdict.SUPERIOR if evidence.sign > 0 else Verdict.INFERIOR


def weaker(first: Evidence, second: Evidence) -> Evidence:
    """What both levels of analysis support: an axis counts only where both show it, a sign only where they agree."""
    return Evidence(
        different=first.different and second.different,
        inside=first.inside and second.inside,
        sign=first.sign if first.sign == second.sign else 0,
    )
