"""Trials one after the other in this process: for debugging, tests, and machines without Ray."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from medsweep.execution.attempt import attempt
from medsweep.execution.failures import StalledError, TrialFailedError
from medsweep.execution.runner import Ledger, Orders, Settled, tracker_for
from medsweep.execution.stop import stop_signals
from medsweep.execution.task import Task, World
from medsweep.store.store import Store
from medsweep.tracking.console import Observer


class LocalRunner:
    """Implements ``Runner`` in this process."""

    def run(self, tasks: Sequence[Task], world: World, observer: Observer, orders: Orders) -> Settled:
        """Run the tasks, longest remaining chain first."""
        store = Store(world.store)
        ledger = Ledger(tasks, store, observer, orders)
        tracker = tracker_for(world)
        try:
            with stop_signals() as stop, _interruptible() as interrupt:
                while (task := ledger.start()) is not None:
                    observer.started(task.digest, task.shown_stage, task.label)
                    try:
                        for progress in attempt(task, world, store, tracker, stalled=interrupt):
                            observer.progressed(task.digest, progress.step, progress.total)
                            stop.require_none()
                    except TrialFailedError as error:
                        ledger.heard(task.digest, error.outcome, error.message)
                    ledger.settle(task)
        except KeyboardInterrupt:
            ledger.settled.stopped = True
        return ledger.settled


@contextmanager
def _interruptible() -> Iterator[Callable[[StalledError], None]]:
    """What a watchdog calls to raise in the main thread, through SIGUSR2, even out of a sleep or a read.

    Code that never returns to Python (a kernel that hangs, a lock inside a library) is beyond it, and so is any trial
    where this is not the main thread; the note about the stall is written in either case.
    """
    found: list[StalledError] = []

    def arrive(_number: int, _frame: FrameType | None) -> None:
        raise found.pop()

    def bark(error: StalledError) -> None:
        found.append(error)
        signal.pthread_kill(main, signal.SIGUSR2)

    main = threading.get_ident()
    if threading.current_thread() is not threading.main_thread():
        yield lambda error: None
        return
    before = signal.signal(signal.SIGUSR2, arrive)
    try:
        yield bark
    finally:
        signal.signal(signal.SIGUSR2, before)
