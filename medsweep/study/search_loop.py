"""The loop of a search: ask, run, tell the sampler what came of it, until no suggestion is left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from medsweep.errors import nearest
from medsweep.execution.driver import Failure, Grow, Summary, joined
from medsweep.execution.failures import GIVEN_UP, OWN_FAILURES
from medsweep.execution.plan_tasks import labels_of
from medsweep.files import write_atomic
from medsweep.search.journal import journal_of
from medsweep.search.record import SEARCH, Event, Record
from medsweep.search.results import REFUSED, Lost, Result, ending_of, result_of, shortfall
from medsweep.search.sampler import ask, ranking
from medsweep.search.stopping import Stopping, stopping_of, suggestions_only
from medsweep.store.store import Store
from medsweep.study.expansions import Expansions
from medsweep.study.plan import PlannedSweep
from medsweep.study.stages import Settings
from medsweep.study.suggestions import KEY, Suggestion, Suggestions
from medsweep.sweep.plan import Plan
from medsweep.sweep.searched import NEEDS_VALIDATION, point_of, space_of
from medsweep.sweep.space import SearchSection
from medsweep.trial import COMPLETE, DivergedError, PoolDryError, PrunedError

RESULTS: Final = (PrunedError.outcome, DivergedError.outcome, PoolDryError.outcome)
"""Ends of a suggestion that are results of the search, not failures of the run."""
REPORTED: Final = 10
"""Suggestions that the report compares with the named arms."""
LIMIT: Final = (
    "Arms named search-NNN were chosen one after the other by a search on validation patients: they are no planned "
    "comparison, and their number grows the family of tests. Confirm a winner as an arm of a sweep with new seeds."
)
"""What the report says among its limits where a sweep has suggestions."""


@dataclass(frozen=True)
class State:
    """How far a search is."""

    plan: Plan[Settings]
    """All arms of the sweep and all suggestions so far, without those that failed for good."""
    suggestions: tuple[Suggestion, ...]
    """Those that were asked for and lie in the space."""
    told: tuple[Result, ...]
    """What the sampler heard, in that order: of arms of the sweep that lie in the space, and of suggestions."""
    failed: Mapping[str, Event]
    """Suggestions of which a trial failed for good, by name: told as failed and not tried again."""
    asked: int
    """Number of suggestions ever asked for, those included that an edited space left outside."""

    @property
    def fixed(self) -> tuple[Result, ...]:
        """Results of the sweep's own arms that lie in the space."""
        names = {suggestion.name for suggestion in self.suggestions}
        return tuple(result for result in self.told if result.name not in names)

    @property
    def results(self) -> tuple[Result, ...]:
        """Results of suggestions, in the order in which these were asked for."""
        told = {result.name: result for result in self.told}
        return tuple(told[suggestion.name] for suggestion in self.suggestions if suggestion.name in told)

    def waiting(self, arms: Sequence[Suggestion]) -> list[Suggestion]:
        """Those of ``arms`` of which the sampler has not heard."""
        told = {result.name for result in self.told}
        return [arm for arm in arms if arm.name not in told]


@dataclass(frozen=True)
class Search:
    """The search of a sweep; where it is follows from its record and from what is published."""

    points: Suggestions
    section: SearchSection
    store: Store
    record: Record
    borrowed: tuple[Result, ...] = ()
    """Of another search, which the sampler knows from the beginning."""

    def forward(self, lost: Mapping[str, Lost] | None = None) -> State:
        """Tell and ask as far as results reach; ``lost`` are trials that failed for good since the last time."""
        self.record.refresh()
        state = self._state()
        while (event := self._tell(state, lost or {}) or self._ask(state)) is not None:
            self.record.append(event)
            state = self._state()
        return state

    def is_settled(self, state: State) -> bool:
        """Whether every suggestion was made and has a result."""
        return len(state.results) == self.section.suggestions

    def whole_plan(self, state: State) -> Plan[Settings]:
        """The plan with all suggestions, those included that failed for good."""
        return self.points.plan(state.suggestions)

    def reported_plan(self, state: State) -> Plan[Settings]:
        """The plan with the best suggestions alone, by validation patients; then with others that have scores.

        To choose by patients that are not tested flatters no verdict.
        """
        results = state.results
        scored = [result.name for result in results if result.outcome in (COMPLETE, DivergedError.outcome)]
        ranked = [results[number].name for number in ranking(self.section, self.points.space, results)]
        best = list(dict.fromkeys([*ranked, *scored]))[:REPORTED]
        return self.points.plan([suggestion for suggestion in state.suggestions if suggestion.name in best])

    def limits(self, state: State) -> tuple[str, ...]:
        """What the report says among its limits."""
        left = len(state.results) - REPORTED
        more = f"Only the {REPORTED} best of {len(state.results)} suggestions by validation patients are compared here."
        return (LIMIT, more) if left > 0 else (LIMIT,)

    def stopping(self) -> Stopping | None:
        """How suggestions are stopped early, if the search asks for that."""
        return stopping_of(self.points.planned.sweep.name, self.section.early_stopping)

    def forget(self, gone: set[str]) -> None:
        """Let suggestions be tried again whose trials ``gone`` ended without a result."""
        state = self.forward()
        plan = self.whole_plan(state)
        for result in state.results:
            leaves = [] if result.outcome in (COMPLETE, REFUSED) else plan.leaves_of(result.name)
            if any(gone & plan.ancestry(leaf) for leaf in leaves):
                self.record.append(Event(kind="forgotten", arm=result.name))

    def write_journal(self, state: State) -> None:
        """Keep ``STORE/search/SWEEP.log`` for those who look at a search with Optuna's tools; nothing here reads it."""
        points = {suggestion.name: suggestion.params for suggestion in (*self.points.inside, *state.suggestions)}
        sweep = self.points.planned.sweep.name
        text = journal_of(sweep, self.section, self.points.space, self.record.events, points)
        path = self.store.root / SEARCH / f"{sweep}.log"
        if text and (not path.is_file() or path.read_text() != text):
            write_atomic(path, text)
            self.store.shared(path)

    def _state(self) -> State:
        recorded = self.record.recorded()
        known = [
            self.points.at(name, params, stood=name in recorded.told and recorded.told[name].outcome != REFUSED)
            for name, params in recorded.asked.items()
        ]
        suggestions = [suggestion for suggestion in known if suggestion is not None]
        arms = {arm.name: arm for arm in (*self.points.inside, *suggestions)}
        whole = self.points.plan(suggestions)
        told = {
            name: event for name, event in recorded.told.items() if name in arms and _holds(event, arms[name], whole)
        }
        # Those that were told of another version of the sweep are none of this one's.
        kept = tuple(each for each in suggestions if each.name in told or each.name not in recorded.told)
        results = [result_of(self.section, event, arms[name].params) for name, event in told.items()]
        failed = {name: event for name, event in told.items() if event.culprit}
        return State(
            plan=self.points.plan([suggestion for suggestion in kept if suggestion.name not in failed]),
            suggestions=kept,
            told=tuple(result for result in results if result is not None),
            failed=failed,
            asked=len(recorded.asked),
        )

    def _tell(self, state: State, lost: Mapping[str, Lost]) -> Event | None:
        """The next end of an arm to tell; of a batch only once all of it has ended."""
        fixed, open_ = state.waiting(self.points.inside), state.waiting(state.suggestions)
        if not self.section.batch:
            return next(filter(None, self._ends([*fixed, *open_], state, lost)), None)
        ends = list(self._ends(fixed or open_, state, lost))
        return ends[0] if ends and None not in ends else None

    def _ends(self, arms: Sequence[Suggestion], state: State, lost: Mapping[str, Lost]) -> Iterator[Event | None]:
        """How each of ``arms`` ended; no arm pays for trials that named arms need too."""
        if not arms:
            return
        own = {arm.name for arm in self.points.inside}
        lost = {event.culprit: (event.outcome, event.message) for event in state.failed.values()} | {**lost}
        named = self.points.planned.arms
        all_named = self._made_for([arm.name for arm in named], state.plan)
        for arm in arms:
            if arm.arm is None:
                yield Event(kind="told", arm=arm.name, outcome=REFUSED, message=arm.refused)
                continue
            is_own = arm.name in own
            others = self._made_for([o.name for o in named if o.name != arm.name], state.plan) if is_own else all_named
            failures = {} if is_own else lost
            yield ending_of(self.section, state.plan, self.store, arm=arm.name, others=others, lost=failures)

    def _made_for(self, arms: Sequence[str], plan: Plan) -> frozenset[str]:
        leaves = {leaf for arm in arms for leaf in plan.leaves_of(arm)}
        return frozenset[str]().union(*map(plan.ancestry, leaves))

    def _ask(self, state: State) -> Event | None:
        """As many suggestions as places are free; the next batch only once all that was asked for has an end."""
        section, open_ = self.section, state.waiting(state.suggestions)
        if section.batch and (open_ or state.waiting(self.points.inside)):
            return None
        count = min((section.batch or section.at_once) - len(open_), section.suggestions - len(state.suggestions))
        if count <= 0:
            return None
        pending, number = [suggestion.params for suggestion in open_], len(state.fixed) + state.asked
        # The random first suggestions of the search that this one starts from are known already.
        draw = number if section.warm_start is None else f"{number} after {section.warm_start}"
        points = ask(section, self.points.space, (*self.borrowed, *state.told), count, pending, draw)
        return Event(kind="asked", points=tuple(points))


def _holds(told: Event, arm: Suggestion, plan: Plan) -> bool:
    """Whether what was told of an arm is about the trials that measure it now."""
    if arm.arm is None or told.outcome == REFUSED:
        return arm.arm is None and told.outcome == REFUSED
    return tuple(plan.leaves_of(arm.name)) == told.leaves


def open_search(planned: PlannedSweep, store: Store, *, writes: bool = False) -> Search | None:
    """The search of a sweep; None where it has none. Only one that ``writes`` records what it asks and tells.

    Raises:
        UserError: a fold has no validation patients, a searched field changes nothing, or as ``_borrowed``.
    """
    sweep, section = planned.sweep, planned.sweep.file.search
    if section is None:
        return None
    for replicate in planned.replicates:
        if not replicate.cut.has_validation:
            raise sweep.error(("search",), f"fold {replicate.fold}: {NEEDS_VALIDATION}")
    space = space_of(sweep)
    points = [(arm, point_of(space, arm.settings)) for arm in planned.arms]
    # Elsewhere an arm differs from what the same point would suggest, so it is no result of that point.
    inside = tuple(
        Suggestion(arm.name, point, arm)
        for arm, point in points
        if point is not None and sweep.with_levels(point, KEY) == arm.settings
    )
    suggestions = Suggestions(planned, section, space, inside, Expansions(planned.arms))
    suggestions.require_read()
    record = Record(store, sweep.name, writes=writes)
    return Search(suggestions, section, store, record, _borrowed(suggestions, store))


def _borrowed(points: Suggestions, store: Store) -> tuple[Result, ...]:
    """Results of the search that this one starts from, as far as they lie in this space and have its metrics.

    Raises:
        UserError: there is no such search in the store.
    """
    sweep, name = points.planned.sweep, points.section.warm_start
    if name is None:
        return ()
    others = sorted({Path(each).parent.name for each in store.small_files(SEARCH) if each.endswith(".json")})
    if name not in others or name == sweep.name:
        told = f"{name!r} is no other search in the store {store}"
        raise sweep.error(("search", "warm_start"), f"{told}; {nearest(name, [o for o in others if o != sweep.name])}")
    recorded = Record(store, name, writes=False).recorded()
    known = [
        (told, points.point_of(recorded.asked[arm])) for arm, told in recorded.told.items() if arm in recorded.asked
    ]
    results = [result_of(points.section, told, point) for told, point in known if point is not None]
    return tuple(result for result in results if result is not None and result.outcome == COMPLETE)


Run = Callable[[Plan[Settings], Stopping | None, Grow], Summary]
"""Runs a plan as ``run_plan`` does, with how trials are stopped early, and who is asked for more of the plan."""


def run_search(search: Search, run: Run, *, fail_fast: bool = False) -> tuple[State, Summary]:
    """Run all arms and suggestions until all are settled, the user stops, the budget is spent, or a trial is missing.

    New suggestions join the plan while it runs. A suggestion that fails for good is told to the sampler as failed,
    unless ``fail_fast``. Whatever interrupts it, the next call goes on from the store.
    """
    at, summaries = [search.forward()], list[Summary]()

    def grow(lost: Mapping[str, Lost]) -> Plan[Settings] | None:
        state = at[-1]
        ahead = search.forward({} if fail_fast or not lost else _of_suggestions(lost, state.plan))
        if ahead.told != state.told:
            search.write_journal(ahead)
        at.append(ahead)
        return None if len(ahead.suggestions) == len(state.suggestions) else ahead.plan

    while True:
        summaries.append(run(at[-1].plan, search.stopping(), grow))
        last = summaries[-1]
        own = any(failure.outcome in OWN_FAILURES for failure in last.failures)
        lost = {one.trial.digest: (one.outcome, one.message) for one in last.failures if one.outcome in GIVEN_UP}
        more = grow(lost)
        search.write_journal(at[-1])
        ended = last.stopped or last.capped or (fail_fast and own)
        if ended or more is None:
            return at[-1], _total(search, at[-1], summaries)


def _of_suggestions(lost: Mapping[str, Lost], plan: Plan) -> dict[str, Lost]:
    """Those of the trials that failed for good that suggestions alone need."""
    serves = plan.serves()
    return {digest: end for digest, end in lost.items() if digest in serves and suggestions_only(serves[digest])}


def _total(search: Search, state: State, summaries: Sequence[Summary]) -> Summary:
    """One summary of all plans; a suggestion that ended by itself is a result, one that failed stays a failure."""
    whole, total = search.whole_plan(state), joined(summaries)
    serves, labels = whole.serves(), labels_of(whole)
    culprits = {event.culprit: event for event in state.failed.values()}
    failures = tuple(
        failure
        for failure in total.failures
        if failure.trial.digest not in culprits
        and (failure.outcome not in RESULTS or not suggestions_only(serves[failure.trial.digest]))
    )
    settled = search.is_settled(state) and not failures
    failures += tuple(
        Failure(whole.trials[digest], labels[digest], event.outcome, event.message, published=True)
        for digest, event in culprits.items()
    )
    found_nothing = shortfall(search.section, state.results) if search.is_settled(state) else ""
    return replace(total, failures=failures, blocked=0 if settled else total.blocked, found_nothing=found_nothing)
