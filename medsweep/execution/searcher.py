"""The DAG inside one Ray Tuner: a Searcher that suggests trials whose inputs are there, and a listener."""

import os
from collections.abc import Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from medsweep.execution.runner import Ledger
from medsweep.execution.task import Task


class PlanSearcher(Searcher):  # type: ignore[misc]
    """Suggests tasks of a ledger. Keyed by digest: Ray gives a restarted trial a new id.

    ``FINISHED`` is permanent, so it is said only when nothing runs and nothing can start; ``None`` while nothing runs
    would block the controller, so it is said only while something does.
    """

    def __init__(self, ledger: Ledger, bundles: Mapping[str, Mapping[str, float]]) -> None:
        super().__init__()
        self._ledger, self._bundles = ledger, bundles
        self._by_trial: dict[str, Task] = {}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Taken as it is: Ray's limiter then keeps no live set of its own."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next task, None while all ready ones run, or FINISHED."""
        task = self._ledger.start()
        if task is None:
            return None if self._ledger.frontier.live else str(Searcher.FINISHED)
        self._by_trial[trial_id] = task
        return {"digest": task.digest, "stage": task.stage, "task": task.to_json(), "held": self._bundles[task.digest]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Settle the trial by what the store says; Ray's word is not asked."""
        if (task := self._by_trial.pop(trial_id, None)) is not None:
            self._ledger.settle(task)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Progress goes through the listener; a failure is remembered until Tune settles the trial."""
        if "outcome" in result and (task := self._by_trial.get(trial_id)) is not None:
            self._ledger.heard(task.digest, result["outcome"], result["message"])

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a run is resumed from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a run is resumed from the store."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts for a restore that never happens; the live ones stay out."""
        return {}


class ProgressListener(Callback):  # type: ignore[misc]
    """Passes Tune's events to the observer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial got its process."""
        task = self._ledger.frontier.tasks[trial.config["digest"]]
        self._ledger.observer.started(task.digest, task.stage, task.label)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reported."""
        if "at_step" in result:
            self._ledger.observer.progressed(trial.config["digest"], result["at_step"], result["of_steps"])

    def __getstate__(self) -> dict[str, Any]:
        """See ``PlanSearcher.__getstate__``."""
        return {}


def trial_folder(trial: Any) -> str:
    """Short names for Tune's own folders; the default holds every parameter."""
    return f"{trial.config['stage']}-{trial.config['digest'][:16]}-{trial.trial_id}-{os.getpid()}"
