"""Trials one after the other in this process: for debugging, tests, and machines without Ray."""

from collections.abc import Sequence

from medsweep.execution.attempt import attempt
from medsweep.execution.failures import TrialFailedError
from medsweep.execution.interrupts import raised_in_main_thread, stop_signals
from medsweep.execution.runner import Ledger, RoundResult, RunPolicy, tracker_for
from medsweep.execution.task import RunContext, Task
from medsweep.store.store import Store
from medsweep.tracking.console import Observer


class LocalRunner:
    """Implements ``Runner`` in this process."""

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        """Run the tasks, longest remaining chain first."""
        store = Store(context.store)
        ledger = Ledger(tasks, store, observer, policy)
        tracker = tracker_for(context)
        try:
            with stop_signals() as stop, raised_in_main_thread() as interrupt:
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
