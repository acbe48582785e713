"""The config of one diagnose trial, what it may cost, and which snapshots it looks at for that."""

from typing import Final

from pydantic import model_validator

from medsweep.data.stage_config import FittedConfig
from medsweep.trainers.segmentation import config as segment_config
from medsweep.trainers.segmentation.config import SNAPSHOT_PERCENTS, SegmentConfig

TABLE: Final = "diagnose.parquet"
"""What a diagnose trial leaves."""
HALF: Final = 32
"""Samples in each of the two halves of a probe batch, where there are as many."""
PROBE_SHARE: Final = 0.05
"""Share of the training's steps that all gradients together may cost; three snapshots are always looked at."""
STEPS_PER_SAMPLE: Final = 0.7
"""Cost of the gradient of one probe sample, in training steps of one sample: no augmentation, and no optimiser."""


class DiagnoseConfig(FittedConfig):
    """All that a diagnose trial computes from."""

    segment: SegmentConfig
    """The training that is looked into: its loss, its choice of samples, its snapshots."""

    @model_validator(mode="after")
    def _can_be_looked_into(self) -> "DiagnoseConfig":
        if not self.fold.has_validation:
            raise ValueError(
                "segment.snapshots are compared with validation patients, got none; set replicates.validation above 0, "
                "or segment.snapshots to 0"
            )
        return self

    @property
    def side_px(self) -> int:
        return self.segment.resolution

    @property
    def again(self) -> bool:
        """Whether held-out slices are drawn once more, as the ceiling of what a pool can do; dropped first."""
        return _cost_in_steps(self.segment, self.segment.snapshots, sources=4) <= PROBE_SHARE * self.segment.steps

    @property
    def percents(self) -> tuple[int, ...]:
        """The snapshots that are looked at: all, or three where all would cost too much."""
        asked = self.segment.snapshots
        fits = _cost_in_steps(self.segment, asked, sources=3) <= PROBE_SHARE * self.segment.steps
        return SNAPSHOT_PERCENTS[asked if fits else min(asked, 3)]


def _cost_in_steps(segment: SegmentConfig, snapshots: int, sources: int) -> float:
    return snapshots * sources * 2 * HALF * STEPS_PER_SAMPLE / segment.batch_size


def hours(config: DiagnoseConfig) -> float:
    """CPU hours on one core: loading, and the gradients in terms of training steps."""
    return segment_config.hours(_as_training(config))


def gpu_hours(config: DiagnoseConfig) -> float:
    """Hours alone on one GPU, likewise."""
    return segment_config.gpu_hours(_as_training(config))


def _as_training(config: DiagnoseConfig) -> SegmentConfig:
    cost = _cost_in_steps(config.segment, len(config.percents), sources=3 + config.again)
    return config.segment.model_copy(update={"steps": max(1, round(cost))})


def probe(config: DiagnoseConfig) -> DiagnoseConfig:
    """The whole trial: its memory is that of one half-batch and of the gradients of a snapshot."""
    return config
