"""One call of ``medsweep run``: plan, drop what is published, run the rest, look again. Nothing else is remembered."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from medsweep.execution.failures import INFRASTRUCTURE, notes
from medsweep.execution.runner import Runner, Settled
from medsweep.execution.task import Task, World
from medsweep.identity import identity
from medsweep.plan import Decision, Plan, PlannedTrial, decide
from medsweep.store import DamagedError, Store
from medsweep.tracking.console import Observer
from medsweep.trial import COMPLETE

INFRASTRUCTURE_TRIES = 3
"""Times a trial may be lost to the machines within one call; errors of its own are not tried again."""
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Failure:
    """A trial that is not there."""

    trial: PlannedTrial
    label: str
    outcome: str
    message: str


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

    @property
    def ok(self) -> bool:
        """Every trial that was asked for is published and complete."""
        return not self.failures and not self.blocked and not self.stopped

    @property
    def exit_code(self) -> int:
        """0 all there, 1 a trial failed, 2 something to mend in the sweep or the data, 130 stopped."""
        if self.stopped:
            return 130
        if any(failure.outcome == "bad-input" for failure in self.failures):
            return 2
        return 0 if self.ok else 1


@dataclass
class _Progressing:
    tries: Counter[str] = field(default_factory=Counter)
    given_up: dict[str, tuple[str, str]] = field(default_factory=dict)
    ran: Counter[str] = field(default_factory=Counter)
    stopped: bool = False


def run_plan(plan: Plan, world: World, runner: Runner, observer: Observer) -> Summary:
    """Run what is missing, in rounds: a round ends when its runner can do nothing more.

    Another round follows where a damaged file was set aside, a worker was lost, or another driver held a trial.
    """
    begun = time.monotonic()
    store = Store(world.store)
    labels = labels_of(plan)
    state = _Progressing()
    first = decide_checked(plan, store, observer)
    decisions = first
    while not state.stopped:
        tasks = tasks_of(plan, decisions, labels, closed=set(state.given_up))
        if not tasks:
            break
        settled = runner.run(tasks, world, observer)
        _account(tasks, settled, state, store, observer)
        if not state.stopped and any(store.leased(task.stage, task.digest) for task in tasks):
            _wait_for_others(tasks, store, observer)
        decisions = decide_checked(plan, store, observer)
    return _summary(plan, labels, state, reused=first, final=decisions, seconds=time.monotonic() - begun)


def decide_checked(plan: Plan, store: Store, observer: Observer, *, hashes: bool = True) -> dict[str, Decision]:
    """``decide`` against the store; torn manifests and damaged files of measured arms are named and set aside.

    Without ``hashes`` only manifests are read, which is enough to look and too little to build on.
    """

    found = store.look(
        ((trial.stage, digest) for digest, trial in plan.trials.items()), hashed=set(plan.goals) if hashes else ()
    )
    for error in found.values():
        if isinstance(error, DamagedError):
            set_aside(error, store, observer)
    sound = {digest: each for digest, each in found.items() if not isinstance(each, DamagedError)}

    def outcome(_: str, digest: str) -> tuple[str, str] | None:
        """Outcome and message of a published trial whose files are what they were."""
        return (sound[digest].outcome, sound[digest].message) if digest in sound else None

    return decide(plan, outcome)


def set_aside(error: DamagedError, store: Store, observer: Observer) -> None:
    """Move a damaged trial away, so that it is run again, and say so."""
    if store.folder(error.stage, error.digest).is_dir():
        target = store.quarantine(error.stage, error.digest)
        observer.note(f"{error}; it is kept at {target} and run again")


def tasks_of(plan: Plan, decisions: Mapping[str, Decision], labels: Mapping[str, str], closed: set[str]) -> list[Task]:
    """Tasks for the trials to run, in plan order, without those in ``closed`` and what is made from them."""
    shut = set(closed)
    serves = plan.serves()
    tails = tail_hours(plan)
    tasks = []
    for digest, trial in plan.trials.items():
        if shut & set(trial.inputs.values()):
            shut.add(digest)
        if decisions[digest].action != "run" or digest in shut:
            continue
        tasks.append(
            Task(
                sweep=plan.sweep,
                stage=trial.stage,
                digest=digest,
                config=trial.config.model_dump(mode="json"),
                inputs=dict(trial.inputs),
                input_stages={role: plan.trials[parent].stage for role, parent in trial.inputs.items()},
                reads=dict(trial.reads),
                arms=serves[digest],
                label=labels[digest],
                hours=trial.hours,
                tail_hours=tails[digest],
            )
        )
    return tasks


def tail_hours(plan: Plan) -> dict[str, float]:
    """Hours of the longest chain of trials that begins with each trial."""
    tails = {digest: 0.0 for digest in plan.trials}
    for digest in reversed(list(plan.trials)):
        trial = plan.trials[digest]
        tails[digest] += trial.hours
        for parent in trial.inputs.values():
            tails[parent] = max(tails[parent], tails[digest])
    return tails


def labels_of(plan: Plan) -> dict[str, str]:
    """A name people recognise for every trial: the arm it measures, or what it makes, with fold and seed."""
    measures: dict[str, str] = {}
    for (arm, _), leaf in plan.leaves.items():
        measures.setdefault(leaf, arm)
    kinds: dict[str, str] = {}
    labels = {}
    for digest, trial in plan.trials.items():
        config = identity(trial.config)
        named = [config[name] for name in ("variant", "pipeline") if isinstance(config.get(name), str)]
        named += [" + ".join(each["kind"] for each in config["treatments"])] if config.get("treatments") else []
        inherited = [kinds[parent] for parent in trial.inputs.values() if kinds[parent]]
        kinds[digest] = next(iter([*named, *([measures[digest]] if digest in measures else []), *inherited]), "")
        fold, seed = config.get("fold"), config.get("seed")
        parts = [kinds[digest]]
        parts += [] if fold is None else [f"fold {fold['index'] if isinstance(fold, dict) else fold}"]
        parts += [] if seed is None else [f"seed {seed}"]
        labels[digest] = " ".join(part for part in parts if part) or "shared by all"
    return labels


def _account(tasks: list[Task], settled: Settled, state: _Progressing, store: Store, observer: Observer) -> None:
    state.stopped = settled.stopped
    for task in tasks:
        outcome = settled.outcomes.get(task.digest)
        if outcome is None or outcome == "blocked":
            continue
        if store.folder(task.stage, task.digest).is_dir():
            state.ran[task.stage] += 1
            continue
        if outcome == DamagedError.outcome:
            _set_aside_input(task, store, observer)
        state.tries[task.digest] += 1
        again = outcome in INFRASTRUCTURE or outcome == DamagedError.outcome
        if not again or state.tries[task.digest] >= INFRASTRUCTURE_TRIES:
            state.given_up[task.digest] = (outcome, settled.messages.get(task.digest, ""))


def _set_aside_input(task: Task, store: Store, observer: Observer) -> None:
    damaged = notes(store, task.stage, task.digest)[-1].damaged
    if damaged is None:
        return
    try:
        store.verify(*damaged)
    except DamagedError as error:
        set_aside(error, store, observer)


def _wait_for_others(tasks: list[Task], store: Store, observer: Observer) -> None:
    held = [task for task in tasks if store.leased(task.stage, task.digest)]
    observer.note(
        f"waiting for {len(held)} trial(s) that another run is working on, first {held[0].stage} {held[0].label}"
    )
    pause = threading.Event()
    while any(store.leased(task.stage, task.digest) for task in held):
        pause.wait(POLL_SECONDS)


def _summary(
    plan: Plan,
    labels: Mapping[str, str],
    state: _Progressing,
    *,
    reused: Mapping[str, Decision],
    final: Mapping[str, Decision],
    seconds: float,
) -> Summary:
    failures = [
        Failure(plan.trials[digest], labels[digest], outcome, message)
        for digest, (outcome, message) in state.given_up.items()
    ]
    failures += [
        Failure(plan.trials[digest], labels[digest], decision.outcome, decision.message)
        for digest, decision in final.items()
        if decision.outcome is not None and decision.outcome != COMPLETE
    ]
    failed = {failure.trial.digest for failure in failures}
    shut = set(failed)
    for digest, trial in plan.trials.items():
        if shut & set(trial.inputs.values()) and final[digest].action != "reuse":
            shut.add(digest)
    return Summary(
        ran=state.ran,
        reused=Counter(plan.trials[digest].stage for digest, made in reused.items() if made.action == "reuse"),
        failures=tuple(failures),
        blocked=len(shut - failed),
        stopped=state.stopped,
        seconds=seconds,
    )
