"""What may be said about why a synthetic arm costs: from costs, doses and instruments to a verdict with reasons.

Lattice and shares: Shapley LS. A value for n-person games. Contributions to the Theory of Games II, 1953.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from medsweep.analysis.records import Bounded, Estimate
from medsweep.mechanism import CAUSES, CELLS, Cause, cell_of

ON: Final = (0.8, 1.25)
"""Range of a law's delivered dose, as a share of the explained arm's, in a cell that should have it."""
OFF: Final = (-0.2, 0.2)
"""The same in a cell that should not."""
BOUNDARY_LOSS: Final = 1.5
"""Times the boundary loss of reals from which misfit is visible."""
VENDI: Final = 0.7
"""Share of the reals' Vendi score below which lost variety is visible."""

Answer = Literal["yes", "no", "not measured"]


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


@dataclass(frozen=True)
class Instruments:
    """What measures of the explained arm's pool and networks say; None or NaN is not measured."""

    bias: Bounded | None = None
    """Of the masks against an independent judge, in px, its own zero taken off."""
    random: Bounded | None = None
    late_pool_cosine: Bounded | None = None
    """Noise-corrected, of the pool's gradient with the held-out one."""
    late_real_cosine: Bounded | None = None
    boundary_loss: float = math.nan
    """Of the pool over that of reals."""
    domain_auc: float = math.nan
    auc_floor: tuple[float, float] | None = None
    """Range over cuts of real against real."""
    vendi: float = math.nan
    """Of the pool over that of reals."""
    judges_differ: bool = False
    """Whether two judges disagree on the label law by more than their intervals."""

    def sees(self, cause: Cause) -> Answer:
        """Whether a cause is visible without any comparison of arms."""
        if cause == "labels":
            return self._misfit()
        if cause == "look":
            if math.isnan(self.domain_auc) or self.auc_floor is None:
                return "not measured"
            return _answer(self.domain_auc > self.auc_floor[1])
        return "not measured" if math.isnan(self.vendi) else _answer(self.vendi < VENDI)

    def _misfit(self) -> Answer:
        laws = [law for law in (self.bias, self.random) if law is not None]
        pool, real = self.late_pool_cosine, self.late_real_cosine
        signs = []
        if pool is not None and real is not None:
            signs.append(pool.high < real.low)
        if not math.isnan(self.boundary_loss):
            signs.append(self.boundary_loss > BOUNDARY_LOSS)
        if not laws or not signs:
            return "not measured"
        return _answer(any(law.low > 0 or law.high < 0 for law in laws) and any(signs))


def _answer(yes: bool) -> Answer:
    return "yes" if yes else "no"


Doses = Mapping[str, Mapping[Cause, float]]
"""Each law in each cell as a share of the explained arm's: (law(cell) - law(ceiling)) / (law(arm) - law(ceiling))."""


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
    delivered: Answer
    visible: Answer
    dose: float = 1.0
    """Delivered share of the measured law in ``all three``; 1 where it was delivered in full or not measured."""
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
    confounded: tuple[tuple[str, Cause, float], ...] = ()
    """Cell, law that should be off in it, and its delivered share."""
    masked: tuple[str, ...] = ()
    """Interactions that are shown."""
    unexplained: Literal["shown", "inside the margin", "open", "not measured"] = field(default="not measured")


def shown(estimate: Estimate | None) -> bool:
    """Whether it costs: the lower end of its interval is above 0."""
    return estimate is not None and estimate.low > 0


def decide(costs: Costs, doses: Doses | None, instruments: Instruments | None, margin: float) -> CauseVerdict:
    """The verdict on the causes, fixed before any result is seen.

    Args:
        costs: contrasts of arms with their intervals.
        doses: delivered share of each law in each cell; None where it is not measured.
        instruments: of the explained arm; None where nothing is measured.
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
    confounded = _confounded(doses or {})
    findings = _findings(costs, doses, instruments, confounded, margin)
    reasons = tuple(dict.fromkeys(reason for one in findings for reason in one.reasons))
    masked = tuple(name for name, one in costs.interactions.items() if one.low > 0 or one.high < 0)
    return CauseVerdict(
        _outcome(findings), findings, (*missing, *reasons), confounded, masked, _unexplained(costs.unexplained, margin)
    )


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


def _confounded(doses: Doses) -> tuple[tuple[str, Cause, float], ...]:
    """Laws that a cell should not have and has."""
    off = ((cell, law, dose) for cell, laws in doses.items() for law, dose in laws.items() if law not in CELLS[cell])
    return tuple((cell, law, dose) for cell, law, dose in off if dose < OFF[0] or dose > OFF[1])


def _findings(
    costs: Costs,
    doses: Doses | None,
    instruments: Instruments | None,
    confounded: tuple[tuple[str, Cause, float], ...],
    margin: float,
) -> tuple[CauseFinding, ...]:
    """One per group of causes: alone, or together where a cell of one moves the law of the other."""
    return tuple(
        _finding(group, costs, doses, instruments, margin) for group in _groups({(c, law) for c, law, _ in confounded})
    )


def _groups(confounded: set[tuple[str, Cause]]) -> tuple[tuple[Cause, ...], ...]:
    """Causes that can be told apart. One that a cell of two moves is joined with both."""
    group = {cause: {cause} for cause in CAUSES}
    for cell, law in confounded:
        joined = group[law].union(*(group[cause] for cause in CELLS[cell]))
        group |= dict.fromkeys(joined, joined)
    return tuple(dict.fromkeys(tuple(cause for cause in CAUSES if cause in group[first]) for first in CAUSES))


def _finding(
    group: tuple[Cause, ...], costs: Costs, doses: Doses | None, instruments: Instruments | None, margin: float
) -> CauseFinding:
    cell = cell_of(group)
    share = costs.shares[group[0]] if len(group) == 1 else costs.joint[cell]
    is_shown = shown(share)
    delivered, dose = _delivered(group, doses)
    visible = _visible(group, instruments)
    reasons = _reasons(group, delivered, visible, costs, judges_differ=bool(instruments and instruments.judges_differ))
    seeds = None
    if not is_shown:
        # nothing stands against a cause that is not shown but an interval that leaves its cost open
        reasons = (Reason.TOO_WIDE,) if share.high > margin else ()
        half = share.value - share.low
        if reasons and math.isfinite(half):
            seeds = max(costs.runs + 1, math.ceil(costs.runs * (half / margin) ** 2))
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
        seeds_needed=seeds,
    )


def _reasons(
    group: tuple[Cause, ...], delivered: Answer, visible: Answer, costs: Costs, *, judges_differ: bool
) -> tuple[Reason, ...]:
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
    if visible == "not measured":
        found.append(Reason.NO_INSTRUMENT)
    if visible == "no":
        found.append(Reason.NOT_VISIBLE)
    return tuple(found)


def _visible(group: tuple[Cause, ...], instruments: Instruments | None) -> Answer:
    seen = {"not measured"} if instruments is None else {instruments.sees(cause) for cause in group}
    return "not measured" if "not measured" in seen else _answer("yes" in seen)


def _delivered(group: tuple[Cause, ...], doses: Doses | None) -> tuple[Answer, float]:
    """Whether every cell has the laws of the group where they are on; and the dose furthest from 1.

    Laws that are off are judged by ``_confounded``.
    """
    on = [(cell, cause) for cause in group for cell, causes in CELLS.items() if cause in causes]
    everywhere = itertools.product(CELLS, CAUSES)
    if doses is None or any(math.isnan(doses.get(cell, {}).get(law, math.nan)) for cell, law in everywhere):
        return "not measured", 1.0
    found = [doses[cell][cause] for cell, cause in on]
    furthest = max(found, key=lambda dose: abs(dose - 1))
    inside = all(ON[0] <= dose <= ON[1] for dose in found)
    return _answer(inside), 1.0 if inside else furthest
