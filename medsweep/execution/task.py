"""What a worker is told: one trial, and the context it runs in. Both travel to other processes as plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from medsweep.execution.gpu_memory import Gpu
from medsweep.files import fsync
from medsweep.search.stopping import Stopping
from medsweep.store.cache import CacheSpec
from medsweep.store.location import Location
from medsweep.sweep.file import Resources
from medsweep.tracking.tracker import RunCard, TrackingMode
from medsweep.trial import Stage


@dataclass(frozen=True, kw_only=True)
class Task:
    """One trial to run, as text-only data."""

    sweep: str
    stage: str
    digest: str
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Digest of the input trial by role."""
    input_stages: Mapping[str, str] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    hours: float
    tail_hours: float
    """Estimated hours of the longest chain from the start of this trial to the end of the sweep."""
    held: Resources = field(default_factory=Resources)
    """What it holds while it runs."""
    micro_batches: int = 1
    """Micro-batches that each batch is worked in, since it did not fit whole."""
    shape: str = ""
    """Of a trial with ``gpus: auto`` whose memory is not known yet: digest of the probe that it waits for."""
    kind: str = ""
    """What its values are compared within, where it may be stopped early."""
    is_probe: bool = False
    """Whether it measures the memory of a shape, which is its digest, and publishes nothing."""
    card: RunCard | None = None
    """What W&B is told of it while it runs; None where W&B is told nothing."""

    @property
    def shown_stage(self) -> str:
        """What it is counted under on the terminal."""
        return "probe" if self.is_probe else self.stage

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Digests of the tasks that must be complete before this one starts."""
        return (*self.inputs.values(), *([self.shape] if self.shape else []))


_JSON = TypeAdapter(Task)


Place = tuple[int, int] | str
"""Offset and length of a line, in bytes; or the line itself, for nodes that do not see the file."""


class TaskFile:
    """Tasks as lines of a file that all nodes see, so that a scheduler carries places and not whole configs."""

    def __init__(self, folder: Path, tasks: Iterable[Task]) -> None:
        """Write ``tasks`` to a file in ``folder``, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "tasks.jsonl"
        self._places: dict[str, Place] = {}
        self._add(tasks)

    def place(self, task: Task) -> Place:
        """Where a task is; one that came later is written now."""
        if task.digest not in self._places:
            self._add([task])
        return self._places[task.digest]

    def _add(self, tasks: Iterable[Task]) -> None:
        with self.path.open("ab") as stream:
            for task in tasks:
                line = _JSON.dump_json(task) + b"\n"
                self._places[task.digest] = (stream.tell(), len(line))
                stream.write(line)
        fsync(self.path)


def as_line(task: Task) -> Place:
    """A task as text."""
    return _JSON.dump_json(task).decode()


def read_task(path: Path, place: Place) -> Task:
    """A task of a ``TaskFile``."""
    if isinstance(place, str):
        return _JSON.validate_json(place)
    offset, length = place
    with path.open("rb") as stream:
        stream.seek(offset)
        return _JSON.validate_json(stream.read(length))


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Where trials run and who is told. Carried to every worker once."""

    store: Location
    stages: Mapping[str, Stage]
    resources: Mapping[str, Resources] = field(default_factory=dict)
    tracking: TrackingMode = "disabled"
    checkpoint_seconds: float = 60.0
    stopping: Stopping | None = None
    """What an adaptive search may end early."""
    cache: CacheSpec | None = None
    """Where each node keeps copies of what its trials read; None: they read from the store."""
    gpu: Gpu = field(default_factory=Gpu)
    """How a worker asks its GPU about memory."""

    def resources_of(self, stage: str) -> Resources:
        """Resources of one trial of ``stage``."""
        return self.resources.get(stage, Resources())
