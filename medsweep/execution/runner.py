"""What every runner promises, and the parts they share."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from medsweep.execution.failures import notes
from medsweep.execution.frontier import Frontier
from medsweep.execution.task import Task, World
from medsweep.identity import short
from medsweep.store import DamagedError, Store
from medsweep.tracking.console import Observer
from medsweep.tracking.protocol import NullTracker, Tracker


@dataclass
class Settled:
    """How the tasks of one run ended; a task that is in neither field was not settled (held elsewhere, or stopped)."""

    outcomes: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    stopped: bool = False
    """The user asked to stop."""


class Runner(Protocol):
    """Runs tasks in dependency order; a failed task closes its descendants and nothing else."""

    def run(self, tasks: Sequence[Task], world: World, observer: Observer) -> Settled:
        """Run until every task is settled, held by another worker, or the user stops."""


def tracker_for(world: World) -> Tracker:
    """The tracker that a worker mirrors its trials to."""
    if world.tracking == "disabled":
        return NullTracker()
    from medsweep.tracking.wandb import WandbTracker

    return WandbTracker(world.store / "wandb", world.tracking)


class Ledger:
    """Settles tasks in a frontier and tells the observer; the same for every runner."""

    def __init__(self, tasks: Sequence[Task], store: Store, observer: Observer) -> None:
        self.frontier = Frontier(tasks)
        self.store, self.observer = store, observer
        self.settled = Settled()
        self._notes_before: dict[str, int] = {}

    def start(self) -> Task | None:
        """The next task to run, if one is ready and nobody else holds it."""
        task = self.frontier.start(lambda task: self.store.leased(task.stage, task.digest))
        if task is not None:
            self._notes_before[task.digest] = len(notes(self.store, task.stage, task.digest))
        return task

    def settle(self, task: Task) -> None:
        """Ask the store how ``task`` ended, and close what cannot run any more."""
        outcome, message = self._found(task)
        self.settled.messages[task.digest] = message
        self.observer.finished(task.digest, outcome, message)
        for closed in self.frontier.settle(task.digest, outcome):
            blocked = f"its input {task.stage} {short(task.digest)} ended as {outcome}"
            self.settled.messages[closed] = blocked
            self.observer.finished(closed, "blocked", blocked)
        self.settled.outcomes = self.frontier.settled

    def _found(self, task: Task) -> tuple[str, str]:
        try:
            if self.store.outcome(task.stage, task.digest) is not None:
                manifest = self.store.manifest(task.stage, task.digest)
                return manifest.outcome, manifest.message
        except DamagedError as error:
            return DamagedError.outcome, str(error)
        if self._still_leased(task):
            return "lease-held", "another worker is at this trial"
        written = notes(self.store, task.stage, task.digest)
        if len(written) > self._notes_before[task.digest]:
            return written[-1].outcome, written[-1].message
        return "killed", "the worker died without a word"

    def _still_leased(self, task: Task) -> bool:
        """A worker that was just killed may be dying yet; its lease then lapses within moments."""
        pause = threading.Event()
        for _ in range(20):
            if not self.store.leased(task.stage, task.digest):
                return False
            pause.wait(0.1)
        return True
