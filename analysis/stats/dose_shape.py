"""Which shape has a dose response, and where does harm begin? Both read off contrasts of the doses, with their rule.

A dose response has K counts above dose 0, the control. ``Contrast`` estimates any linear combination of its K + 1
means: over patients for the trained models at hand, or over runs for the method.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from medsweep.analysis.records import Array, Estimate
from medsweep.analysis.stats.p_adjustment import holm

Contrast = Callable[[Array], Estimate]
"""Weights over dose 0 and the K counts, (K + 1,) -> estimate of the weighted sum of their means, at level 1 - alpha."""


class Shape(StrEnum):
    """Shape of the benefit over doses, whatever the metric's direction: up is better. See ``shape_of`` for the rule."""

    FLAT = "flat"
    RISING = "rising"
    FALLING = "falling"
    UMBRELLA = "umbrella"
    DIP = "dip"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Onset:
    """First of the counts, ascending, whose two-sided interval lies wholly beyond a threshold of harm.

    ``count`` is None where none does ``up_to`` the largest count; ``counts`` are all that do.
    """

    count: int | None
    counts: tuple[int, ...]
    up_to: int

    @property
    def text(self) -> str:
        """``from 200`` or ``none up to 500``."""
        return f"none up to {self.up_to}" if self.count is None else f"from {self.count}"


@dataclass(frozen=True)
class HarmOnset:
    """Where harm begins: beyond no difference, and beyond the margin; per count, and Holm-adjusted over counts."""

    zero: Onset
    margin: Onset
    zero_holm: Onset
    margin_holm: Onset


@dataclass(frozen=True)
class Doses:
    """One dose response as the rules below read it; ``gains[i]`` is the benefit of count i over the control."""

    contrast: Contrast
    linear: Array
    quadratic: Array
    counts: tuple[int, ...]
    margin: float
    alpha: float
    higher_is_better: bool

    @property
    def toward(self) -> float:
        """+1 where higher is better, -1 where lower is."""
        return 1.0 if self.higher_is_better else -1.0

    def gain(self, dose: int, other: int = 0) -> Estimate:
        """Benefit of one dose over another; dose 0 is the control."""
        weights = np.zeros(len(self.counts) + 1)
        weights[dose] += self.toward
        weights[other] -= self.toward
        return self.contrast(weights)


def shape_of(doses: Doses, *others: Doses) -> Shape:
    """The shape that the evidence supports, at alpha = 1 - level; ``unclear`` is an answer.

    With ``others``, the same doses at another level of analysis, a test counts only where every level shows it; where
    the best mean lies is for the first to say.

    The first that holds, for K >= 2 counts (with one count only flat or unclear):

    * flat: every count is equivalent to the control, TOST at alpha inside the margin. It comes first: a bend whose
      every dose is shown not to matter is no umbrella.
    * umbrella, up then down: the quadratic contrast on log dose is negative (two-sided p < alpha), the best mean is at
      an interior count, and it is shown to be above the control AND above the largest count. Both are two-sided tests
      with Bonferroni over the K - 1 interior counts, since the best one was picked from the data.
    * dip, down then up: the same upside down.
    * rising: the linear contrast is positive (p < alpha), the largest count is shown above the control (p < alpha), and
      no interior count is shown above the largest (as for the umbrella). Falling: the same upside down.
    * unclear: none of them is shown. A rise that levels off is rising, a plateau that breaks off falling.

    All tests are t tests of contrasts; K + 1 means of few patients with wild outliers are not for it. The counts are
    those tested: a maximum beyond them is out of sight.
    """
    levels = (doses, *others)
    if all(level.gain(i + 1).within(level.margin, level.alpha) for level in levels for i in range(len(level.counts))):
        return Shape.FLAT
    if len(doses.counts) < 2:
        return Shape.UNCLEAR
    for sign, bent in ((1, Shape.UMBRELLA), (-1, Shape.DIP)):
        if _bends(levels, sign):
            return bent
    for sign, straight in ((1, Shape.RISING), (-1, Shape.FALLING)):
        if _moves(levels, sign):
            return straight
    return Shape.UNCLEAR


def _bends(levels: Sequence[Doses], sign: int) -> bool:
    """Umbrella for sign +1, dip for -1."""
    doses = levels[0]
    last = len(doses.counts)
    means = [0.0, *(sign * doses.gain(i + 1).value for i in range(last))]
    peak = int(np.argmax(means))
    if not 0 < peak < last:
        return False
    alpha = doses.alpha / (last - 1)
    return all(
        _shown(level.contrast(sign * level.toward * level.quadratic), -1, level.alpha)
        and _shown(level.gain(peak), sign, alpha)
        and _shown(level.gain(peak, last), sign, alpha)
        for level in levels
    )


def _moves(levels: Sequence[Doses], sign: int) -> bool:
    """Rising for sign +1, falling for -1."""
    last = len(levels[0].counts)
    return all(
        _shown(level.contrast(level.toward * level.linear), sign, level.alpha)
        and _shown(level.gain(last), sign, level.alpha)
        and not any(_shown(level.gain(i, last), sign, level.alpha / (last - 1)) for i in range(1, last))
        for level in levels
    )


def _shown(estimate: Estimate, sign: int, alpha: float) -> bool:
    """Differs from 0 in the direction of ``sign``; never for a NaN."""
    return sign * estimate.value > 0 and estimate.p < alpha


def harm_onset(doses: Doses) -> HarmOnset:
    """Where harm begins among the counts: against 0 and against the margin, plain and with Holm over the counts.

    An interval lies beyond the threshold exactly where the two-sided t test against the threshold has p < alpha on the
    harmful side. "None up to n" is no proof of harmlessness: that is what equivalence is for.
    """
    harms = [(-gain.value, gain.se, gain.df) for gain in (doses.gain(i + 1) for i in range(len(doses.counts)))]

    def onset(threshold: float, *, adjust: bool) -> Onset:
        """One threshold."""
        raw = [_p_beyond(*harm, threshold) for harm in harms]
        p = holm(raw) if adjust else tuple(raw)
        beyond = tuple(count for count, p_count in zip(doses.counts, p, strict=True) if p_count < doses.alpha)
        first = beyond[0] if beyond else None
        return Onset(first, beyond, doses.counts[-1])

    return HarmOnset(
        zero=onset(0.0, adjust=False),
        margin=onset(doses.margin, adjust=False),
        zero_holm=onset(0.0, adjust=True),
        margin_holm=onset(doses.margin, adjust=True),
    )


def _p_beyond(harm: float, se: float, df: float, threshold: float) -> float:
    """Two-sided p of the harm against the threshold where it lies beyond it, 1 where it does not; NaN without se."""
    if harm <= threshold:
        return 1.0
    return 0.0 if se == 0 else float(2 * stats.t.sf((harm - threshold) / se, df))
