"""What every runner promises, the bookkeeping that they share, and the runner that needs no Ray."""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from medsweep.execution.attempt import attempt
from medsweep.execution.failures import LOST, OWN_FAILURES, TRIES, TrialFailedError, backoff_seconds, notes
from medsweep.execution.frontier import Frontier
from medsweep.execution.handshake import OTHER_STORE
from medsweep.execution.interrupts import raised_in_main_thread
from medsweep.execution.machine import cpus_here, memory_here
from medsweep.execution.memory_probe import granted, measured
from medsweep.execution.places import Kind, require_places, stated
from medsweep.execution.task import RunContext, Task
from medsweep.identity import short
from medsweep.stop_signals import stop_signals
from medsweep.store.lease import LeaseHeldError
from medsweep.store.opening import store_at
from medsweep.store.store import DamagedError, Store
from medsweep.tracking.console import Observer
from medsweep.tracking.wandb import live_tracker
from medsweep.trial import COMPLETE


@dataclass
class RoundResult:
    """How the tasks of one run ended; a task in neither field has not ended (held elsewhere, or stopped)."""

    outcomes: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    """The user asked to stop."""
    capped: str = ""
    """Why the guard lets nothing more start, or nothing."""
    misplaced: dict[str, None] = field(default_factory=dict)
    """What nodes say that see another store, each once, in order; no further trial is started then."""
    orphans: set[str] = field(default_factory=set)
    """Trials that were lost here, and whose workers hold them all the same."""


class Guard:
    """Says whether a trial may start; told of every start and end. This one lets every trial start."""

    def may_start(self, task: Task) -> str | None:
        """None, or why nothing is launched any more."""
        return None

    def started(self, task: Task) -> None:
        """The trial is launched."""

    def ended(self, task: Task) -> None:
        """The trial has ended, however."""


UNGUARDED: Final = Guard()


@dataclass
class RunPolicy:
    """What holds for all rounds of one call."""

    guard: Guard = UNGUARDED
    fail_fast: bool = False
    """Launch nothing more after the first failure that is a trial's own."""
    lost: Counter[str] = field(default_factory=Counter)
    """Times that each trial was lost to the machines."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that never go back."""
    enlarged: Callable[[Task, str], Task | None] = lambda task, message: None
    """A task that ran out of memory with all that it can be given, or None where there is no more."""
    more: Callable[["RoundResult"], Sequence[Task]] = lambda result: ()
    """Tasks to run too, after what has ended by now."""


class Runner(Protocol):
    """Runs tasks in dependency order; a failed task closes its descendants and nothing else."""

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        """Run until every task is settled, held by another worker or waiting to be tried again, or the user stops."""


class Ledger:
    """Settles tasks in a frontier and tells the observer; the same for every runner.

    A trial that the machines lost goes back into the frontier, after a pause that doubles with every loss.
    """

    def __init__(self, tasks: Sequence[Task], store: Store, observer: Observer, policy: RunPolicy) -> None:
        self.store, self.observer = store, observer
        self.frontier = Frontier(tasks, self._sized)
        self.result = RoundResult()
        self._policy = policy
        self._notes_before: dict[str, int] = {}
        self._closed = False
        self._freed_node = ""
        """The node whose place became free last, which the next trial will most likely get."""
        self._not_before: dict[str, float] = {}
        self._heard: dict[str, tuple[str, str]] = {}
        self._lost: dict[str, tuple[str, str]] = {}

    def _sized(self, task: Task) -> Task:
        """A task with what its probe, which is complete by now, has measured that it needs."""
        if not task.shape:
            return task
        grant = granted(task, self.store)
        return replace(task, held=grant.held, micro_batches=grant.micro_batches)

    def start(self, suits: Callable[[Kind], bool] = lambda kind: True) -> Task | None:
        """The next task to run, if one is ready, nobody else holds it, and neither guard nor failure forbids it.

        ``suits`` says whether tasks that hold so much may start.
        """
        task = None if self._closed else self.frontier.start(self._must_wait, self._freed_node, suits)
        if task is None:
            return None
        if not task.is_probe:
            if (reason := self._policy.guard.may_start(task)) is not None:
                self.frontier.put_back(task.digest)
                self._closed, self.result.capped = True, reason
                return None
            self._policy.guard.started(task)
        self._notes_before[task.digest] = len(notes(self.store, task.stage, task.digest, now=True))
        return task

    def _must_wait(self, task: Task) -> bool:
        resting = self._policy.clock() < self._not_before.get(task.digest, 0.0)
        return resting or self.store.leased(task.stage, task.digest)

    def heard(self, digest: str, outcome: str, message: str) -> None:
        """Keep what a failing trial said of itself; what the store says goes first."""
        self._heard[digest] = (outcome, message)

    def lost(self, digest: str, outcome: str, message: str) -> None:
        """Keep what is known of a worker's end from outside; what its trial said, to us or to the store, goes first."""
        self._lost[digest] = (outcome, message)

    def settle(self, task: Task, node: str = "") -> None:
        """Ask the store how ``task`` ended, and close what cannot run any more; ``node`` is where it was run."""
        self._freed_node = node
        if node:
            self.frontier.ran_on(task.digest, node)
        outcome, message = self._ending(task)
        if not task.is_probe:
            self._policy.guard.ended(task)
        if outcome == OTHER_STORE:  # the node would take, and fail, all other trials, too
            self.frontier.put_back(task.digest)
            self._closed, self.result.misplaced[message] = True, None
            return
        self.observer.finished(task.digest, outcome, message)
        if (outcome in LOST and self._tried_again(task, outcome)) or (
            outcome == "out-of-memory" and self._given_more(task, message)
        ):
            return
        self.result.messages[task.digest] = message
        own = outcome in OWN_FAILURES and not self.store.has(task.stage, task.digest)
        self._closed |= self._policy.fail_fast and own
        for closed in self.frontier.settle(task.digest, outcome):
            blocked = f"its input {task.stage} {short(task.digest)} ended as {outcome}"
            self.result.messages[closed] = blocked
            if outcome != LeaseHeldError.outcome:  # else both may yet be made, by whoever holds the input
                self.observer.finished(closed, "blocked", blocked)
        self.result.outcomes = self.frontier.settled
        if not self._closed:
            self.frontier.add(self._policy.more(self.result))

    def _tried_again(self, task: Task, outcome: str) -> bool:
        self._policy.lost[task.digest] += 1
        losses = self._policy.lost[task.digest]
        if losses >= TRIES:
            return False
        seconds = backoff_seconds(losses, task.digest, os.getpid())
        self._not_before[task.digest] = self._policy.clock() + seconds
        self.frontier.put_back(task.digest)
        self.observer.note(f"{task.stage} {task.label} was lost ({outcome}); tried again in {seconds:.1f} s or later")
        return True

    def _given_more(self, task: Task, message: str) -> bool:
        larger = None if task.is_probe else self._policy.enlarged(task, message)
        if larger is None:
            return False
        self.frontier.tasks[task.digest] = larger
        self.frontier.put_back(task.digest)
        return True

    def _ending(self, task: Task) -> tuple[str, str]:
        lost = self._lost.pop(task.digest, ("killed", "the worker died without a word"))
        if (published := self._published(task)) is not None:
            return published
        if (reported := self._heard.pop(task.digest, None)) is not None:
            return reported
        attempts = notes(self.store, task.stage, task.digest, now=True)
        if len(attempts) > self._notes_before[task.digest]:
            return attempts[-1].outcome, attempts[-1].message
        if self._still_leased(task):
            self.result.orphans.add(task.digest)
            return LeaseHeldError.outcome, f"{holder(task, self.store)} is at this trial"
        return lost

    def _published(self, task: Task) -> tuple[str, str] | None:
        if task.is_probe:
            return None if measured(self.store, task.stage, task.digest, now=True) is None else (COMPLETE, "")
        try:
            if not self.store.has(task.stage, task.digest):
                return None
            manifest = self.store.manifest(task.stage, task.digest)
        except DamagedError as error:
            return DamagedError.outcome, str(error)
        return manifest.outcome, manifest.message

    def _still_leased(self, task: Task) -> bool:
        """A worker that was just killed may be dying yet; its lease then lapses within moments."""
        for _ in range(20):
            if not self.store.leased(task.stage, task.digest):
                return False
            time.sleep(0.1)
        return True


def here() -> dict[str, float]:
    """What one trial may take of this machine, by Ray's names; its GPUs are torch's to tell."""
    memory = memory_here()
    bytes_ = float("inf") if memory is None else memory * 2**30
    return {"CPU": float(cpus_here()), "GPU": float("inf"), "memory": bytes_}


def holder(task: Task, store: Store) -> str:
    """Who holds a trial, for people: host and process."""
    owner = store.holder(task.stage, task.digest)
    return "another worker" if owner is None else f"process {owner.pid} on {owner.host}"


class LocalRunner:
    """Runs trials one after the other in this process: for debugging, tests, and machines without Ray."""

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        """Run the tasks, longest remaining chain first.

        Raises:
            UserError: a trial asks for more than this process may use.
        """
        require_places(stated(tasks, context), [here()], "this machine", "lower it, or run on a larger one")
        store = store_at(context.store)
        ledger = Ledger(tasks, store, observer, policy)
        tracker = live_tracker(store.root / "wandb" / ".live", context.tracking)
        try:
            with stop_signals() as stop, raised_in_main_thread() as interrupt:
                stop.require_none()
                while (task := ledger.start()) is not None:
                    observer.started(task.digest, task.shown_stage, task.label)
                    try:
                        for progress in attempt(task, context, store, tracker, on_stall=interrupt):
                            observer.progressed(task.digest, progress.step, progress.total)
                            stop.require_none()
                    except TrialFailedError as error:
                        ledger.heard(task.digest, error.outcome, error.message)
                    ledger.settle(task)
        except KeyboardInterrupt:
            ledger.result.stopped = True
        return ledger.result
