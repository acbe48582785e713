"""All trials of a run in one Ray Tuner, on a Ray of our own or on an existing cluster."""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from medsweep.errors import UserError
from medsweep.execution.growth import Cluster, living_nodes, require_cluster
from medsweep.execution.machine import cpus_here
from medsweep.execution.places import Places, capped, slots
from medsweep.execution.ray_failures import connect_failure, require_answer, require_shared_memory, start_failure
from medsweep.execution.ray_start import patient_nodes
from medsweep.execution.ray_thread import GRACE_SECONDS, RayThread
from medsweep.execution.runner import Ledger, RoundResult, RunPolicy
from medsweep.execution.task import RunContext, Task, TaskFile, as_line
from medsweep.stop_signals import Stop, stop_signals
from medsweep.store.opening import store_at
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
MOST_ASKED = 10_000
"""Processes that Tune asks a cluster for at the same time; far fewer are suggested to it."""


class RayRunner:
    """Implements ``Runner`` on Ray. Use as a context manager: it connects to, or starts, a cluster.

    Args:
        address: address of a running cluster, ``auto`` for the one of this host, or None to start one here that ends
            with the run, has no dashboard, and asks for a token that only this run and its workers have.
        cpus: CPUs of the cluster that is started; None takes all that this process may use.
        gpus: its GPUs; None takes all that are visible.
        wait_minutes: how long a running cluster may take to bring a node; None waits only for a known autoscaler.
    """

    def __init__(
        self,
        address: str | None = None,
        cpus: int | None = None,
        gpus: int | None = None,
        wait_minutes: float | None = None,
    ) -> None:
        self._address, self._cpus, self._gpus, self._wait_minutes = address, cpus, gpus, wait_minutes

    def __enter__(self) -> "RayRunner":
        with ExitStack() as entered:
            self._stop = entered.enter_context(stop_signals())
            self._thread = RayThread(self._stop)
            entered.callback(self._thread.close, _shutdown)
            self._thread.call(self._start)
            self._stop.hear_again()
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
        if self._address is None:
            _start_here(self._cpus or cpus_here(), self._gpus)
        else:
            _connect(self._address)
        for name in ("ray.tune", "ray.air", "ray.train"):
            # Failed trials are named by the driver; Tune would print a page of its own for each.
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        """Run the tasks in one fresh Tuner; nothing is restored and nothing of Tune's is kept.

        Raises:
            UserError: no node can hold a trial, none has come, or one sees another store.
        """
        return self._thread.call(lambda: self._run(tasks, context, observer, policy))

    def _run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        cluster = require_cluster(tasks, context, observer, self._stop, self._address, self._wait_minutes)
        if cluster is None:
            return RoundResult(stopped=True)
        if isinstance(context.store, Path):
            context = replace(context, store=context.store.absolute())  # a path that means the same on every node
        store = store_at(context.store)
        ledger = Ledger(tasks, store, observer, policy)
        scratch = store.root / ".tune"
        name = f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{secrets.token_hex(3)}"
        try:
            _tuner(ledger, tasks, context, policy, self._stop, (scratch, name), cluster).fit()
        finally:
            shutil.rmtree(scratch / name, ignore_errors=True)
        if ledger.result.misplaced:
            raise UserError("; ".join(ledger.result.misplaced))
        ledger.result.stopped |= bool(ledger.frontier.live) or self._stop.requested
        return ledger.result


def _start_here(cpus: int, gpus: int | None) -> None:
    """Start a Ray on this machine. Raises UserError: it cannot start, and what to do."""
    require_shared_memory()
    import ray

    try:
        with patient_nodes():
            ray.init(
                address="local",
                include_dashboard=False,
                num_cpus=cpus,
                num_gpus=gpus,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # whatever Ray meets, it is this machine that does not let it start
        raise start_failure(error) from None


def _connect(address: str) -> None:
    """Connect to a cluster. Raises UserError: none answers, or it is not for this token or machine."""
    import ray

    try:
        require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # whatever Ray meets; a name that is unknown is an OSError, too
        raise connect_failure(address, error) from None


def _shutdown() -> None:
    import ray

    ray.shutdown()


def _tuner(  # noqa: PLR0917
    ledger: Ledger,
    tasks: Sequence[Task],
    context: RunContext,
    policy: RunPolicy,
    stop: Stop,
    where: tuple[Path, str],
    cluster: Cluster,
) -> Any:
    """A Tuner that asks ``ledger`` for what to start, and ``stop`` whether to go on; ``where`` it writes, it must."""
    import ray
    from ray import tune

    from medsweep.execution import ray_tune
    from medsweep.execution.ray_tune import Handover, Housekeeping, PlanSearcher, StageTrainable, StopOnRequest
    from medsweep.execution.slots import Slots

    ray_tune.carry_no_keys()
    scratch, name = where
    coming = [kind.has for kind in cluster.types]
    places = Places(living_nodes, ray.available_resources, ledger.observer.note, policy.clock, coming)
    each, most = cluster.each, cluster.most
    hands = Slots(
        ledger,
        places,
        lambda kind: capped(dict(kind), each),
        lambda bundle: slots(bundle, most),
        lambda: {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]},
        policy.clock,
    )
    lines = TaskFile(scratch / name, tasks)
    place = lines.place if isinstance(context.store, Path) else as_line
    trainable = tune.with_parameters(StageTrainable, context=context, tasks=lines.path)
    return tune.Tuner(
        tune.with_resources(trainable, lambda config: _shape(tuple(config["bundle"].items()))),
        tune_config=tune.TuneConfig(
            search_alg=PlanSearcher(ledger, hands),
            scheduler=Handover(ledger, hands, place),
            num_samples=-1,  # until the searcher says FINISHED
            max_concurrent_trials=MOST_ASKED,
            reuse_actors=True,  # a new process would spend seconds on importing torch
            # Short: the default holds every parameter.
            trial_dirname_creator=lambda trial: f"{trial.trial_id}-{os.getpid()}",
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(scratch.resolve()),
            callbacks=[Housekeeping(places)],
            stop=StopOnRequest(stop, ledger),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),  # the ledger tries again, since Tune knows no reasons
            verbose=0,
        ),
    )


@cache
def _shape(held: tuple[tuple[str, float], ...]) -> Any:
    """The placement group of trials that hold the same; Ray keeps processes for reuse by it."""
    from ray import tune

    return tune.PlacementGroupFactory([dict(held)])
