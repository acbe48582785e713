"""The narrow waist between the engine and the stages: what a stage function is given and may ask.

A stage function is ``run(config, inputs, trial) -> Iterator[Progress]``. It yields its progress, saves checkpoints
through ``trial``, writes its results under ``trial.output`` and ends. Ray Tune, the in-process runner and the tests
drive it alike. Killed at any point and started again, it goes on from the last checkpoint and ends with the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from medsweep.config import Config

COMPLETE = "complete"
"""Outcome of a trial whose output may be read by others."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One report of a running trial. ``pictures`` are PNG files already written under ``trial.output``.

    A ``beat`` is a sign of life between two reports: it says how far the trial is, is shown, and is kept nowhere.
    """

    step: int
    total: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, Path] = field(default_factory=dict)
    beat: bool = False


class Trial(Protocol):
    """What a stage function may ask of the world. Nothing here names Ray, Optuna or W&B."""

    digest: str
    """Address of this trial."""
    output: Path
    """Folder whose whole content is published when the function ends."""
    scratch: Path
    """Folder that is thrown away when the function ends."""
    device: str
    """Torch device name, ``cpu`` or ``cuda``."""
    gpu_share: float
    """Share of the GPU's memory that this trial may take; 0 without a GPU."""
    threads: int
    """CPU threads granted to this trial."""
    micro_batches: int
    """Shares that a training batch is worked in, their gradients added up, where it does not fit whole; 1 is whole.
    Never above what ``Stage.divides`` allows for the config."""

    def checkpoint_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint to be worth another."""

    def checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Keep all that ``write`` puts into the folder it is given, or nothing; older checkpoints are dropped."""

    def note(self, text: str) -> None:
        """Keep a line for the manifest about how the result came about, where that is not as usual."""

    def restore(self) -> tuple[int, Path] | None:
        """Step and folder of the newest whole checkpoint of this very trial, if there is one."""


@dataclass(frozen=True)
class Later:
    """A function by the names of its module and its own; the module is imported when the function is first needed.

    Torch takes seconds to import, and a plan needs none of it.
    """

    module: str
    name: str

    def function(self) -> Callable[..., Any]:
        """What it stands for."""
        found: Callable[..., Any] = getattr(import_module(self.module), self.name)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function()(*args, **kwargs)


StageFunction = Callable[[Any, Mapping[str, Path], Trial], Iterator[Progress]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A kind of work: its name, its hand-bumped version, its config type, its function and its built-in price."""

    name: str
    version: int
    config: type[Config]
    run: StageFunction
    hours: Callable[[Any], float]
    """Hours on one CPU core for a config, before any timing of an earlier trial is known."""
    gpu_hours: Callable[[Any], float | None] = lambda config: None
    """The same for a trial that holds a GPU, alone on it; None for a config that computes nothing there."""
    divides: Callable[[Any], int] = lambda config: 1
    """Most parts that a batch can be worked in with the same maths as the whole: 1 where a term looks across it."""
    probe: Callable[[Any], Config] | None = None
    """The config cut to a step or two, for measuring memory; None where nothing is known of it."""
    sized_by: frozenset[str] = frozenset()
    """Input roles whose own config decides how much memory a trial takes, as that of a network that it applies."""
    guessed_mib: float = 1.0
    """What a trial leaves in the store, before the files of any trial of the stage were measured."""
    length: str = ""
    """The field that its hours are proportional to, as a sweep file calls it; empty where none is."""
    of_arm: bool = False
    """Whether a trial that serves one arm is that arm's own: it is named and grouped after the arm."""
    reads_prefix: frozenset[str] = frozenset()
    """Input roles of which only the head is read, as long as the config says; their full size is not identity."""

    @property
    def function(self) -> StageFunction:
        """``run`` itself, with its module imported."""
        return self.run.function() if isinstance(self.run, Later) else self.run


class ExpectedHours(NamedTuple):
    """Built-in hours of a trial, and the kind of device that does its work: ``cpu`` or ``cuda``."""

    hours: float
    device: str

    @classmethod
    def of(cls, hours: float, gpu_hours: float | None, gpus: float) -> "ExpectedHours":
        """That of a trial that holds ``gpus``, of a stage's two."""
        return cls(gpu_hours, "cuda") if gpus > 0 and gpu_hours is not None else cls(hours, "cpu")


class StageEndedError(Exception):
    """A stage says that it cannot give a result; what it raises is its outcome, not a bug."""

    outcome = "failed"


class DivergedError(StageEndedError):
    """Training left the finite numbers or collapsed; a result of the arm, published as such and never repeated."""

    outcome = "diverged"


class PoolDryError(StageEndedError):
    """A filter left fewer synthetic samples than the arm asks for, or a treatment reached too few of a pool."""

    outcome = "pool-dry"


class PrunedError(StageEndedError):
    """Early stopping of a search ended the trial; published as such and never repeated."""

    outcome = "pruned"
