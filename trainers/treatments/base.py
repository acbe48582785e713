"""What a treatment is: a record that a sweep can write down, which holds the function that it stands for.

Shapes: n samples, N real slices, C modalities, R resolution in pixels.
"""

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from medsweep.config import Config
from medsweep.data.folds import Fold
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.mechanism import Cause
from medsweep.trainers.pool import Pool

Images = NDArray[np.float32]
Masks = NDArray[np.uint8]
Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]


class Pairs(NamedTuple):
    """Images, float32 (n, C, R, R) on the scale of prepared slices, with their masks, uint8 (n, R, R)."""

    images: Images
    masks: Masks
    rows: Rows | None = None
    """Rows of the real slices that samples were made from, (n,), as in ``Pool``."""


def real_pairs(data: SliceSet, rows: Rows) -> Pairs:
    """The prepared slices of ``rows``."""
    return Pairs(data.image_rows(rows), np.array(data.masks[rows]), rows)


@dataclass(frozen=True)
class TreatmentContext:
    """What the treatments of one trial may look at beside the samples that they change."""

    data: SliceSet
    fold: Fold
    train: tuple[str, ...]
    """The fold's training patients."""
    pool: Pool | None
    """The input pool, untreated; None where real slices need none."""
    size: int
    """Number of samples in the pool that is made."""
    reference: Path | None
    """Output of the reference segmenter, where one is among the inputs."""
    device: str
    seed: int = 0
    """That of the replicate, on which draws of patients depend."""
    law: Path | None = None
    """Output of the assess trial that measured the laws of the pool that is imitated; None where nothing asks."""

    def require_law(self, kind: str) -> Path:
        """The folder with the laws of the pool, for a treatment of this ``kind``.

        Raises:
            UserError: they are not among the inputs.
        """
        if self.law is None:
            raise UserError(f"{kind} takes a measured law, and the trial has no input 'law', an assess trial")
        return self.law

    @cached_property
    def real(self) -> Pairs:
        """The N training slices with foreground."""
        return real_pairs(self.data, self.data.rows(self.train, foreground_only=True))


class Treatment(Config, ABC):
    """Base of all kinds. A kind without its function cannot be declared, so none can fall into that of another."""

    kind: str
    """A literal in every kind, by which sweep files tell them apart."""

    needs_reference: ClassVar[bool] = False
    """Whether it reads the reference segmenter."""
    seconds: ClassVar[float] = 30.0
    """CPU seconds for some hundred samples, before any trial of it was timed."""
    needs_real_masks: ClassVar[bool] = False
    """Whether every mask must be that of a real slice, unchanged."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        literal = get_args(cls.model_fields["kind"].annotation)
        if literal and inspect.isabstract(cls):
            missing = ", ".join(sorted(cls.__abstractmethods__))
            raise TypeError(f"treatment {literal[0]!r} has no function: {cls.__name__} must define {missing}")

    @property
    def takes_left_out(self) -> bool:
        """Whether it takes slices of training patients that ``data.patients`` leaves out."""
        return False

    @property
    def laws(self) -> frozenset[Cause]:
        """Which laws of the pool it takes from an assessment."""
        return frozenset()

    @property
    def imitates_pool(self) -> bool:
        """Whether it measures the input pool."""
        return False

    @property
    def spoils_a_share(self) -> bool:
        """Whether it changes the masks of some samples on purpose and leaves the others alone."""
        return False

    def drawn_patients(self, context: TreatmentContext) -> tuple[str, ...]:
        """Whose slices get into the pool, sorted; all belong to the fold's whole training group.

        Raises:
            UserError: there are none, or fewer than asked for.
        """
        return ()

    @abstractmethod
    def apply(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Pairs:
        """The treated samples; ``pairs`` itself is left as it was.

        Raises:
            UserError: the treatment does not fit the data.
        """

    def effect(self, before: Pairs, after: Pairs, context: TreatmentContext) -> dict[str, float]:
        """What treat.json says of it.

        ``samples`` whose image or mask changed, the mean absolute ``image_change``, and the share of mask pixels that
        changed, ``mask_change``.
        """
        gap_n = np.array([np.abs(new - old).mean() for old, new in zip(before.images, after.images, strict=True)])
        moved_n = (before.masks != after.masks).mean(axis=(1, 2))
        return {
            "samples": int(((gap_n > 0) | (moved_n > 0)).sum()),
            "image_change": float(gap_n.mean()),
            "mask_change": float(moved_n.mean()),
        }


class ImageTreatment(Treatment):
    """Changes images alone."""

    def apply(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Pairs:
        return pairs._replace(images=self.new_images(pairs, context, seed))

    @abstractmethod
    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        """Treated images, float32 (n, C, R, R)."""


class MaskTreatment(Treatment):
    """Changes masks alone."""

    def apply(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Pairs:
        return pairs._replace(masks=self.new_masks(pairs, context, seed))

    @abstractmethod
    def new_masks(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Masks:
        """Treated masks, uint8 (n, R, R)."""
