"""One attempt at one trial: check the inputs, drive the stage function, publish. All runners do it this way."""

import math
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medsweep.config import Config
from medsweep.execution.failures import StalledError, TrialFailedError, classify, write_note
from medsweep.execution.probing import measured, probe, shape_of
from medsweep.execution.task import Task, World
from medsweep.execution.watchdog import Watchdog
from medsweep.identity import digest_of, short
from medsweep.store.cache import Fetched, reading
from medsweep.store.lease import LeaseHeldError
from medsweep.store.source_code import source_hashes
from medsweep.store.store import Manifest, Store
from medsweep.store.workspace import PublishedError, Workspace
from medsweep.tracking.protocol import Tracker
from medsweep.trial import COMPLETE, Progress, Stage, StageEndedError

PACKAGES = ("medsweep", "torch", "numpy", "scipy", "monai", "nibabel", "ray", "pandas", "pyarrow")


def attempt(
    task: Task,
    world: World,
    store: Store,
    tracker: Tracker,
    stalled: Callable[[StalledError], None] = lambda error: None,
) -> Iterator[Progress]:
    """Run ``task`` and publish what it leaves, yielding its reports; ends at once if it is published already.

    A stage that says how it ended (diverged, pool dry) is published with that outcome: it is a result, and would end
    the same way again. One that reports nothing for ``stall_minutes`` leaves a note with the stacks of all threads,
    and ``stalled`` is called from another thread: it ends the process, or raises its argument in this thread.

    Raises:
        TrialFailedError: the trial failed under a name; a note has been left.
    """
    if store.folder(task.stage, task.digest).is_dir() or (task.is_probe and measured(store, task.stage, task.digest)):
        return

    def bark(error: StalledError) -> None:
        write_note(store, task.stage, task.digest, error)
        stalled(error)

    try:
        with Watchdog(task.held.stall_minutes * 60, bark) as watchdog, ExitStack() as reads:
            yield from _attempt(task, world, store, tracker, watchdog, reads=reads)
    except PublishedError:
        return
    except StalledError as error:
        raise TrialFailedError("stalled", str(error)) from None
    except LeaseHeldError as error:
        raise TrialFailedError("lease-held", str(error)) from None
    except Exception as error:
        note = write_note(store, task.stage, task.digest, error)
        raise TrialFailedError(note.outcome, note.message) from error


def _attempt(
    task: Task, world: World, store: Store, tracker: Tracker, watchdog: Watchdog, *, reads: ExitStack
) -> Iterator[Progress]:
    stage = world.stages[task.stage]
    config = _config(stage, task)
    found = _inputs(task, world, store, reads)
    inputs = {role: one.folder for role, one in found.items()}
    code = source_hashes(stage.run)  # before the work, so that an edit during a first trial is not taken for its source
    if task.is_probe:
        yield from probe(stage, config, inputs, task=task, world=world, store=store)
        return
    with _workspace(task, world, store) as work:
        tracker.begin(task.card(), work.last_reported())
        outcome, message, last = "stopped", "", Progress(step=0, total=0)
        try:
            for progress in stage.run(config, inputs, work):
                last = progress
                work.record(progress)
                tracker.log(progress)
                if world.stopping is not None:
                    world.stopping.check(task.stage, task.digest, progress)
                watchdog.rest()
                yield progress
                watchdog.wake()
            outcome = COMPLETE
        except StageEndedError as end:
            outcome, message = end.outcome, str(end)
        except Exception as error:
            outcome = classify(error)
            raise
        finally:
            tracker.end(outcome, _finite(last.metrics))
        base = _manifest(task, world, work, found, outcome=outcome, message=message, last=last, code=code)
        work.publish(lambda files: replace(base, files=dict(files), seconds=round(work.seconds(), 3)))


def _workspace(task: Task, world: World, store: Store) -> Workspace:
    """Where the trial works; this process may take its part of the GPU from here on."""
    held = task.held
    on_gpu = held.most_gpus > 0
    if on_gpu:
        world.gpu.begin(min(held.most_gpus, 1.0))
    return Workspace(
        store,
        task.stage,
        task.digest,
        device="cuda" if on_gpu else "cpu",
        threads=held.cpus,
        micro_batches=task.micro_batches,
        checkpoint_seconds=world.checkpoint_seconds,
    )


def _config(stage: Stage, task: Task) -> Config:
    import json

    config = stage.config.model_validate_json(json.dumps(task.config))
    found = (
        shape_of(stage, config, task.reads)
        if task.is_probe
        else digest_of(task.stage, stage.version, config, task.reads)
    )
    if found != task.digest:
        raise RuntimeError(
            f"this worker's code gives {task.stage} the digest {short(found or 'none')} where the driver's gave "
            f"{short(task.digest)}: install the same medsweep version on every node"
        )
    return config


def _inputs(task: Task, world: World, store: Store, reads: ExitStack) -> dict[str, Fetched]:
    """The verified inputs by role; a node's copies of them stay until ``reads`` is closed."""
    found = {}
    for role, digest in task.inputs.items():
        stage = task.input_stages[role]
        manifest = store.manifest(stage, digest)
        if manifest.outcome != COMPLETE:
            raise RuntimeError(f"input {role} of {task.stage} {short(task.digest)} is {manifest.outcome}, not complete")
        found[role] = reads.enter_context(reading(world.cache, store, stage, digest))
    return found


def _manifest(
    task: Task,
    world: World,
    work: Workspace,
    inputs: Mapping[str, Fetched],
    *,
    outcome: str,
    message: str,
    last: Progress,
    code: Mapping[str, str],
) -> Manifest:
    return Manifest(
        stage=task.stage,
        version=world.stages[task.stage].version,
        digest=task.digest,
        config=dict(task.config),
        inputs=dict(task.inputs),
        reads=dict(task.reads),
        outcome=outcome,
        message=message,
        seconds=0.0,
        estimated_hours=task.hours,
        files={},
        metrics=_finite(last.metrics),
        host={**_host(task, world, work), **_origins(inputs)},
        versions=package_versions(),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        code=code,
    )


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _host(task: Task, world: World, work: Workspace) -> dict[str, Any]:
    return {
        "name": socket.gethostname(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "device": work.device,
        "threads": work.threads,
        "gpus": task.held.most_gpus,
        "micro_batches": work.micro_batches,
        "peak_memory_mib": round(world.gpu.peak_mib(), 1) if task.held.most_gpus else _peak_memory_mib(),
    }


def _origins(inputs: Mapping[str, Fetched]) -> dict[str, dict[str, str]]:
    """Per input role, where it was read from, and why not from a copy that was there."""
    reasons = {role: one.reason for role, one in inputs.items() if one.reason}
    return {"inputs": {role: one.origin for role, one in inputs.items()}, **({"reasons": reasons} if reasons else {})}


def _peak_memory_mib() -> float | None:
    """Most host memory that this process has held since it began; None where unknown."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return round(found[0] / 1024, 1) if found else None


def package_versions() -> dict[str, str]:
    """Versions of the packages a result may depend on, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
