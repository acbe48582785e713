"""All trials of a run in one Ray Tuner, on a Ray of our own or on an existing cluster."""

import logging
import os
import secrets
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from medsweep.errors import UserError
from medsweep.execution.gpu_memory import SHARES
from medsweep.execution.ray_thread import GRACE_SECONDS, RayThread
from medsweep.execution.runner import Ledger, RoundResult, RunPolicy
from medsweep.execution.task import RunContext, Task, TaskFile
from medsweep.stop_signals import Stop, stop_signals
from medsweep.store.store import Store
from medsweep.sweep.file import Resources
from medsweep.tracking.console import Observer

ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray leaves CUDA_VISIBLE_DEVICES of a trial without a GPU alone, instead of warning that it will one day.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Tune would write its own state again and again, and nothing restores it: the store decides what is done.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Relative paths mean the same in a trial as in the driver.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # A trial that does not reach its next report in this time is killed when a run is stopped; its checkpoint stays.
    "TUNE_FORCE_TRIAL_CLEANUP_S": str(int(GRACE_SECONDS / 4)),
}
"""Read by Ray when it is first used; what a user has set stays."""


class RayRunner:
    """Implements ``Runner`` on Ray. Use as a context manager: it connects to, or starts, a cluster.

    Args:
        address: address of a running cluster, ``auto`` for the one of this host, or None to start one here that ends
            with the run, has no dashboard, and asks for a token that only this run and its workers have.
        cpus: CPUs of the cluster that is started; None takes all of this host.
    """

    def __init__(self, address: str | None = None, cpus: int | None = None) -> None:
        self._address, self._cpus = address, cpus

    def __enter__(self) -> "RayRunner":
        with ExitStack() as entered:
            self._stop = entered.enter_context(stop_signals())
            self._thread = RayThread(self._stop)
            entered.callback(self._thread.close, _shutdown)
            self._thread.call(self._start)
            self._stop.require_none()
            self._entered = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def _start(self) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if self._address is None:
            # Ray asks for a token by default, also where it was imported before. Without one of ours it would write a
            # token file into the user's home, and without the quiet logger it would tell everybody of it.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        # It warns that it leaves SIGTERM alone outside the main thread, which is the point of the thread.
        logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
        import ray

        options: dict[str, Any] = {"address": self._address}
        if self._address is None:
            options = {"address": "local", "include_dashboard": False, "num_cpus": self._cpus}
        try:
            _require_answer(self._address)
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, TimeoutError) as error:
            raise UserError(
                f"no Ray cluster answers at {self._address!r} ({error}); leave --address out to start one here"
            ) from None
        for name in ("ray.tune", "ray.air", "ray.train"):
            # Failed trials are named by the driver; Tune would print a page of its own for each.
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        """Run the tasks in one fresh Tuner; nothing is restored and nothing of Tune's is kept."""
        return self._thread.call(lambda: self._run(tasks, context, observer, policy))

    def _run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        self._require_resources(tasks, context)
        ledger = Ledger(tasks, Store(context.store), observer, policy)
        scratch = context.store / ".tune"
        name = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{secrets.token_hex(3)}"
        try:
            _tuner(ledger, tasks, context, self._stop, (scratch, name)).fit()
        finally:
            shutil.rmtree(scratch / name, ignore_errors=True)
        ledger.result.stopped |= bool(ledger.frontier.live) or self._stop.requested
        return ledger.result

    def _require_resources(self, tasks: Sequence[Task], context: RunContext) -> None:
        import ray

        total = ray.cluster_resources()
        for stage in dict.fromkeys(task.stage for task in tasks):
            held = context.resources_of(stage)
            gpus = max(task.held.most_gpus for task in tasks if task.stage == stage)
            for kind, needed, available in (
                ("cpus", held.cpus, total.get("CPU", 0)),
                ("gpus", gpus, total.get("GPU", 0)),
                ("memory_gib", held.memory_gib, total.get("memory", 0) / 2**30),
            ):
                if needed > available:
                    raise UserError(
                        f"resources.{stage}.{kind} asks for {needed:g}, the Ray cluster has {available:g}; "
                        "lower it or run on a larger cluster with --address"
                    )


def _shutdown() -> None:
    import ray

    ray.shutdown()


def _tuner(ledger: Ledger, tasks: Sequence[Task], context: RunContext, stop: Stop, where: tuple[Path, str]) -> Any:
    """A Tuner that asks ``ledger`` for what to start, and ``stop`` whether to go on; ``where`` it writes, it must."""
    import ray
    from ray import tune

    from medsweep.execution.ray_tune import PlanSearcher, ProgressListener, StageTrainable, StopOnRequest

    scratch, name = where
    total = ray.cluster_resources()
    trainable = tune.with_parameters(StageTrainable, context=context, tasks=TaskFile.write(scratch / name, tasks))
    return tune.Tuner(
        tune.with_resources(trainable, lambda config: _shape(tuple(config["bundle"].items()))),
        tune_config=tune.TuneConfig(
            search_alg=PlanSearcher(ledger, lambda held: bundle_of(held, total)),
            num_samples=-1,  # until the searcher says FINISHED
            max_concurrent_trials=_slots(total, tasks),
            reuse_actors=True,  # a new process per trial would spend seconds on importing torch
            # Short: the default holds every parameter.
            trial_dirname_creator=lambda trial: f"{trial.config['stage']}-{trial.trial_id}-{os.getpid()}",
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(scratch.resolve()),
            callbacks=[ProgressListener(ledger)],
            stop=StopOnRequest(stop),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),  # the ledger tries again, since Tune knows no reasons
            verbose=0,
        ),
    )


def _require_answer(address: str | None) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@cache
def _shape(held: tuple[tuple[str, float], ...]) -> Any:
    """The placement group of trials that hold the same; Ray keeps processes for reuse by it."""
    from ray import tune

    return tune.PlacementGroupFactory([dict(held)])


def bundle_of(held: Resources, total: Mapping[str, float]) -> dict[str, float]:
    """What Ray sets aside for a trial; memory, in bytes, is never more than the cluster has in ``total``."""
    memory = min(held.memory_gib * 2**30, total.get("memory", 0.0))
    bundle = {"CPU": float(held.cpus), "GPU": held.most_gpus, "memory": float(int(memory))}
    return {name: amount for name, amount in bundle.items() if amount}


def _slots(total: Mapping[str, float], tasks: Sequence[Task]) -> int:
    """Trials that can run at once, by the one that takes the least."""
    least = [
        task.held if task.held.gpus != "auto" else task.held.model_copy(update={"gpus": SHARES[0]}) for task in tasks
    ]
    bundles = [bundle_of(held, total) for held in dict.fromkeys(least)]
    fits = [min(total.get(kind, 0.0) / amount for kind, amount in bundle.items()) for bundle in bundles]
    return max(1, min(len(tasks), int(max(fits))))
