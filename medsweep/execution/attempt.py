"""One attempt at one trial: check the inputs, drive the stage function, publish. All runners do it this way."""

import json
import math
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medsweep.config import Config
from medsweep.execution.failures import StalledError, TrialFailedError, classify, write_note
from medsweep.execution.interrupts import Watchdog
from medsweep.execution.memory_probe import measured, probe, shape_of
from medsweep.execution.task import RunContext, Task
from medsweep.identity import digest_of, short
from medsweep.store.cache import Fetched, reading
from medsweep.store.lease import LeaseHeldError
from medsweep.store.source_code import source_hashes
from medsweep.store.store import Manifest, Store
from medsweep.store.workspace import PublishedError, Workspace
from medsweep.tracking.tracker import Tracker
from medsweep.trial import COMPLETE, ExpectedHours, Progress, Stage, StageEndedError

PACKAGES = ("medsweep", "torch", "numpy", "scipy", "monai", "nibabel", "ray", "pandas", "pyarrow")


def attempt(
    task: Task,
    context: RunContext,
    store: Store,
    tracker: Tracker,
    on_stall: Callable[[StalledError], None] = lambda error: None,
) -> Iterator[Progress]:
    """Run ``task`` and publish what it leaves, yielding its reports; ends at once if it is published already.

    A stage that says how it ended (diverged, pool dry) is published with that outcome: it is a result, and would end
    the same way again. One that reports nothing for ``stall_minutes`` leaves a note with the stacks of all threads,
    and ``on_stall`` is called from another thread: it ends the process, or raises its argument in this thread.

    Raises:
        TrialFailedError: the trial failed under a name; a note has been left.
    """
    if store.has(task.stage, task.digest) or (task.is_probe and measured(store, task.stage, task.digest, now=True)):
        return

    def note_stall(error: StalledError) -> None:
        write_note(store, task.stage, task.digest, error)
        on_stall(error)

    with _gpu_given_back(task, context):
        try:
            with Watchdog(task.held.stall_minutes * 60, note_stall) as watchdog, ExitStack() as reads:
                yield from _attempt(task, context, store, tracker, watchdog, reads=reads)
        except PublishedError:
            return
        except (StalledError, LeaseHeldError) as error:
            raise TrialFailedError(classify(error), str(error)) from None
        except Exception as error:
            note = write_note(store, task.stage, task.digest, error, _is_short(task, context))
            raise TrialFailedError(note.outcome, note.message) from error


@contextmanager
def _gpu_given_back(task: Task, context: RunContext) -> Iterator[None]:
    """However a trial that holds a GPU ends, what it took there is free for others while this process idles."""
    if task.held.most_gpus == 0:
        yield
        return
    try:
        yield
    except BaseException as error:
        context.gpu.release(error)
        raise
    context.gpu.release()


def _is_short(task: Task, context: RunContext) -> Callable[[], bool]:
    gpus = task.held.most_gpus
    return lambda: gpus > 0 and context.gpu.is_short(gpus)


def _attempt(
    task: Task, context: RunContext, store: Store, tracker: Tracker, watchdog: Watchdog, *, reads: ExitStack
) -> Iterator[Progress]:
    stage = context.stages[task.stage]
    config = _config(stage, task)
    fetched = _inputs(task, context, store, reads)
    inputs = {role: source.folder for role, source in fetched.items()}
    if task.is_probe:
        yield from probe(stage, config, inputs, task=task, context=context, store=store)
        return
    # All of them now: a process then runs one state of the code, and importing it is no time of a trial's.
    run = {name: each.function for name, each in context.stages.items()}[task.stage]
    code = source_hashes(run)  # before the work, so that a file edited meanwhile is not taken for what ran
    with _workspace(task, context, store) as work:
        if task.card is not None:
            tracker.begin(task.card, work.part)
        outcome, message, last = "stopped", "", Progress(step=0, total=0)
        try:
            for progress in run(config, inputs, work):
                if not progress.beat:
                    last = progress
                    work.record(progress)
                    tracker.log(progress)
                    if context.stopping is not None:
                        context.stopping.check(store, task.stage, task.digest, task.kind, progress)
                watchdog.rest()
                yield progress
                watchdog.wake()
            outcome = COMPLETE
        except StageEndedError as end:
            outcome, message = end.outcome, str(end)
        except Exception as error:
            outcome = classify(error, _is_short(task, context))
            raise
        finally:
            tracker.end(outcome)
        expected = ExpectedHours.of(stage.hours(config), stage.gpu_hours(config), task.held.most_gpus)
        unfinished = Manifest(
            stage=task.stage,
            version=stage.version,
            digest=task.digest,
            config=dict(task.config),
            inputs=dict(task.inputs),
            reads=dict(task.reads),
            outcome=outcome,
            message=message,
            seconds=0.0,
            estimated_hours=expected.hours,
            timed_on=expected.device,
            files={},
            metrics={name: float(value) for name, value in last.metrics.items() if math.isfinite(value)},
            host=_host(task, context, work, fetched),
            versions=package_versions(),
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            code=code,
            notes=tuple(work.notes),
        )
        work.publish(lambda files: replace(unfinished, files=dict(files), seconds=round(work.seconds(), 3)))


def _workspace(task: Task, context: RunContext, store: Store) -> Workspace:
    """Where the trial works; this process may take its share of the GPU from here on."""
    share = min(task.held.most_gpus, 1.0)
    if share > 0:
        context.gpu.begin(share)
    return Workspace(
        store,
        task.stage,
        task.digest,
        device="cuda" if share > 0 else "cpu",
        gpu_share=share,
        threads=task.held.cpus,
        micro_batches=task.micro_batches,
        checkpoint_seconds=context.checkpoint_seconds,
    )


def _config(stage: Stage, task: Task) -> Config:
    """The config of a task, whose digest this process must agree on with the driver."""
    config = stage.config.model_validate_json(json.dumps(task.config))
    if task.is_probe:
        digest = shape_of(stage, config, task.reads)
    else:
        digest = digest_of(task.stage, stage.version, config, task.reads)
    if digest != task.digest:
        raise RuntimeError(
            f"this worker's code gives {task.stage} the digest {short(digest or 'none')} where the driver's gave "
            f"{short(task.digest)}: install the same medsweep version on every node"
        )
    return config


def _inputs(task: Task, context: RunContext, store: Store, reads: ExitStack) -> dict[str, Fetched]:
    """The verified inputs by role; a node's copies of them stay until ``reads`` is closed."""
    fetched = {}
    for role, digest in task.inputs.items():
        stage = task.input_stages[role]
        manifest = store.manifest(stage, digest)
        if manifest.outcome != COMPLETE:
            raise RuntimeError(f"input {role} of {task.stage} {short(task.digest)} is {manifest.outcome}, not complete")
        fetched[role] = reads.enter_context(reading(context.cache, store, stage, digest))
    return fetched


def _host(task: Task, context: RunContext, work: Workspace, inputs: Mapping[str, Fetched]) -> dict[str, object]:
    """The machine, what the trial held of it, and per input where it was read from (and why not from a copy here)."""
    gpus = task.held.most_gpus
    reasons = {role: source.reason for role, source in inputs.items() if source.reason}
    return {
        "name": socket.gethostname(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "device": work.device,
        "threads": work.threads,
        "gpus": gpus,
        "micro_batches": work.micro_batches,
        "peak_memory_mib": round(context.gpu.peak_mib(), 1) if gpus else _peak_memory_mib(),
        "inputs": {role: source.origin for role, source in inputs.items()},
        **({"reasons": reasons} if reasons else {}),
    }


def _peak_memory_mib() -> float | None:
    """Most host memory that this process has held since it began; None where unknown."""
    # resource.getrusage would also count what the parent held when it started this process.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmHWM:")), None)


def package_versions() -> dict[str, str]:
    """Versions of the packages a result may depend on, and of Python."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
