"""What a sweep may say about the assessment of pools (``assess:``), and the config of one assess trial."""

from pydantic import Field

from medsweep.config import Config
from medsweep.data.folds import Fold


class AssessSettings(Config):
    """The ``assess:`` section of a sweep."""

    halvings: int = Field(default=8, ge=1)
    """Random halvings of the training patients over which the distances and their null floor are averaged."""


class AssessConfig(AssessSettings):
    """All that an assess trial computes from."""

    fold: Fold
    seed: int


def hours(config: AssessConfig) -> float:
    """CPU hours on one core: loading and two passes of the segmenter; the pool's size is not known here."""
    return (10.0 + 0.5 * config.halvings) / 3600
