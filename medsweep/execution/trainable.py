"""A trial as Ray Tune sees it: a class Trainable whose process is used for one trial after the other."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ray
from ray import tune

from medsweep.execution.attempt import attempt
from medsweep.execution.failures import StalledError, TrialFailedError
from medsweep.execution.runner import tracker_for
from medsweep.execution.task import RunContext, TaskFile
from medsweep.store.store import Store
from medsweep.sweep.file import Resources
from medsweep.trial import Progress

REPORT_SECONDS = 0.5
"""Tune hears of a trial at most this often; the store keeps every report."""
STALLED_EXIT = 75
"""Exit status of a process that ends itself because its trial hangs (EX_TEMPFAIL)."""


class StageTrainable(tune.Trainable):  # type: ignore[misc]
    """Drives one attempt per Tune trial. Keeps its process, its imports and its tracker between trials."""

    def setup(self, config: dict[str, Any], context: RunContext, tasks: TaskFile) -> None:
        """Called once per process; later trials come through ``reset_config``."""
        self._context, self._tasks = context, tasks
        self._store = Store(context.store)
        self._tracker = tracker_for(context)
        self._node = ray.get_runtime_context().get_node_id()
        self._open(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial. Trouble is raised: a False here would lose the trial without a word (Ray 2.60)."""
        self._close()
        self._open(new_config)
        return True

    def _open(self, config: dict[str, Any]) -> None:
        task = replace(
            self._tasks.read(config["digest"]),
            held=Resources(**config["held"]),
            micro_batches=config["micro_batches"],
        )
        self._reports: Iterator[Progress] = attempt(
            task, self._context, self._store, self._tracker, on_stall=_end_process
        )
        self._failed: TrialFailedError | None = None

    def _close(self) -> None:
        self._reports.close()  # type: ignore[attr-defined]

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
        self._close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the store has the checkpoints. Tune fails every trial where this method is missing."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the store has the checkpoints."""


def _end_process(_error: StalledError) -> None:
    """A thread that hangs cannot be stopped, and its process is of no use to another trial."""
    os._exit(STALLED_EXIT)


def _shown(progress: Progress | None) -> dict[str, int]:
    return {} if progress is None else {"at_step": progress.step, "of_steps": progress.total}
