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
            with _stop_signals() as stop:
                while (task := ledger.start()) is not None:
                    observer.started(task.digest, task.stage, task.label)
                    try:
                        for progress in attempt(task, world, store, tracker):
                            observer.progressed(task.digest, progress.step, progress.total)
                            stop.require_none()
                    except TrialFailedError:
                        pass  # the ledger reads the note
                    ledger.settle(task)
        except KeyboardInterrupt:
            ledger.settled.stopped = True
        return ledger.settled


class _Stop:
    """Remembers a signal: the KeyboardInterrupt it raises is lost where Python ignores exceptions, as in finalisers."""

    asked = False

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt

    def require_none(self) -> None:
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """SIGUSR1 (a cluster's warning before the end) stops like Ctrl-C, at the latest with the trial's next report.

    A process that was started with SIGINT ignored, as shells do for background jobs, goes on ignoring it.
    """
    stop = _Stop()
    heard = [number for number in (signal.SIGINT, signal.SIGUSR1) if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        before = {number: signal.signal(number, stop) for number in heard}
    except ValueError:  # not the main thread, so signals do not come here
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
