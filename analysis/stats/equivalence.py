"""Is a difference large enough to matter? Two one-sided tests, non-inferiority, and the verdict on two axes.

A large p alone never reads as "no effect": without the margin shown it is inconclusive.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from medsweep.analysis.records import Array, mean_estimate


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
    low: float
    high: float
    inside: bool


@dataclass(frozen=True)
class NonInferiority:
    """One-sided paired t test of H0: worse by the margin or more.

    ``bound`` is arm minus control, in units of the metric: the 1 - alpha lower confidence bound where higher is better,
    the upper one where lower is. ``shown`` where it stays on the harmless side of the margin, which is ``p < alpha``.
    """

    p: float
    bound: float
    shown: bool


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
        return Equivalence(margin, math.nan, math.nan, math.nan, False)
    if estimate.se == 0:
        lower, upper = float(estimate.value <= -margin), float(estimate.value >= margin)
    else:
        _, (_, lower, _), (_, upper, _) = ttost_paired(differences, np.zeros_like(differences), -margin, margin)
    p = max(float(lower), float(upper))
    return Equivalence(margin, p, estimate.low, estimate.high, p < alpha)


def non_inferiority(differences: Array, margin: float, alpha: float, *, higher_is_better: bool) -> NonInferiority:
    """Is the arm at most ``margin`` worse? One half of ``tost``, so that a superior arm passes as well.

    t = (mean gain + margin) / se with N - 1 degrees of freedom, differences independent over patients and their mean
    near normal. Not for a claim chosen after a failed superiority test at another margin: the margin is set beforehand.
    NaN, and not shown, for N < 2.
    """
    toward = 1.0 if higher_is_better else -1.0
    gain = mean_estimate(toward * differences, 1 - 2 * alpha)
    if len(differences) < 2:
        return NonInferiority(math.nan, math.nan, False)
    room = gain.value + margin
    p = float(stats.t.sf(room / gain.se, gain.df)) if gain.se > 0 else float(room <= 0)
    return NonInferiority(p, toward * gain.low, p < alpha)


def verdict(evidence: Evidence) -> Verdict:
    """The verdict on two axes; a difference without a clear sign is not shown."""
    different = evidence.different and evidence.sign != 0
    if evidence.inside:
        return Verdict.NEGLIGIBLE if different else Verdict.EQUIVALENT
    if not different:
        return Verdict.INCONCLUSIVE
    return Verdict.SUPERIOR if evidence.sign > 0 else Verdict.INFERIOR
