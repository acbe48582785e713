"""Trials one after the other in this process: for debugging, tests, and machines without Ray."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from medsweep.execution.attempt import attempt
from medsweep.execution.failures import TrialFailedError
from medsweep.execution.runner import Ledger, Settled, tracker_for
from medsweep.execution.task import Task, World
from medsweep.store import Store
from medsweep.tracking.console import Observer


class LocalRunner:
    """Implements ``Runner`` in this process."""

    def run(self, tasks: Sequence[Task], world: World, observer: Observer) -> Settled:
        """Run the tasks, longest remaining chain first."""
        store = Store(world.store)
        ledger = Ledger(tasks, store, observer)
        tracker = tracker_for(world)
        try:
            with _usr1_interrupts():
                while (task := ledger.start()) is not None:
                    observer.started(task.digest, task.stage, task.label)
                    try:
                        for progress in attempt(task, world, store, tracker):
                            observer.progressed(task.digest, progress.step, progress.total)
                    except TrialFailedError:
                        pass  # the ledger reads the note
                    ledger.settle(task)
        except KeyboardInterrupt:
            ledger.settled.stopped = True
        return ledger.settled


@contextmanager
def _usr1_interrupts() -> Iterator[None]:
    """SIGUSR1 (a cluster's warning before the end) stops like Ctrl-C."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGUSR1, interrupt)
    except ValueError:  # not the main thread, so signals do not come here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
