"""What a sweep may say about the U-Net (``segment:``), and the whole resolved config of one segment trial."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from medsweep.config import NOT_IDENTITY, Config
from medsweep.data.folds import Fold

Unit = Literal["slices", "patients"]

SECONDS_PER_STEP = 0.005
"""Fixed cost of a step on one CPU core, measured."""

SECONDS_PER_ACTIVATION = 3.5e-8
"""Cost of one activation of the U-Net, forward and backward, on one CPU core, measured at 32 and 64 px."""

SECONDS_BESIDE_TRAINING = 10.0
"""Imports, loading and the scoring of a small test set."""


class SegmentSettings(Config):
    """The ``segment:`` section of a sweep. The defaults are those of the paper's 256 px runs."""

    steps: int = Field(default=20_000, ge=1)
    """Optimisation steps, the same whatever the count of synthetic samples."""
    batch_size: int = Field(default=16, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak of the cosine decay."""
    weight_decay: float = Field(default=1e-4, ge=0)
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(16, 32, 64, 128), min_length=2)
    """Width per level; each level halves the resolution once more, the first one included."""
    residual_units: Literal[0, 2] = 2
    """Residual units per level; 0 is a plain U-Net and takes half the time."""
    augment: Literal["none", "rigid", "spatial"] = "spatial"
    """``rigid``: rotation within 15 degrees, shift within a tenth of the side; ``spatial``: left-right flips too."""
    slices: Literal["all", "foreground"] = "all"
    """Which slices of the training patients are used; tests always see all slices of the test patients."""
    mixing: Literal["uniform", "fixed-exposure"] = "uniform"
    """``uniform``: one bag of real and synthetic samples; ``fixed-exposure``: half of every batch is real."""
    min_iou: float = Field(default=0.0, ge=0, le=1)
    """Only samples on which the reference segmenter reaches this IoU are used; 0 uses all."""
    report_every_steps: Annotated[int, Field(ge=1), NOT_IDENTITY] = 200

    @model_validator(mode="after")
    def _halves_are_whole(self) -> "SegmentSettings":
        if self.mixing == "fixed-exposure" and self.batch_size % 2:
            raise ValueError(
                f"mixing fixed-exposure halves the batch, so batch_size must be even, got {self.batch_size}"
            )
        return self


class SegmentConfig(SegmentSettings):
    """All that a segment trial computes from."""

    fold: Fold
    seed: int
    count: int = Field(ge=0)
    """Synthetic samples in ``unit``; 0 trains on real slices only."""
    candidates: int = Field(ge=0)
    """Synthetic samples, in ``unit``, among which the filter may choose; 0 without a filter."""
    unit: Unit
    resolution: int = Field(ge=8)
    """Side of a slice in pixels."""

    @model_validator(mode="after")
    def _enough_candidates(self) -> "SegmentConfig":
        if self.min_iou > 0 and self.candidates < self.count:
            raise ValueError(f"candidates ({self.candidates}) must be at least count ({self.count}) with a filter")
        return self

    @model_validator(mode="after")
    def _levels_fit(self) -> "SegmentConfig":
        factor = 2 ** (len(self.channels) - 1)
        if self.resolution % factor:
            raise ValueError(
                f"{len(self.channels)} levels of segment.channels need a resolution that is a multiple of {factor}, "
                f"got {self.resolution}"
            )
        return self


def resolve(
    settings: SegmentSettings, *, fold: Fold, seed: int, count: int, candidates: int, unit: Unit, resolution: int
) -> SegmentConfig:
    """The config of one trial; fields that a real-only trial never reads take neutral values, so arms share it."""
    fields: dict[str, Any] = dict(settings)
    if count == 0:
        fields |= {"mixing": "uniform", "min_iou": 0.0}
        unit = "slices"
    if fields["min_iou"] == 0:
        candidates = 0
    place = {"fold": fold, "seed": seed, "resolution": resolution}
    return SegmentConfig(**fields, **place, count=count, candidates=candidates, unit=unit)


def hours(config: SegmentConfig) -> float:
    """CPU hours on one core, from the activations per step; the number of test patients is not known here."""
    per_pixel = sum(width / 4**level for level, width in enumerate(config.channels))
    activations = config.batch_size * config.resolution**2 * per_pixel * (1 + config.residual_units / 2)
    per_step = SECONDS_PER_STEP + SECONDS_PER_ACTIVATION * activations
    return float(SECONDS_BESIDE_TRAINING + config.steps * per_step) / 3600
