"""What Ray Tune is given: a searcher that suggests trials whose inputs are there, a listener, the process of trials."""

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
from medsweep.execution.task import Place, RunContext, Task, read_task
from medsweep.stop_signals import Stop
from medsweep.store.opening import store_at
from medsweep.store.store import Store, share_with_group
from medsweep.sweep.file import Resources
from medsweep.tracking.wandb import live_tracker
from medsweep.trial import Progress

REPORT_SECONDS = 0.5
"""Tune hears of a trial at most this often; the store keeps every report."""
STALLED_EXIT = 75
"""Exit status of a process that ends itself because its trial hangs (EX_TEMPFAIL)."""


class PlanSearcher(Searcher):  # type: ignore[misc]
    """Suggests tasks of a ledger. Keyed by digest: Ray gives a restarted trial a new id.

    ``FINISHED`` is permanent, so it is said only when nothing runs and nothing can start; ``None`` while nothing runs
    would block the controller, so it is said only while something does.
    """

    def __init__(
        self,
        ledger: Ledger,
        places: Places,
        bundle: Callable[[Resources], dict[str, float]],
        line: Callable[[Task], Place],
    ) -> None:
        super().__init__()
        self._ledger, self._places, self._bundle, self._line = ledger, places, bundle, line
        self._by_trial: dict[str, Task] = {}
        self._nodes: dict[str, str] = {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Taken as it is: Ray's limiter then keeps no live set of its own."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task, None while all ready ones run, or FINISHED."""
        task = self._ledger.start()
        if task is None:
            return None if self._ledger.frontier.live else str(Searcher.FINISHED)
        self._by_trial[trial_id] = task
        self._places.asked(task)
        return {
            "digest": task.digest,
            "line": self._line(task),
            "stage": task.stage,
            "bundle": self._bundle(task.held),
            "held": task.held.model_dump(),
            "micro_batches": task.micro_batches,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Settle the trial by what the store says; Ray's word is not asked."""
        if (task := self._by_trial.pop(trial_id, None)) is not None:
            node = (result or {}).get("node") or self._nodes.get(trial_id, "")
            self._nodes.pop(trial_id, None)
            self._ledger.settle(task, node)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Progress goes through the listener; node and failure are remembered until Tune settles the trial."""
        self._nodes[trial_id] = result.get("node", "")
        if "outcome" in result and (task := self._by_trial.get(trial_id)) is not None:
            self._ledger.heard(task.digest, result["outcome"], result["message"])

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a run is resumed from the store."""

    restore = save

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that never happens. What is alive here cannot be pickled."""
        return {}


class ProgressListener(Callback):  # type: ignore[misc]
    """Passes Tune's events to the observer."""

    def __init__(self, ledger: Ledger, places: Places) -> None:
        self._ledger, self._places = ledger, places
        self._ended: list[Any] = []

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial got its process."""
        task = self._ledger.frontier.tasks[trial.config["digest"]]
        self._places.settled(task.digest)
        self._ledger.observer.started(task.digest, task.shown_stage, task.label)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reported."""
        if "at_step" in result:
            self._ledger.observer.progressed(trial.config["digest"], result["at_step"], result["of_steps"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended or failed."""
        self._places.settled(trial.config["digest"])
        # Tune itself still reads the trial in this step, so that it can be emptied only at its end.
        self._ended.append(trial)

    on_trial_error = on_trial_complete

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune is done with the trials that ended in this step."""
        self._places.look()
        for trial in self._ended:
            _forget(trial)
        self._ended = []

    def __getstate__(self) -> dict[str, Any]:
        """See ``PlanSearcher.__getstate__``."""
        return {}


class Losses(FIFOScheduler):  # type: ignore[misc]
    """Starts trials in order, and tells the ledger how a worker was lost.

    Tune tells a searcher only that a trial failed, and a callback only after the searcher has settled it.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial failed; Tune has written down what was raised."""
        raised = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
        self._ledger.lost(trial.config["digest"], *loss(raised))

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
    """Drives one attempt per Tune trial. Keeps its process, its imports and its tracker between trials."""

    def setup(self, config: dict[str, Any], context: RunContext, tasks: Path) -> None:
        """Called once per process; later trials come through ``reset_config``."""
        self._context, self._tasks = context, tasks
        self._store: Store | None = None
        self._node = ray.get_runtime_context().get_node_id()
        self._open(config)

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
        """Take the next trial. Trouble is raised: a False here would lose the trial without a word (Ray 2.60)."""
        self.cleanup()
        self._open(new_config)
        return True

    def _open(self, config: dict[str, Any]) -> None:
        self._reports = self._attempt(config)
        self._failed: TrialFailedError | None = None

    def _attempt(self, config: dict[str, Any]) -> Iterator[Progress]:
        try:
            store = self._require_store()
            task = replace(
                read_task(self._tasks, config["line"]),
                held=Resources(**config["held"]),
                micro_batches=config["micro_batches"],
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
        until = time.monotonic() + REPORT_SECONDS
        last: Progress | None = None
        try:
            for progress in self._reports:
                last = progress
                if time.monotonic() >= until:
                    return {"done": False, "node": self._node, **_shown(last)}
        except TrialFailedError as error:
            self._failed = error
            return {"done": False, "outcome": error.outcome, "message": error.message}
        return {"done": True, "node": self._node, **_shown(last)}

    def cleanup(self) -> None:
        """Give up the lease of an unfinished trial."""
        self._reports.close()  # type: ignore[attr-defined]

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the store has the checkpoints. Tune fails every trial where this method is missing."""


def _end_process(_error: StalledError) -> None:
    """A thread that hangs cannot be stopped, and its process is of no use to another trial."""
    os._exit(STALLED_EXIT)


def _shown(progress: Progress | None) -> dict[str, int]:
    return {} if progress is None else {"at_step": progress.step, "of_steps": progress.total}
