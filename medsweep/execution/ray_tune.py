"""What Ray Tune is given: a searcher that suggests processes, a scheduler that hands them trials, and the process."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from medsweep.execution.attempt import attempt
from medsweep.execution.failures import StalledError, TrialFailedError, classify, first_line
from medsweep.execution.handshake import require_same_store
from medsweep.execution.places import Places
from medsweep.execution.ray_failures import loss
from medsweep.execution.runner import Ledger
from medsweep.execution.slots import Slots
from medsweep.execution.task import Place, RunContext, Task, read_task
from medsweep.stop_signals import Stop
from medsweep.store.opening import store_at
from medsweep.store.store import Store, share_with_group
from medsweep.sweep.file import Resources
from medsweep.tracking.wandb import live_tracker
from medsweep.trial import Progress

REPORT_SECONDS = 0.5
"""Tune hears of a trial at most this often; the store keeps every report."""
IDLE_SECONDS = 0.5
"""Time after which a process without a trial asks again whether there is one."""
STALLED_EXIT = 75
"""Exit status of a process that ends itself because its trial hangs (EX_TEMPFAIL)."""


class PlanSearcher(Searcher):  # type: ignore[misc]
    """Suggests processes: a trial of Tune's is one process, to which ``Handover`` gives our trials one by one.

    ``FINISHED`` is permanent, so it is said only when nothing runs and nothing can start; ``None`` while nothing runs
    would block the controller, so it is said only while something does.
    """

    def __init__(self, ledger: Ledger, slots: Slots) -> None:
        super().__init__()
        self._ledger, self._slots = ledger, slots

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Taken as it is: Ray's limiter then keeps no live set of its own."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """What the next process is to hold, None while there are enough, or FINISHED."""
        bundle = self._slots.ask(trial_id)
        if bundle is None:
            return None if self._ledger.frontier.live else str(Searcher.FINISHED)
        return {"bundle": dict(bundle)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A process is no more, however it ended; Ray's word is not asked."""
        self._slots.ended(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """See ``Handover``."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a run is resumed from the store."""

    restore = save

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that never happens. What is alive here cannot be pickled."""
        return {}


class Handover(FIFOScheduler):  # type: ignore[misc]
    """Hands a process its next trial as soon as it says that it is free, and tells the ledger how one was lost.

    A scheduler, since Tune asks it about every report before the process is told to go on, and shows it the process.
    A searcher would hear of a loss only that a trial failed, and a callback only after the searcher has settled it.
    """

    def __init__(self, ledger: Ledger, slots: Slots, place: Callable[[Task], Place]) -> None:
        super().__init__()
        self._ledger, self._slots, self._place = ledger, slots, place

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """A process reported."""
        at = self._slots.runs(trial.trial_id)
        if at is not None and "outcome" in result:
            self._ledger.heard(at.digest, result["outcome"], result["message"])
        if at is not None and "at_step" in result:
            self._ledger.observer.progressed(at.digest, result["at_step"], result["of_steps"])
        if not result.get("free"):
            return str(FIFOScheduler.CONTINUE)
        task = self._slots.is_free(trial.trial_id, result["node"])
        if task is not None:
            # Done before the next step, which Tune asks of the same process after this: an actor keeps their order.
            # Its handle is nowhere public (Ray 2.60).
            trial.temporary_state.ray_actor.take.remote(self._place(task), task.held.model_dump(), task.micro_batches)
        stays = task is not None or self._slots.may_stay(trial.trial_id)
        return str(FIFOScheduler.CONTINUE if stays else FIFOScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A process failed; Tune has written down what was raised, and starts it again where its node was drained."""
        if trial.should_recover():
            self._slots.comes_again(trial.trial_id)
        elif (task := self._slots.runs(trial.trial_id)) is not None:
            raised = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
            self._ledger.lost(task.digest, *loss(raised))

    def __getstate__(self) -> dict[str, Any]:
        """See ``PlanSearcher.__getstate__``."""
        return {}


class Housekeeping(Callback):  # type: ignore[misc]
    """Looks after each step of Tune's loop for what waits too long, and drops what Tune keeps of what ended."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._ended: list[Any] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A process ended or failed."""
        # Tune itself still reads the trial in this step, so that it can be emptied only at its end.
        self._ended.append(trial)

    on_trial_error = on_trial_complete

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune is done with the processes that ended in this step."""
        self._places.look()
        for trial in self._ended:
            _forget(trial)
        self._ended = []

    def __getstate__(self) -> dict[str, Any]:
        """See ``PlanSearcher.__getstate__``."""
        return {}


class StopOnRequest(Stopper):  # type: ignore[misc]
    """Ends all trials once a signal has come or a node sees another store; asked at every step of Tune's loop."""

    def __init__(self, stop: Stop, ledger: Ledger) -> None:
        self._stop, self._ledger = stop, ledger

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial ends by itself for what it reports."""
        return False

    def stop_all(self) -> bool:
        """Whether to end all trials."""
        return self._stop.requested or bool(self._ledger.result.misplaced)

    def __getstate__(self) -> dict[str, Any]:
        """See ``PlanSearcher.__getstate__``."""
        return {}


def _forget(trial: Any) -> None:
    """Drop what Tune keeps of a trial that ended, for tables and a resume that nobody asks for: 20 KiB each.

    Statistics of its reports, its last report, and the text of its state that would be written at the end. Tune has no
    public way to give them up, and ten thousand trials would hold 200 MiB of the driver. ``_state_json`` and
    ``_cached_json`` are private fields: they cache the state as text, so that an empty text is neither computed nor
    written.
    """
    trial.run_metadata.metric_analysis.clear()
    trial.run_metadata.metric_n_steps.clear()
    trial.run_metadata.last_result = {}
    trial.evaluated_params = {}
    trial._state_json = trial.run_metadata._cached_json = "{}"


def carry_no_keys() -> None:
    """Keep Tune from sending the driver's AWS keys along with each trial: Ray writes what is sent into its logs.

    Every node has variables of its own. Tune (2.60) has no public way to say so.
    """
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
    }


class StageTrainable(tune.Trainable):  # type: ignore[misc]
    """A process that runs one trial after the other. Keeps its imports and its tracker between them."""

    def setup(self, config: dict[str, Any], context: RunContext, tasks: Path) -> None:
        """Called once per process; trials come through ``take``."""
        self._context, self._tasks = context, tasks
        self._store: Store | None = None
        self._node = ray.get_runtime_context().get_node_id()
        self._reports: Iterator[Progress] | None = None
        self._failed: TrialFailedError | None = None
        self._patience = 0.0

    def _require_store(self) -> Store:
        """The store, opened by the first trial of this process, which reports it if this node sees another."""
        if self._store is None:
            if isinstance(self._context.store, Path):
                require_same_store(self._context.store, self._tasks, ray.util.get_node_ip_address())
            store = store_at(self._context.store)
            share_with_group(store.root)
            self._tracker = live_tracker(store.root / "wandb" / ".live", self._context.tracking)
            self._store = store
        return self._store

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Go on for another slot. Trouble is raised: a False here would lose it without a word (Ray 2.60)."""
        self.cleanup()
        self._reports, self._failed, self._patience = None, None, 0.0
        return True

    def take(self, line: Place, held: dict[str, Any], micro_batches: int) -> None:
        """Begin a trial at the next step; whatever is wrong with it is told there."""
        self._reports = self._attempt(line, held, micro_batches)

    def _attempt(self, line: Place, held: dict[str, Any], micro_batches: int) -> Iterator[Progress]:
        try:
            store = self._require_store()
            task = replace(
                read_task(self._tasks, line),
                held=Resources(**held),
                micro_batches=micro_batches,
            )
        except TrialFailedError:
            raise
        except Exception as error:
            message = f"its worker cannot begin: {type(error).__name__}: {first_line(error)}"
            raise TrialFailedError(classify(error), message) from error
        yield from attempt(task, self._context, store, self._tracker, on_stall=_end_process)

    def step(self) -> dict[str, Any]:
        """Drive the trial until a report is due or it ends; a failure is reported first and raised at the next step.

        Tune tells a searcher that a trial failed but not how, and the store may be too full to take a note.
        """
        if self._failed is not None:
            raise self._failed
        last: Progress | None = None
        if self._reports is None:
            time.sleep(self._patience)
        else:
            until = time.monotonic() + REPORT_SECONDS
            try:
                for progress in self._reports:
                    last = progress
                    if time.monotonic() >= until:
                        return {"done": False, **_shown(last)}
            except TrialFailedError as error:
                self._failed = error
                return {"done": False, "outcome": error.outcome, "message": error.message}
        self._reports, self._patience = None, IDLE_SECONDS
        return {"done": False, "free": True, "node": self._node, **_shown(last)}

    def cleanup(self) -> None:
        """Give up the lease of an unfinished trial."""
        if self._reports is not None:
            self._reports.close()  # type: ignore[attr-defined]

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the store has the checkpoints. Tune fails every trial where this method is missing."""


def _end_process(_error: StalledError) -> None:
    """A thread that hangs cannot be stopped, and its process is of no use to another trial."""
    os._exit(STALLED_EXIT)


def _shown(progress: Progress | None) -> dict[str, int]:
    return {} if progress is None else {"at_step": progress.step, "of_steps": progress.total}
