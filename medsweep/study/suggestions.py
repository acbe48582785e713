"""From points of a search space to arms and their trials: what is planned of a search, which points cannot stand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from medsweep.errors import UserError
from medsweep.search.sampler import ask
from medsweep.study.chains import Chains
from medsweep.study.expansions import Expansions
from medsweep.study.plan import PlannedSweep, plan_arms
from medsweep.study.stages import STAGES, Settings
from medsweep.sweep.arms import Arm
from medsweep.sweep.plan import Builder, Plan
from medsweep.sweep.searched import point_of
from medsweep.sweep.space import Choices, Params, Range, SearchSection, Space, active
from medsweep.validation import explain

PROBES: Final = 16
"""Points at which a searched field is looked at before it is said that no stage reads it."""
POOL_FIELDS: Final = ("synthesise.count", "synthesise.headroom", "segment.min_iou", "segment.filter_mode")
"""Fields that decide how large a pool must be."""
KEPT_PLANS: Final = 3
"""Of the same suggestions: all of them, those to run, and those that are reported."""
KEY: Final = ("search", "space")


@dataclass(frozen=True)
class Suggestion:
    """A point of the space that was asked for; ``arm`` is None where its values cannot stand together."""

    name: str
    params: Params
    arm: Arm[Settings] | None
    refused: str = ""


@dataclass(frozen=True)
class Suggestions:
    """The points of one sweep's space as arms."""

    planned: PlannedSweep
    section: SearchSection
    space: Space
    inside: tuple[Suggestion, ...]
    """Arms of the sweep that lie in the space."""
    expansions: Expansions
    """Of the arms and of all suggestions so far."""
    _known: dict[str, Suggestion | None] = field(default_factory=dict)
    _plans: dict[tuple[str, ...], Plan[Settings]] = field(default_factory=dict)

    def plan(self, suggestions: Sequence[Suggestion]) -> Plan[Settings]:
        """Trials of all arms of the sweep and of ``suggestions``; the same object for the same ones as before."""
        names = tuple(suggestion.name for suggestion in suggestions)
        if names in self._plans:
            return self._plans[names]
        planned = self.planned
        arms = [*planned.arms, *(suggestion.arm for suggestion in suggestions if suggestion.arm is not None)]
        plan = plan_arms(
            planned.sweep,
            planned.source,
            planned.replicates,
            arms,
            self._bounds(suggestions),
            folders=planned.folders,
            known=self.expansions,
        )
        self._plans[names] = plan
        while len(self._plans) > KEPT_PLANS:
            del self._plans[next(iter(self._plans))]
        return plan

    def at(self, name: str, params: Params, *, stood: bool = False) -> Suggestion | None:
        """The suggestion ``name`` that was asked for at ``params``; None where the space of now does not hold it.

        One that is known to have ``stood`` is not looked at again.
        """
        if name not in self._known:
            point = self.point_of(params)
            self._known[name] = None if point is None else self.suggest(name, point, stood=stood)
        return self._known[name]

    def point_of(self, params: Params) -> Params | None:
        """What was suggested elsewhere or earlier as a point of this space; None where it lies outside."""
        if params.keys() == active(self.space, params).keys():
            return params if all(self.space[dotted].holds(value) for dotted, value in params.items()) else None
        try:
            settings = self.planned.sweep.with_levels(params, KEY)
            point = point_of(self.space, settings)
            same = point is not None and self.planned.sweep.with_levels(point, KEY) == settings
        except UserError:
            return None
        return point if same else None

    def suggest(self, name: str, params: Params, *, stood: bool = False) -> Suggestion:
        """The arm at a point, or why there can be none."""
        try:
            arm = Arm(name, params, self.planned.sweep.with_levels(params, KEY))
            if not stood:
                self._leaf(arm)
        except ValidationError as error:
            return Suggestion(name, params, None, explain(error, Settings)[1])
        except UserError as error:
            return Suggestion(name, params, None, str(error))
        return Suggestion(name, params, arm)

    def _leaf(self, arm: Arm[Settings]) -> str:
        control = next(other for other in self.planned.arms if other.is_control)
        chains = Chains([control, arm], self.planned.source, folders=self.planned.folders)
        return chains.expand(Builder(STAGES), arm, self.planned.replicates[0])

    def _bounds(self, suggestions: Sequence[Suggestion]) -> list[Settings]:
        """Each point of the space with the largest dose searched, so that later suggestions find pools large enough."""
        tops = {dotted: _top(self.space, dotted) for dotted in POOL_FIELDS if dotted in self.space}
        if not tops:
            return []
        points = [point.params for point in (*self.inside, *suggestions) if point.arm is not None]
        return [
            self.planned.sweep.with_levels(point | {name: tops[name] for name in tops if name in point}, KEY)
            for point in points
        ]

    def require_read(self) -> None:
        """Refuse a searched field that changes no trial, wherever in the space; the UserError names it."""
        random = self.section.model_copy(update={"sampler": "random"})
        probes = ask(random, self.space, [], PROBES)
        for dotted, domain in self.space.items():
            span = (
                (domain.decode(domain.low), domain.decode(domain.high)) if isinstance(domain, Range) else domain.values
            )
            where = [{**probe, **_first_of(self.space, domain)} for probe in probes]
            if not any(self._differ([{**probe, dotted: value} for value in span]) for probe in where):
                there = " where its when holds" if domain.when else ""
                text = f"search.space: {dotted} changes no trial{there}: no stage of any suggestion reads it"
                raise self.planned.sweep.error((*KEY, dotted), f"{text}; remove it, or fix what makes it matter")

    def _differ(self, points: Sequence[Params]) -> bool:
        suggestions = [self.suggest("probe", params) for params in points]
        return len({self._leaf(suggestion.arm) for suggestion in suggestions if suggestion.arm is not None}) > 1


def _first_of(space: Space, domain: Range | Choices) -> Params:
    """Values under which a field is searched: the first of each condition, and of those that these depend on."""
    above: Params = {}
    for dotted, wanted in domain.when.items():
        above |= {**_first_of(space, space[dotted]), dotted: wanted[0]}
    return above


def _top(space: Space, dotted: str) -> object:
    domain = space[dotted]
    if not isinstance(domain, Choices):
        return domain.decode(domain.high)
    if dotted == "segment.filter_mode":
        return "fixed-kept" if "fixed-kept" in domain.values else domain.values[0]
    return max(domain.values)
