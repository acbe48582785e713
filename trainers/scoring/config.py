"""The config of one score trial, and what it may cost."""

from medsweep.data.folds import Fold
from medsweep.data.stage_config import StageConfig


class ScoreConfig(StageConfig):
    """All that a score trial computes from, beside the network that it reads."""

    fold: Fold
    """Says who is tested and who validates; that of the network's training."""

    @property
    def cut(self) -> Fold:
        """The fold, whose held-out patients the network must not have seen."""
        return self.fold


def hours(config: ScoreConfig) -> float:
    """Hours on one CPU core: imports, loading and a small test set; the number of patients is not known here."""
    return 10.0 / 3600


def gpu_hours(config: ScoreConfig) -> float:
    """With a GPU as without: resizing and distances, which take most of it, stay on the CPU."""
    return hours(config)


def probe(config: ScoreConfig) -> ScoreConfig:
    """The whole trial, which takes seconds: its memory is that of one batch of slices in the network."""
    return config
