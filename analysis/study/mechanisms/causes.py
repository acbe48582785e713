"""What may be said about why a synthetic arm costs: from costs, doses and instruments to a verdict with reasons.

Lattice and shares: Shapley LS. A value for n-person games. Contributions to the Theory of Games II, 1953.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from medsweep.analysis.records import Estimate
from medsweep.analysis.study.mechanisms.instruments import Instruments, YesNo, answer
from medsweep.analysis.study.mechanisms.laws import Delivery, Dose
from medsweep.mechanism import CAUSES, CELLS, Cause, cell_of


@dataclass(frozen=True)
class Costs:
    """Costs in the primary metric, above 0 where something is lost; one simultaneous family per mapping."""

    levels: Mapping[str, Estimate]
    """``harm``, ``shortfall`` and ``net cost`` of those whose arms there are."""
    ladder: Mapping[str, Estimate]
    """Steps in their order."""
    shares: Mapping[Cause, Estimate]
    """Shapley shares; they add up to ceiling minus ``all three``."""
    added: Mapping[Cause, Estimate]
    """Cost of a cause added alone to the ceiling."""
    removed: Mapping[Cause, Estimate]
    """What comes back where a cause is taken from all three."""
    joint: Mapping[str, Estimate]
    """Shares of two causes together, by the name of their cell."""
    interactions: Mapping[str, Estimate]
    """By the name of the cell of both, the third cause off; above 0 where the causes mask each other."""
    unexplained: Estimate | None
    """``all three`` minus the explained arm."""
    one_run: bool
    """Whether the intervals hold for the trained networks alone."""
    runs: int
    """Of each arm."""


class Reason(StrEnum):
    """Why a cause is not named."""

    ONE_RUN = "one run"
    NO_SHORTFALL = "no shortfall shown"
    NO_CEILING = "no left-out patients"
    NO_LATTICE = "no lattice"
    DOSES_NOT_MEASURED = "doses not measured"
    DOSES_NOT_DELIVERED = "doses not delivered"
    JOINT = "joint causes"
    JUDGE = "depends on the judge"
    NOTHING_THERE = "nothing of it in the pool"
    NO_INSTRUMENT = "instruments not measured"
    NOT_VISIBLE = "share without a visible cause"
    TOO_WIDE = "interval too wide"


class Outcome(StrEnum):
    """What the procedure comes to."""

    NOTHING = "nothing to explain"
    NAMED = "causes named"
    NOT_SHOWN = "no cause shown"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class CauseFinding:
    """One cause, or two that cannot be told apart, with its share and what stands against naming it."""

    causes: tuple[Cause, ...]
    share: Estimate
    shown: bool
    sufficient: bool
    """Shown, and shown when added alone."""
    needed: bool
    """Shown, and shown when removed from all three."""
    delivered: YesNo
    visible: YesNo
    dose: Dose | None = None
    """Of the laws of the causes that a cell should have, the one that is furthest off; None where all are delivered."""
    reasons: tuple[Reason, ...] = ()
    seeds_needed: int | None = None
    """Runs per arm from which a share of the margin could be shown, at least; None where the interval is no reason."""

    @property
    def named(self) -> bool:
        """Whether the share may be told as that of its cause."""
        return self.shown and not self.reasons


@dataclass(frozen=True)
class CauseVerdict:
    """The outcome, a finding per cause, and by name what cannot be told."""

    outcome: Outcome
    findings: tuple[CauseFinding, ...] = ()
    cannot_tell: tuple[Reason, ...] = ()
    confounded: tuple[Dose, ...] = ()
    """Laws that a cell should not have and has."""
    masked: tuple[str, ...] = ()
    """Interactions that are shown."""
    absent: tuple[Cause, ...] = ()
    """Causes of which no measured law tells the pool of the explained arm from new real slices."""
    missing: Mapping[Reason, tuple[str, ...]] = field(default_factory=dict)
    """By name, the laws and instruments that were needed and not measured."""
    unexplained: Literal["shown", "inside the margin", "open", "not measured"] = field(default="not measured")


def shown(estimate: Estimate | None) -> bool:
    """Whether it costs: the lower end of its interval is above 0."""
    return estimate is not None and estimate.low > 0


def decide(costs: Costs, delivery: Delivery | None, instruments: Instruments, margin: float) -> CauseVerdict:
    """The verdict on the causes, fixed before any result is seen.

    Args:
        costs: contrasts of arms with their intervals.
        delivery: doses of the laws in the cells; None where no law is measured.
        instruments: of the explained arm.
        margin: cost that does not matter.
    """
    if costs.one_run:
        return CauseVerdict(Outcome.CANNOT_TELL, cannot_tell=(Reason.ONE_RUN,))
    if not (shown(costs.levels.get("harm")) or shown(costs.levels.get("shortfall"))):
        return CauseVerdict(Outcome.NOTHING)
    missing: list[Reason] = []
    if "shortfall" not in costs.levels:
        missing.append(Reason.NO_CEILING)
    if not costs.shares:
        return CauseVerdict(Outcome.CANNOT_TELL, cannot_tell=(*missing, Reason.NO_LATTICE))
    confounded = () if delivery is None else tuple(dose for dose in _off(delivery) if not dose.delivered)
    groups = _groups({(dose.cell, dose.cause) for dose in confounded})
    findings = tuple(_finding(group, costs, delivery, instruments, margin) for group in groups)
    reasons = tuple(dict.fromkeys(reason for one in findings for reason in one.reasons))
    return CauseVerdict(
        _outcome(findings),
        findings,
        (*missing, *reasons),
        confounded,
        masked=tuple(name for name, one in costs.interactions.items() if one.low > 0 or one.high < 0),
        absent=tuple(cause for cause in CAUSES if delivery is not None and _nothing_of(cause, delivery)),
        missing=_not_measured(findings, delivery, instruments),
        unexplained=_unexplained(costs.unexplained, margin),
    )


def _off(delivery: Delivery) -> tuple[Dose, ...]:
    return tuple(dose for dose in delivery.doses if not dose.on)


def _not_measured(
    findings: tuple[CauseFinding, ...], delivery: Delivery | None, instruments: Instruments
) -> dict[Reason, tuple[str, ...]]:
    """What would have to be measured before the causes that are shown could be named."""
    blind = [cause for one in findings if Reason.NO_INSTRUMENT in one.reasons for cause in one.causes]
    found = {
        Reason.DOSES_NOT_MEASURED: () if delivery is None else delivery.missing,
        Reason.NO_INSTRUMENT: tuple(name for cause in blind for name in instruments.missing(cause)),
    }
    return {reason: names for reason, names in found.items() if names}


def _outcome(findings: tuple[CauseFinding, ...]) -> Outcome:
    if any(one.named for one in findings):
        return Outcome.NAMED
    return Outcome.CANNOT_TELL if any(one.reasons for one in findings) else Outcome.NOT_SHOWN


def _unexplained(
    estimate: Estimate | None, margin: float
) -> Literal["shown", "inside the margin", "open", "not measured"]:
    if estimate is None:
        return "not measured"
    if -margin < estimate.low and estimate.high < margin:
        return "inside the margin"
    return "shown" if estimate.low > 0 or estimate.high < 0 else "open"


def _groups(confounded: set[tuple[str, Cause]]) -> tuple[tuple[Cause, ...], ...]:
    """Causes that can be told apart. One that a cell of two moves is joined with both."""
    group = {cause: {cause} for cause in CAUSES}
    for cell, law in confounded:
        joined = group[law].union(*(group[cause] for cause in CELLS[cell]))
        group |= dict.fromkeys(joined, joined)
    return tuple(dict.fromkeys(tuple(cause for cause in CAUSES if cause in group[first]) for first in CAUSES))


def _finding(
    group: tuple[Cause, ...], costs: Costs, delivery: Delivery | None, instruments: Instruments, margin: float
) -> CauseFinding:
    cell = cell_of(group)
    share = costs.shares[group[0]] if len(group) == 1 else costs.joint[cell]
    is_shown = shown(share)
    delivered, dose = _delivered(group, delivery)
    visible = _visible(group, instruments)
    nothing = delivery is not None and all(_nothing_of(cause, delivery) for cause in group)
    if is_shown:
        reasons = _reasons(group, delivered, visible, costs, judges_differ=instruments.judges_differ, nothing=nothing)
    elif share.high > margin:
        # more runs would not give a cost to what the pool has nothing of
        reasons = (Reason.NOTHING_THERE if nothing else Reason.TOO_WIDE,)
    else:
        reasons = ()
    alone = len(group) == 1
    return CauseFinding(
        group,
        share,
        is_shown,
        sufficient=alone and is_shown and shown(costs.added.get(group[0])),
        needed=alone and is_shown and shown(costs.removed.get(group[0])),
        delivered=delivered,
        visible=visible,
        dose=dose,
        reasons=reasons,
        seeds_needed=_seeds_needed(share, costs.runs, margin) if Reason.TOO_WIDE in reasons else None,
    )


def _seeds_needed(share: Estimate, runs: int, margin: float) -> int | None:
    half = share.value - share.low
    return max(runs + 1, math.ceil(runs * (half / margin) ** 2)) if math.isfinite(half) else None


def _nothing_of(cause: Cause, delivery: Delivery) -> bool:
    """Whether no measured law of the cause tells the pool of the explained arm from new real slices."""
    doses = delivery.of(cause, on=True)
    return bool(doses) and all(dose.nothing for dose in doses)


def _reasons(
    group: tuple[Cause, ...], delivered: YesNo, visible: YesNo, costs: Costs, *, judges_differ: bool, nothing: bool
) -> tuple[Reason, ...]:
    """What stands against naming causes whose share is shown."""
    found = []
    if not shown(costs.levels.get("shortfall")):
        found.append(Reason.NO_SHORTFALL)
    if delivered == "not measured":
        found.append(Reason.DOSES_NOT_MEASURED)
    if delivered == "no":
        found.append(Reason.DOSES_NOT_DELIVERED)
    if len(group) > 1:
        found.append(Reason.JOINT)
    if "labels" in group and judges_differ:
        found.append(Reason.JUDGE)
    if nothing:
        found.append(Reason.NOTHING_THERE)
    if visible == "not measured":
        found.append(Reason.NO_INSTRUMENT)
    if visible == "no":
        found.append(Reason.NOT_VISIBLE)
    return tuple(found)


def _visible(group: tuple[Cause, ...], instruments: Instruments) -> YesNo:
    seen = {instruments.sees(cause) for cause in group}
    return "not measured" if "not measured" in seen else answer("yes" in seen)


def _delivered(group: tuple[Cause, ...], delivery: Delivery | None) -> tuple[YesNo, Dose | None]:
    """Whether every cell has the laws of the group where they are on; and the dose that is furthest off, if any.

    Laws that are off decide which causes are told apart.
    """
    if delivery is None or delivery.missing:
        return "not measured", None
    wrong = [dose for cause in group for dose in delivery.of(cause, on=True) if not dose.delivered]
    return answer(not wrong), max(wrong, key=lambda dose: abs(dose.share - 1), default=None)
