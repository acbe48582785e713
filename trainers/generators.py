"""What the sweep, the planner and the synthesis have to know of a family of generators, as one record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from medsweep.config import LATER, NOT_IDENTITY, Config
from medsweep.data.fitted_on import require_within
from medsweep.data.folds import Fold, split, unused_patients, with_all_patients
from medsweep.data.slices import SliceSet
from medsweep.data.stage_config import FittedConfig
from medsweep.errors import UserError
from medsweep.trial import Stage

if TYPE_CHECKING:
    from torch import Tensor

MaskForm = Literal["signed-distance", "soft-one-hot"]
"""How a label map becomes continuous channels."""


@dataclass(frozen=True)
class GeneratedPairs:
    """N pairs: images float32 (N, C, R, R), None from a generator of masks alone; labels uint8 (N, R, R)."""

    images: NDArray[np.float32] | None
    labels: NDArray[np.uint8]


class TrainedGenerator(Protocol):
    """A published generator, ready for sampling: the same random numbers and mask give the same pair."""

    @property
    def fitted_to(self) -> tuple[int, int, int]:
        """Pixels of a side, modalities and classes of the slices that it was fitted to."""

    @property
    def numbers_per_sample(self) -> int:
        """Random numbers from N(0, 1) that one sample is made from."""

    def sample(
        self, numbers_NS: "Tensor", labels_NRR: NDArray[np.uint8] | None = None, *, truncation: float = 1.0
    ) -> GeneratedPairs:
        """Pairs for random numbers, and for masks where it paints images for masks."""


LEFT_OUT: Final = "left-out"
"""What ``init_from`` says for a generator that is first fitted on the training patients that the study leaves out."""

InitFrom = str | dict[str, str] | None
"""What ``init_from`` takes: one generator to begin from, or one by variant."""


class Start(Config):
    """A published generator that a training begins from. Its digest alone decides what is computed."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    path: Annotated[str, NOT_IDENTITY]
    """The folder of what it left."""
    files: Annotated[Mapping[str, str], NOT_IDENTITY]
    """sha256 of the files there, by name."""
    fitted_on: Annotated[tuple[str, ...], NOT_IDENTITY]
    """Cases that it, and those that it began from, learned from."""
    slices: Annotated[str | None, NOT_IDENTITY]
    """The folder of the prepared slices that it learned from, where that is at hand."""
    strangers: Annotated[bool, NOT_IDENTITY]
    """Whether its patients are known to be others than those here, even where their names are the same."""


class GeneratorConfig(FittedConfig):
    """Base of the configs of our own families, which learn from slices whose side is a power of two."""

    variant: str
    resolution: int
    """Side of a slice in pixels."""
    kimg: float
    """Length of the training in thousands of slices shown."""
    batch_size: int
    """Slices in a step."""
    left_out: Annotated[bool, LATER] = False
    """Whether it is fitted on the training patients that the study leaves out, so that another may begin from it."""
    start: Annotated[Start | None, LATER] = None
    """The published generator that it begins from."""

    @property
    def label(self) -> str:
        return self.variant

    @property
    def side_px(self) -> int:
        return self.resolution

    @property
    def borrows(self) -> Fold | None:
        """All training patients, where it is fitted on those whom the study leaves out."""
        return with_all_patients(self.fold) if self.left_out else None

    @property
    def total_steps(self) -> int:
        """Optimisation steps that show at least ``kimg`` thousand slices."""
        return max(1, -(-round(self.kimg * 1000) // self.batch_size))

    @field_validator("resolution")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value not in (16, 32, 64, 128, 256, 512):
            raise ValueError(f"resolution must be a power of two from 16 to 512, got {value}")
        return value


@dataclass(frozen=True)
class Sampling:
    """How generators draw that come to a sample in steps."""

    steps: int = 25
    """Steps from noise to a sample."""
    guidance: float = 1.0
    """How much more the mask weighs than it did in training; 1 leaves it as it was."""


class StepwiseGenerator(TrainedGenerator, Protocol):
    """A generator that comes to a sample in steps."""

    def with_sampling(self, sampling: Sampling) -> TrainedGenerator:
        """The same generator, drawing as it is asked to."""


Misfits = Callable[[Path, Any, int, int], list[str]]
"""From the folder of a published generator, a config, modalities and classes to what keeps a training of that config
from beginning with it, a short text each."""


@dataclass(frozen=True, kw_only=True)
class GeneratorFamily:
    """One family of generators. Its name is that of its stage, and of the section of a sweep that holds its settings.

    The stage function leaves a folder that ``load`` reads, ``real.png`` with real training pairs, and the patients it
    saw (``write_fitted_on``).
    """

    stage: Stage
    settings: type[Config]
    """The part of that section that its generators are trained with."""
    resolve: Callable[[Any, Any, Fold, int, int], FittedConfig]
    """From settings, variant, fold, seed and resolution to the config of one trial."""
    needs_reference: Callable[[Any], bool]
    """Whether a trial reads the fold's reference segmenter as its input ``reference``."""
    emits_images: Callable[[Any], bool]
    """Whether a trial's generator makes images, so that its ``real.png`` shows pairs."""
    load: Callable[[Path, str], TrainedGenerator]
    """The generator published in a folder, on a device."""
    misfits: Misfits | None = None
    """None where no training can begin from another."""
    stepwise: bool = False
    """Whether it loads a ``StepwiseGenerator``, for which ``synthesise.steps`` and ``guidance`` take the place of
    ``truncation``."""


def training_rows(slices: SliceSet, fold: Fold, *, left_out: bool = False) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The training patients of a fold, or those that it leaves out, and the rows of their foreground slices.

    Raises:
        UserError: no slice of them shows a class, or the slices were scaled by constants of other patients.
    """
    groups = split(slices.patients, fold)
    patients = unused_patients(f"init_from: {LEFT_OUT}", slices.patients, fold) if left_out else groups.train
    rows = slices.rows(patients, foreground_only=True)
    tested = set(slices.index["patient"].to_numpy()[rows]) & set(groups.test)
    if tested:
        raise RuntimeError(f"slices of test patients among the training rows: {sorted(tested)[:5]}")
    require_within("prepared slices", slices.folder, groups.train)
    if len(rows) == 0:
        whole = " and is labelled whole, without ignored pixels" if slices.ignores else ""
        raise UserError(
            f"no slice of the {len(patients)} training patients of fold {fold.index} shows a class{whole}, so "
            "there is nothing to learn a mask from; take more patients"
        )
    return patients, rows
