"""Whether errors of masks accumulate through C-SG: from misfits and contrasts to one of five sentences."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from medsweep.analysis.records import Bounded

MARGIN_PX: Final = 0.25
"""Misfit that does not matter, in px of HD95."""

MISSED: Final = 0.1
"""Share of masks, beyond that of unseen reals, that a judge may not find in images before it counts as no judge."""

Reaches = Literal["yes", "no", "open", "not measured"]


class Sentence(StrEnum):
    """What the procedure comes to."""

    OBEYS = "obeys"
    ADDS = "adds"
    ACCUMULATES = "accumulates in the images"
    HINDERS = "accumulates and hinders"
    EASIER = "easier masks"
    CANNOT_TELL = "cannot tell"


class Doubt(StrEnum):
    """Why the question stays open."""

    ONE_RUN = "one run"
    NO_NEW_MASKS = "misfit on new masks not measured"
    NO_STEP = "misfit on generated masks not measured"
    JUDGE = "depends on the judge"
    BLIND = "masks that the judge does not find"
    WIDE_NEW = "misfit on new masks too wide"
    WIDE_STEP = "step to generated masks too wide"
    NO_WARPED = "no warped arm"
    WIDE_INTERACTION = "interaction too wide"
    UNSEEN_INTERACTION = "interaction without a visible misfit"


@dataclass(frozen=True)
class Findings:
    """What the decision is made from. Misfits are in px, interactions in the primary metric, above 0 where lost."""

    new: Bounded | None
    """Excess misfit of C-SG on real masks of patients left out; None is not measured."""
    step: Bounded | None
    """That on M-SG masks, minus this."""
    interaction: Bounded | None
    """Cost of both M-SG masks and C-SG images beyond the sum of either alone."""
    one_run: bool = False
    """Whether intervals hold for one trained generator alone."""
    judges_differ: bool = False
    """Whether two judges tell misfits apart by more than their intervals."""
    missed: float = math.nan
    """Share of masks that the judge does not find in images of C-SG, minus that in unseen reals. Misfits leave them
    out."""


@dataclass(frozen=True)
class AccumulationVerdict:
    """The outcome, whether it reaches the U-Net, and by name what cannot be told."""

    outcome: Sentence
    reaches: Reaches = "not measured"
    cannot_tell: tuple[Doubt, ...] = ()


def decide(found: Findings, margin: float) -> AccumulationVerdict:
    """One of the five sentences, fixed before any result is seen, or the reasons why none can be said.

    Absence is claimed only where an interval leaves no room for more than ``MARGIN_PX``, or ``margin`` in the primary
    metric; an interval that is merely wide is a reason.
    """
    reasons = _in_the_way(found)
    if reasons or found.new is None or found.step is None:
        return AccumulationVerdict(Sentence.CANNOT_TELL, cannot_tell=reasons)
    new, step, reaches = found.new, found.step, reach(found.interaction, margin)
    if step.high < 0:
        return AccumulationVerdict(Sentence.EASIER, reaches)
    if step.low > 0:
        outcome = Sentence.HINDERS if reaches == "yes" else Sentence.ACCUMULATES
        return AccumulationVerdict(outcome, reaches, _open(reaches))
    if step.high > MARGIN_PX or (new.low > 0 and step.low < -MARGIN_PX):
        reasons = (Doubt.WIDE_STEP,)
    elif new.low <= 0 and new.high > MARGIN_PX:
        reasons = (Doubt.WIDE_NEW,)
    elif found.interaction is not None and (found.interaction.low > 0 or found.interaction.high < 0):
        reasons = (Doubt.UNSEEN_INTERACTION,)
    if reasons:
        return AccumulationVerdict(Sentence.CANNOT_TELL, reaches, reasons)
    return AccumulationVerdict(Sentence.ADDS if new.low > 0 else Sentence.OBEYS, reaches, _open(reaches))


def _in_the_way(found: Findings) -> tuple[Doubt, ...]:
    """What stands before any sentence."""
    checks = {
        Doubt.ONE_RUN: found.one_run,
        Doubt.NO_NEW_MASKS: found.new is None,
        Doubt.NO_STEP: found.step is None,
        Doubt.JUDGE: found.judges_differ,
        Doubt.BLIND: found.missed > MISSED,
    }
    return tuple(reason for reason, holds in checks.items() if holds)


def reach(interaction: Bounded | None, margin: float) -> Reaches:
    """Whether what masks and images cost together is more than the sum: shown, confined to the margin, or open."""
    if interaction is None:
        return "not measured"
    if interaction.low > 0:
        return "yes"
    return "no" if interaction.high < margin else "open"


def _open(reaches: Reaches) -> tuple[Doubt, ...]:
    told: dict[Reaches, tuple[Doubt, ...]] = {
        "not measured": (Doubt.NO_WARPED,),
        "open": (Doubt.WIDE_INTERACTION,),
    }
    return told.get(reaches, ())
