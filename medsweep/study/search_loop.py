"""The loop of a search: ask a batch, run it, read what it came to, until none is left."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from pydantic import ValidationError

from medsweep.errors import UserError
from medsweep.execution.driver import Summary, joined
from medsweep.search.results import REFUSED, Result, result_of
from medsweep.search.sampler import ask
from medsweep.search.stopping import Stopping, stopping_of, suggestions_only
from medsweep.store.store import Store
from medsweep.study.chains import Chains
from medsweep.study.expansions import Expansions
from medsweep.study.plan import PlannedSweep, plan_arms
from medsweep.study.stages import STAGES, Settings
from medsweep.sweep.arms import Arm
from medsweep.sweep.plan import Builder, Plan
from medsweep.sweep.searched import NEEDS_VALIDATION, point_of, space_of
from medsweep.sweep.space import SUGGESTION, Choices, Params, Range, SearchSection, Space
from medsweep.trial import COMPLETE, DivergedError, PoolDryError, PrunedError
from medsweep.validation import explain

PROBES: Final = 16
"""Points at which a searched field is looked at before it is said that no stage reads it."""
POOL_FIELDS: Final = ("synthesise.count", "synthesise.headroom", "segment.min_iou", "segment.filter_mode")
"""Fields that decide how large a pool must be."""
RESULTS: Final = (PrunedError.outcome, DivergedError.outcome, PoolDryError.outcome)
"""Ends of a suggestion that are results of the search, not failures of the run."""
LIMIT: Final = (
    "Arms named search-NNN were chosen one after the other by a search on validation patients: they are no planned "
    "comparison, and their number grows the family of tests. Confirm a winner as an arm of a sweep with new seeds."
)
"""What the report says among its limits where a sweep has suggestions."""


@dataclass(frozen=True)
class Suggestion:
    """A point of the space that was asked for; ``arm`` is None where its values cannot stand together."""

    name: str
    params: Params
    arm: Arm[Settings] | None
    refused: str = ""


@dataclass(frozen=True)
class State:
    """How far a search is."""

    plan: Plan[Settings]
    """All arms of the sweep and all suggestions so far."""
    fixed: tuple[Result, ...] = ()
    """Results of the sweep's own arms that lie in the space."""
    suggestions: tuple[Suggestion, ...] = ()
    results: tuple[Result, ...] = ()
    """Of the batches that are settled, so maybe fewer than ``suggestions``."""

    @property
    def all_results(self) -> tuple[Result, ...]:
        """All results in the order in which the sampler gets them."""
        return (*self.fixed, *self.results)


@dataclass(frozen=True)
class Search:
    """The search of a sweep; what it suggests follows from the store alone."""

    planned: PlannedSweep
    section: SearchSection
    space: Space
    inside: tuple[Suggestion, ...]
    """Arms of the sweep that lie in the space."""
    store: Store
    expansions: Expansions
    """Of the arms and of all suggestions so far."""

    def forward(self, state: State | None = None) -> State:
        """Ask as far as the store's results reach; ``state`` itself where nothing new is known."""
        state = state or State(self.plan([]))
        while (ahead := self._next(state)) is not None:
            state = ahead
        return state

    def is_settled(self, state: State) -> bool:
        """Whether every suggestion was made and has a result."""
        return len(state.results) == self.section.suggestions

    def plan(self, suggestions: Sequence[Suggestion]) -> Plan[Settings]:
        """Trials of all arms of the sweep and of ``suggestions``."""
        planned = self.planned
        arms = [*planned.arms, *(suggestion.arm for suggestion in suggestions if suggestion.arm is not None)]
        return plan_arms(
            planned.sweep, planned.source, planned.replicates, arms, self._bounds(suggestions), known=self.expansions
        )

    def measured_plan(self, state: State) -> Plan[Settings]:
        """The plan without suggestions that have no scores to tabulate: stopped, refused, dry or not yet run."""
        scored = {result.name for result in state.results if result.outcome in (COMPLETE, DivergedError.outcome)}
        return self.plan([suggestion for suggestion in state.suggestions if suggestion.name in scored])

    def stopping(self, plan: Plan) -> Stopping | None:
        """What may be stopped early of ``plan``, if the search asks for that."""
        return stopping_of(plan, self.section.early_stopping, self.store.root.resolve())

    def _next(self, state: State) -> State | None:
        """The state a batch further on; None where results are missing or no suggestion is left."""
        if len(state.fixed) < len(self.inside):
            fixed = _all_settled(
                self._result(state.plan, own, [arm for arm in self.planned.arms if arm is not own.arm])
                for own in self.inside
            )
            return None if fixed is None else replace(state, fixed=fixed)
        if len(state.results) < len(state.suggestions):
            batch = state.suggestions[len(state.results) :]
            results = _all_settled(self._result(state.plan, suggestion, self.planned.arms) for suggestion in batch)
            return None if results is None else replace(state, results=(*state.results, *results))
        first = len(state.suggestions)
        count = min(self.section.batch, self.section.suggestions - first)
        if count == 0:
            return None
        points = ask(self.section, self.space, state.all_results, count)
        suggestions = (*state.suggestions, *(self._suggest(first + k, params) for k, params in enumerate(points)))
        return replace(state, suggestions=suggestions, plan=self.plan(suggestions))

    def _result(self, plan: Plan, suggestion: Suggestion, others: Sequence[Arm]) -> Result | None:
        """What a suggestion came to; it does not pay for trials that the arms ``others`` need too."""
        name, params = suggestion.name, suggestion.params
        if suggestion.arm is None:
            return Result(name, params, REFUSED, suggestion.refused)
        leaves = {leaf for arm in others for leaf in plan.leaves_of(arm.name)}
        shared = frozenset[str]().union(*map(plan.ancestry, leaves))
        return result_of(self.section, plan, self.store, name=name, params=params, others=shared)

    def _suggest(self, number: int, params: Params) -> Suggestion:
        name = f"{SUGGESTION}{number:03}"
        try:
            arm = Arm(name, params, self.planned.sweep.with_levels(params, ("search", "space")))
            self._leaf(arm)
        except ValidationError as error:
            return Suggestion(name, params, None, explain(error, Settings)[1])
        except UserError as error:
            return Suggestion(name, params, None, str(error))
        return Suggestion(name, params, arm)

    def _leaf(self, arm: Arm[Settings]) -> str:
        control = next(other for other in self.planned.arms if other.is_control)
        return Chains([control, arm], self.planned.source).expand(Builder(STAGES), arm, self.planned.replicates[0])

    def _bounds(self, suggestions: Sequence[Suggestion]) -> list[Settings]:
        """Each point of the space with the largest dose searched, so that later suggestions find pools large enough."""
        tops = {dotted: _top(self.space, dotted) for dotted in POOL_FIELDS if dotted in self.space}
        if not tops:
            return []
        points = [point.params for point in (*self.inside, *suggestions) if point.arm is not None]
        return [self.planned.sweep.with_levels(point | tops, ("search", "space")) for point in points]

    def require_read(self) -> None:
        """Refuse a searched field that changes no trial, wherever in the space; the UserError names it."""
        random = self.section.model_copy(update={"sampler": "random"})
        probes = ask(random, self.space, [], PROBES)
        for dotted, domain in self.space.items():
            span = (
                (domain.decode(domain.low), domain.decode(domain.high)) if isinstance(domain, Range) else domain.values
            )
            if not any(self._differ([{**probe, dotted: value} for value in span]) for probe in probes):
                text = f"search.space: {dotted} changes no trial: no stage of any suggestion reads it"
                key = ("search", "space", dotted)
                raise self.planned.sweep.error(key, f"{text}; remove it, or fix what makes it matter")

    def _differ(self, points: Sequence[Params]) -> bool:
        suggestions = [self._suggest(number, params) for number, params in enumerate(points)]
        return len({self._leaf(suggestion.arm) for suggestion in suggestions if suggestion.arm is not None}) > 1


def _all_settled(results: Iterable[Result | None]) -> tuple[Result, ...] | None:
    """All of the results, or None where one is missing."""
    settled = tuple(results)
    return None if None in settled else cast("tuple[Result, ...]", settled)


def open_search(planned: PlannedSweep, store: Store) -> Search | None:
    """The search of a sweep; None where it has none.

    Raises:
        UserError: a fold has no validation patients, or a searched field changes nothing.
    """
    sweep, section = planned.sweep, planned.sweep.file.search
    if section is None:
        return None
    for replicate in planned.replicates:
        named = replicate.cut.given_patients
        if replicate.cut.validation == 0 and not (named and named.validation):
            raise sweep.error(("search",), f"fold {replicate.fold}: {NEEDS_VALIDATION}")
    space = space_of(sweep)
    points = [(arm, point_of(space, arm.settings)) for arm in planned.arms]
    # Elsewhere an arm differs from what the same point would suggest, so it is no result of that point.
    inside = tuple(
        Suggestion(arm.name, point, arm)
        for arm, point in points
        if point is not None and sweep.with_levels(point, ("search", "space")) == arm.settings
    )
    search = Search(planned, section, space, inside, store, Expansions(planned.arms))
    search.require_read()
    return search


def run_search(search: Search, run: Callable[[Plan[Settings], Stopping | None], Summary]) -> tuple[State, Summary]:
    """Run all arms and suggestions, batch by batch, until all are settled, the user stops, or a trial is missing.

    ``run`` runs a plan as ``run_plan`` does, with what may be stopped early. Whatever interrupts it, the next call goes
    on from the store.
    """
    state, summaries = search.forward(), list[Summary]()
    while True:
        summaries.append(run(state.plan, search.stopping(state.plan)))
        ahead = search.forward(state)
        # Results that came in while no suggestion was left change no plan, so nothing is to run.
        if summaries[-1].stopped or ahead.plan is state.plan:
            return ahead, _total(search, ahead, summaries)
        state = ahead


def _total(search: Search, state: State, summaries: Sequence[Summary]) -> Summary:
    """One summary of all batches; how suggestions ended is a result, not a failure."""
    serves = state.plan.serves()
    total = joined(summaries)
    failures = tuple(
        failure
        for failure in total.failures
        if failure.outcome not in RESULTS or not suggestions_only(serves[failure.trial.digest])
    )
    blocked = 0 if search.is_settled(state) and not failures else total.blocked
    return replace(total, failures=failures, blocked=blocked)


def _top(space: Space, dotted: str) -> object:
    domain = space[dotted]
    if not isinstance(domain, Choices):
        return domain.decode(domain.high)
    if dotted == "segment.filter_mode":
        return "fixed-kept" if "fixed-kept" in domain.values else domain.values[0]
    return max(domain.values)
