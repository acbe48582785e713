"""One call of ``medsweep run``: plan, drop what is published, run the rest, look again. Nothing else is remembered."""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medsweep.execution.failures import (
    GIVEN_UP,
    KILLED_FOR_MEMORY,
    OWN_FAILURES,
    TRIES,
    backoff_seconds,
    note_loss,
    notes,
)
from medsweep.execution.gpu_memory import WHOLE_NODE_GIB, Grant, next_grant
from medsweep.execution.memory_probe import granted
from medsweep.execution.plan_tasks import labels_of, tasks_of
from medsweep.execution.runner import UNGUARDED, Guard, RoundResult, Runner, RunPolicy, holder
from medsweep.execution.task import RunContext, Task
from medsweep.stop_signals import stop_signals
from medsweep.store.lease import LeaseHeldError
from medsweep.store.opening import store_at
from medsweep.store.store import DamagedError, Store
from medsweep.sweep.plan import Decision, Plan, PlannedTrial, decide
from medsweep.tracking.console import Observer
from medsweep.tracking.tracker import RunCard
from medsweep.trial import COMPLETE

POLL_SECONDS = 2.0
OPEN = (None, "blocked", LeaseHeldError.outcome)
"""How a round leaves trials that it did not end."""
ORPHAN_SECONDS = 300.0
"""Time that a worker gets to end which Ray has lost with its node, and which holds its trial all the same."""


@dataclass(frozen=True)
class Failure:
    """A trial that is not there."""

    trial: PlannedTrial
    label: str
    outcome: str
    message: str
    published: bool = False
    """Whether it is published with this outcome, or a search was told so: running again would end alike."""
    at: str = ""
    """When it failed, where only a note tells of it."""


@dataclass(frozen=True)
class Summary:
    """What one call of ``medsweep run`` did."""

    ran: Counter[str]
    """Trials published by this call, by stage."""
    reused: Counter[str]
    failures: tuple[Failure, ...]
    blocked: int
    stopped: bool
    seconds: float
    capped: str = ""
    """Which cap of the budget no further trial may pass, or nothing."""
    found_nothing: str = ""
    """Why a search that has ended names no best suggestion, or nothing."""

    @property
    def ok(self) -> bool:
        """Every trial that was asked for is published and complete, and a search has found something."""
        return not (self.failures or self.blocked or self.stopped or self.capped or self.found_nothing)

    @property
    def again(self) -> bool:
        """Whether the same command may bring more: all that is missing would not end as it did."""
        lasting = all(failure.published for failure in self.failures)
        return self.stopped or bool(self.capped) or not lasting or (not self.failures and self.blocked > 0)

    @property
    def exit_code(self) -> int:
        """0 all there, 1 trial failed or search found nothing, 2 to mend in sweep or data, 3 at a cap, 130 stopped."""
        if self.stopped:
            return 130
        if self.capped:
            return 3
        if any(failure.outcome == "bad-input" for failure in self.failures):
            return 2
        return 0 if self.ok else 1


def joined(summaries: Sequence[Summary]) -> Summary:
    """One summary of plans that ran one after the other, each with what was in the one before."""
    return replace(
        summaries[-1],
        ran=sum((summary.ran for summary in summaries), Counter[str]()),
        reused=summaries[0].reused,
        seconds=sum(summary.seconds for summary in summaries),
    )


@dataclass
class _RunState:
    tries: Counter[str] = field(default_factory=Counter)
    given_up: dict[str, tuple[str, str]] = field(default_factory=dict)
    ran: Counter[str] = field(default_factory=Counter)
    enlarged: dict[str, Grant] = field(default_factory=dict)
    """What trials that ran out of memory are given at their next try."""
    stopped: bool = False
    capped: str = ""


Grow = Callable[[Mapping[str, tuple[str, str]]], Plan[Any] | None]
"""Given outcome and message of the trials that failed for good, a larger plan of the same sweep, or None."""
Cards = Callable[[Plan[Any]], Callable[[str], RunCard]]
"""Given a plan, what W&B is told of a trial by its digest."""


class _Course:
    """The plan of one call, which may grow while it runs, and what the store says of it."""

    def __init__(
        self, plan: Plan, context: RunContext, observer: Observer, grow: Grow | None, cards: Cards | None
    ) -> None:
        self.store, self.state = store_at(context.store), _RunState()
        self._context, self._observer, self._grow, self._cards = context, observer, grow, cards
        self._take(plan)
        self.reused = dict(self.decisions)
        self.round: list[Task] = []
        """Tasks of the round at hand, those included that came while it ran."""

    def _take(self, plan: Plan) -> None:
        self.plan, self.labels = plan, labels_of(plan)
        self._card_of = None if self._cards is None else self._cards(plan)
        self.look()

    def look(self) -> None:
        """Ask the store again."""
        self.decisions = decide_checked(self.plan, self.store, self._observer)

    def tasks(self, closed: Iterable[str] = ()) -> list[Task]:
        """Those to run, without what cannot be made from what was given up and from ``closed``."""
        shut = {*self.state.given_up, *closed}
        return tasks_of(
            self.plan,
            self.decisions,
            self.labels,
            closed=shut,
            context=self._context,
            enlarged=self.state.enlarged,
            card_of=self._card_of,
        )

    def more(self, result: RoundResult) -> list[Task]:
        """Tasks that the plan has grown by, after how others ended in this round."""
        ends = {digest: (end, result.messages.get(digest, "")) for digest, end in result.outcomes.items()}
        lost = {digest: end for digest, end in ends.items() if end[0] in GIVEN_UP}
        grown = None if self._grow is None else self._grow(lost)
        if grown is None:
            return []
        known = {task.digest for task in self.round}
        self._take(grown)
        self.reused = {**self.decisions, **self.reused}
        failed = [digest for digest, (outcome, _) in ends.items() if outcome != COMPLETE]
        new = [task for task in self.tasks(failed) if task.digest not in known]
        self.round += new
        return new

    def enlarged(self, task: Task, message: str) -> Task | None:
        """A task that ran out of memory with more of it; one whose share was measured holds that by now."""
        config = self._context.stages[task.stage].config.model_validate_json(json.dumps(task.config))
        grant = self.state.enlarged.get(task.digest) or granted(task, self.store)
        divides = self._context.stages[task.stage].divides(config)
        killed = message.startswith(KILLED_FOR_MEMORY)
        more = next_grant(grant, self._context.resources_of(task.stage), divides, of_host=killed)
        if more is None:
            return None
        self.state.enlarged[task.digest] = more
        batches = f" and each batch in {more.micro_batches} micro-batches" if more.micro_batches > 1 else ""
        whole = more.held.memory_gib >= WHOLE_NODE_GIB
        memory = "all memory of a node" if whole else f"{more.held.memory_gib:g} GiB"
        if more.held.most_gpus and not killed:
            memory = f"{more.held.most_gpus:g} GPU"
        self._observer.note(f"{task.stage} {task.label} ran out of memory; tried again with {memory}{batches}")
        return replace(task, held=more.held, micro_batches=more.micro_batches, shape="")


def run_plan(
    plan: Plan,
    context: RunContext,
    runner: Runner,
    observer: Observer,
    guard: Guard = UNGUARDED,
    *,
    fail_fast: bool = False,
    grow: Grow | None = None,
    cards: Cards | None = None,
) -> Summary:
    """Run what is missing, in rounds: a round ends when its runner can do nothing more.

    Another round follows where a damaged file was set aside, a worker was lost and nothing else was left to do, or
    another driver held a trial. ``grow`` is asked after every trial that ends, and what it adds is run in the same
    round. ``cards`` says what W&B is told of the trials of a plan while they run.
    """
    begun = time.monotonic()
    course = _Course(plan, context, observer, grow, cards)
    state, store = course.state, course.store
    policy = RunPolicy(guard, fail_fast, enlarged=course.enlarged, more=course.more)
    while not state.stopped and not state.capped:
        course.round = course.tasks()
        if not course.round or (fail_fast and OWN_FAILURES & {outcome for outcome, _ in state.given_up.values()}):
            break
        result = runner.run(list(course.round), context, observer, policy)
        tasks = course.round
        _account(tasks, result, state, store, observer)
        if not state.stopped and not state.capped:
            # Lost to the machines, with no time left in this round to be tried again.
            pending = [task.digest for task in tasks if task.digest not in result.outcomes]
            lost = [policy.lost[digest] for digest in pending if policy.lost[digest] > 0]
            state.stopped = _stopped_while_waiting(tasks, lost, store, observer, result.orphans)
            state.given_up |= _still_held(result.orphans, tasks, store)
        course.look()
        _tell_of_others(tasks, result, course.decisions, observer)
    return _summary(course, time.monotonic() - begun)


def decide_checked(plan: Plan, store: Store, observer: Observer, *, hashes: bool = True) -> dict[str, Decision]:
    """``decide`` against the store; torn manifests and damaged files of measured arms are named and set aside.

    Without ``hashes`` only manifests are read and nothing is moved, which is enough to look and too little to build on.

    Raises:
        UserError: a trial cannot be read, or another version published it.
    """
    store.look_again()
    published = store.look(
        ((trial.stage, digest) for digest, trial in plan.trials.items()), hashed=set(plan.goals) if hashes else ()
    )
    outcomes: dict[str, tuple[str, str]] = {}
    for digest, manifest in published.items():
        if isinstance(manifest, DamagedError) and hashes:
            set_aside(manifest, store, observer)
        elif isinstance(manifest, DamagedError):
            observer.note(f"{manifest}; medsweep run sets it aside and makes it again")
        else:
            outcomes[digest] = manifest.outcome, manifest.message
    return decide(plan, lambda _, digest: outcomes.get(digest))


def set_aside(error: DamagedError, store: Store, observer: Observer) -> None:
    """Move a damaged trial away, so that it is run again, and say so."""
    if store.has(error.stage, error.digest):
        target = store.quarantine(error.stage, error.digest)
        observer.note(f"{error}; it is kept at {target} and run again")


def _account(tasks: list[Task], result: RoundResult, state: _RunState, store: Store, observer: Observer) -> None:
    state.stopped, state.capped = result.stopped, result.capped
    for task in tasks:
        if task.is_probe:
            _account_probe(task, tasks, result, state)
            continue
        outcome = result.outcomes.get(task.digest)
        if outcome in OPEN:
            continue
        if store.has(task.stage, task.digest):
            state.ran[task.stage] += 1
            continue
        if outcome == DamagedError.outcome:
            _set_aside_input(task, store, observer)
        message = result.messages.get(task.digest, "")
        state.tries[task.digest] += 1
        if outcome != DamagedError.outcome or state.tries[task.digest] >= TRIES:
            state.given_up[task.digest] = (outcome, message)
            if outcome == "killed" or message.startswith(KILLED_FOR_MEMORY):
                note_loss(store, task.stage, task.digest, outcome, message)


def _tell_of_others(
    tasks: list[Task], result: RoundResult, decisions: Mapping[str, Decision], observer: Observer
) -> None:
    """Tell how trials ended that this round left open and another driver has published."""
    for task in tasks:
        outcome = None if task.is_probe else decisions[task.digest].outcome
        if outcome is not None and result.outcomes.get(task.digest) in OPEN:
            observer.finished(task.digest, outcome, "by another worker")


def _account_probe(probe: Task, tasks: list[Task], result: RoundResult, state: _RunState) -> None:
    """A shape whose memory could not be measured ends its trials as the probe ended."""
    outcome = result.outcomes.get(probe.digest)
    if outcome in OPEN or outcome in (COMPLETE, DamagedError.outcome):
        return
    message = f"measuring its memory: {result.messages.get(probe.digest, '')}"
    state.given_up |= {task.digest: (outcome, message) for task in tasks if task.shape == probe.digest}


def _set_aside_input(task: Task, store: Store, observer: Observer) -> None:
    attempts = notes(store, task.stage, task.digest)
    damaged = attempts[-1].damaged if attempts else None
    if damaged is None:
        return
    try:
        store.verify(*damaged)
    except DamagedError as error:
        set_aside(error, store, observer)


def _stopped_while_waiting(
    tasks: list[Task], lost: list[int], store: Store, observer: Observer, orphans: set[str]
) -> bool:
    """Give lost machines time to come back, and other runs to end their trials; True if the user stops meanwhile.

    ``orphans`` were begun by this run, and their workers outlive what Ray knows of them: they get ``ORPHAN_SECONDS``.
    """
    try:
        with stop_signals() as stop:
            stop.require_none()
            if lost:
                seconds = backoff_seconds(max(lost), tasks[0].sweep, socket.gethostname(), os.getpid())
                observer.note(f"{len(lost)} trial(s) were lost to the machines; trying again in {seconds:.1f} s")
                time.sleep(seconds)
            held = [task for task in tasks if store.leased(task.stage, task.digest)]
            if held:
                first = f"{held[0].stage} {held[0].label}, held by {holder(held[0], store)}"
                observer.note(f"waiting for {len(held)} trial(s) that another worker is at, first {first}")
            until = time.monotonic() + ORPHAN_SECONDS
            while any(
                store.leased(task.stage, task.digest) and (task.digest not in orphans or time.monotonic() < until)
                for task in held
            ):
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return True
    return False


def _still_held(orphans: set[str], tasks: list[Task], store: Store) -> dict[str, tuple[str, str]]:
    """Trials whose workers neither end nor answer, which nobody but a person can free."""
    return {
        task.digest: (LeaseHeldError.outcome, f"{holder(task, store)} still holds it, but Ray has lost that worker")
        for task in tasks
        if task.digest in orphans and store.leased(task.stage, task.digest)
    }


def published_failures(plan: Plan, labels: Mapping[str, str], decisions: Mapping[str, Decision]) -> list[Failure]:
    """Trials that are published with an outcome that gives no result."""
    return [
        Failure(plan.trials[digest], labels[digest], decision.outcome, decision.message, published=True)
        for digest, decision in decisions.items()
        if decision.outcome is not None and decision.outcome != COMPLETE
    ]


def known_failures(
    plan: Plan, labels: Mapping[str, str], decisions: Mapping[str, Decision], store: Store
) -> list[Failure]:
    """Those, and trials whose last attempt failed and that nobody is at now."""
    failures = published_failures(plan, labels, decisions)
    for digest, trial in plan.trials.items():
        if decisions[digest].action != "run" or store.leased(trial.stage, digest):
            continue
        if attempts := notes(store, trial.stage, digest):
            last = attempts[-1]
            failures.append(Failure(trial, labels[digest], last.outcome, last.message, at=last.at))
    return failures


def _summary(course: _Course, seconds: float) -> Summary:
    plan, state, final = course.plan, course.state, course.decisions
    failures = [
        Failure(plan.trials[digest], course.labels[digest], outcome, message)
        for digest, (outcome, message) in state.given_up.items()
        if digest in plan.trials
    ]
    failures += published_failures(plan, course.labels, final)
    failed = {failure.trial.digest for failure in failures}
    shut = set(failed)
    for digest, trial in plan.trials.items():
        if shut & set(trial.inputs.values()) and final[digest].action != "reuse":
            shut.add(digest)
    reused = [digest for digest, made in course.reused.items() if made.action == "reuse" and digest in plan.trials]
    return Summary(
        ran=state.ran,
        reused=Counter(plan.trials[digest].stage for digest in reused),
        failures=tuple(failures),
        blocked=len(shut - failed),
        stopped=state.stopped,
        seconds=seconds,
        capped=state.capped,
    )
