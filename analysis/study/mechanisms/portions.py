"""A cause's share in percent of the shortfall, and what the steps of the ladder say of the same cause."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medsweep.analysis.records import Estimate
from medsweep.mechanism import Cause, Mechanism, cell_of

LOOK_OF_IMAGES: Final[tuple[Cause, ...]] = ("look", "variety")


@dataclass(frozen=True)
class Portion:
    """A share as a part of the shortfall, with an interval that holds for all causes at once."""

    value: float
    low: float
    high: float


def portion(share: Estimate, whole: Estimate, rest: Estimate) -> Portion | None:
    """Ratio of two estimates that hang together (Fieller 1954, JRSS B 16, p. 175).

    A ratio r is in the interval where share - r whole is not told from 0. The variance of that is a parabola in r,
    known from those at 0, at 1 (``rest``) and from that of ``whole``. None where the interval has no ends, so always
    where ``whole`` may be 0.

    Args:
        share: with the interval of its family, whose quantile is used.
        whole: what it is a part of.
        rest: share minus whole.
    """
    if not (share.se > 0 and whole.low > 0 and math.isfinite(rest.se)):
        return None
    quantile = max(share.value - share.low, share.high - share.value) / share.se
    at_0, at_1, slope = share.se**2, rest.se**2, whole.se**2
    mixed = at_1 - at_0 - slope
    a = whole.value**2 - quantile**2 * slope
    half_b = share.value * whole.value + quantile**2 * mixed / 2
    c = share.value**2 - quantile**2 * at_0
    inside = half_b**2 - a * c
    if not (a > 0 and inside >= 0):
        return None
    root = math.sqrt(inside)
    return Portion(share.value / whole.value, (half_b - root) / a, (half_b + root) / a)


@dataclass(frozen=True)
class SecondOpinion:
    """A step of the ladder that is about a cause, beside the share of that cause.

    A step that is about the look changes images from real to generated ones, which vary less as well. So its share is
    that of look and variety together, where the lattice has variety.
    """

    causes: tuple[Cause, ...]
    step: str
    cost: Estimate
    share: Estimate

    @property
    def agrees(self) -> bool:
        """Whether both have one sign, and intervals that overlap."""
        overlap = self.cost.low <= self.share.high and self.share.low <= self.cost.high
        return overlap and self.cost.value * self.share.value > 0


def second_opinions(
    arms: Mechanism, ladder: Mapping[str, Estimate], shares: Mapping[Cause, Estimate], joint: Mapping[str, Estimate]
) -> tuple[SecondOpinion, ...]:
    """Of the causes that a step of the ladder is about, ``arms.steps``; none where ladder or lattice has no costs."""
    steps = dict(zip(arms.ladder[1:], ladder.items(), strict=True)) if ladder else {}
    both = cell_of(LOOK_OF_IMAGES)
    opinions = []
    for cause, arm in arms.steps.items():
        if cause in shares and arm in steps:
            together = cause == "look" and both in joint
            share = joint[both] if together else shares[cause]
            opinions.append(SecondOpinion(LOOK_OF_IMAGES if together else (cause,), *steps[arm], share))
    return tuple(opinions)
