"""``gpus: auto``: one step of every distinct config on a whole GPU, whose peak becomes the share that trials are given.

A probe is a task like any other, under a lease and with a name for every way to fail; the trials of its shape wait for
it. It publishes nothing: what it leaves is ``STORE/probes/STAGE/SHAPE.json``.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from medsweep.config import Config
from medsweep.execution.failures import classify
from medsweep.execution.gpu_memory import Grant, share_for
from medsweep.execution.task import RunContext, Task
from medsweep.files import write_json
from medsweep.identity import canonical, identity, short
from medsweep.store.store import Store
from medsweep.store.workspace import Workspace
from medsweep.sweep.file import Resources
from medsweep.sweep.plan import PlannedTrial
from medsweep.trial import Progress, Stage, StageEndedError

NOT_SIZES: Final = ("fold", "seed")
"""Fields of a config that choose data and chance, not sizes; folds of one dataset are of nearly one size."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The memory of one step, on the device that it was measured on."""

    peak_mib: float
    total_mib: float
    device: str
    micro_batches: int
    """Micro-batches that the batch had to be worked in to fit at all."""
    config: Mapping[str, object]

    def grant(self, held: Resources) -> Grant:
        """What a trial of this shape is given in place of ``auto``."""
        share = share_for(self.peak_mib, self.total_mib)
        return Grant(held.model_copy(update={"gpus": share}), self.micro_batches)


def shape_of(stage: Stage, config: Config, data: Mapping[str, str]) -> str | None:
    """Digest of all that the memory of a trial depends on, 64 hex digits; None for a stage that cannot be cut short."""
    if stage.probe is None:
        return None
    sizes = {name: value for name, value in identity(stage.probe(config)).items() if name not in NOT_SIZES}
    body = canonical({"probe": stage.name, "version": stage.version, "config": sizes, "data": dict(data)})
    return hashlib.sha256(body.encode()).hexdigest()


def sizes_of(trial: PlannedTrial, trials: Mapping[str, PlannedTrial], stages: Mapping[str, Stage]) -> dict[str, str]:
    """What the memory of a trial depends on beside its config, by input role.

    Digests of the inputs that are made from nothing else, as the prepared slices, and shapes of those that its stage
    is sized by. Other inputs differ between folds and seeds, and hardly in size.
    """
    sizes = {}
    for role, digest in trial.inputs.items():
        parent = trials[digest]
        if role in stages[trial.stage].sized_by:
            data = sizes_of(parent, trials, stages)
            sizes[role] = shape_of(stages[parent.stage], parent.config, data) or digest
        elif not parent.inputs:
            sizes[role] = digest
    return sizes


def measured(store: Store, stage: str, shape: str, *, now: bool = False) -> Measured | None:
    """What a probe has left, or None; a torn or foreign file counts as none, so that it is measured again.

    Without ``now`` what was measured moments ago may be missing.
    """
    try:
        return Measured(**json.loads(store.fresh(_path(store, stage, shape), now=now).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def sized(held: Resources, stage: Stage, config: Config, data: Mapping[str, str], store: Store) -> tuple[Grant, str]:
    """What a trial with ``gpus: auto`` is given, and the shape it waits for, or nothing where that is measured.

    A stage that cannot be cut to one step gets a whole GPU, a trial that computes nothing there gets none.
    """
    if stage.gpu_hours(config) is None:
        return Grant(held.model_copy(update={"gpus": 0.0}), 1), ""
    shape = shape_of(stage, config, data)
    if shape is None:
        return Grant(held.model_copy(update={"gpus": 1.0}), 1), ""
    memory = measured(store, stage.name, shape)
    return (Grant(held, 1), shape) if memory is None else (memory.grant(held), "")


def granted(task: Task, store: Store) -> Grant:
    """What a task was started with: what its probe has measured, where it waited for one."""
    memory = measured(store, task.stage, task.shape, now=True) if task.shape else None
    return Grant(task.held, task.micro_batches) if memory is None else memory.grant(task.held)


def probe_of(task: Task, stage: Stage, config: Config, data: Mapping[str, str]) -> Task:
    """The task that measures the shape of ``task``, on its inputs; it reads, as far as its digest goes, ``data``."""
    if stage.probe is None:
        raise ValueError(f"stage {stage.name} cannot be cut to one step")
    return replace(
        task,
        digest=task.shape,
        config=stage.probe(config).model_dump(mode="json"),
        reads=dict(data),
        label=f"one step of {task.label}",
        hours=0.0,
        held=task.held.model_copy(update={"gpus": 1.0}),
        shape="",
        is_probe=True,
    )


def probe(
    stage: Stage, config: Config, inputs: Mapping[str, Path], *, task: Task, context: RunContext, store: Store
) -> Iterator[Progress]:
    """Run one step on the whole GPU, in more and more micro-batches until it fits, and keep the peak.

    Raises:
        Exception: what the stage raises; out of memory once no more micro-batches are allowed.
    """
    most, micro_batches, fits = stage.divides(config), 1, False
    while not fits:
        with Workspace(
            store,
            task.stage,
            task.digest,
            device="cuda",
            gpu_share=1.0,
            threads=task.held.cpus,
            micro_batches=micro_batches,
        ) as work:
            context.gpu.begin(1.0)
            try:
                with suppress(StageEndedError):  # a step that diverges has shown its memory all the same
                    yield from stage.run(config, inputs, work)
                fits = True
            except Exception as error:
                if classify(error, lambda: context.gpu.is_short(1.0)) != "out-of-memory" or micro_batches >= most:
                    raise
            finally:
                peak = context.gpu.peak_mib()
                shutil.rmtree(work.part, ignore_errors=True)
            if fits:
                memory = Measured(
                    peak_mib=round(peak, 1),
                    total_mib=round(context.gpu.total_mib(), 1),
                    device=context.gpu.name(),
                    micro_batches=micro_batches,
                    config=dict(task.config),
                )
                path = _path(store, task.stage, task.digest)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, asdict(memory))
                store.shared(path)
        micro_batches = min(2 * micro_batches, most)


def _path(store: Store, stage: str, shape: str) -> Path:
    return store.root / "probes" / stage / f"{short(shape)}.json"
