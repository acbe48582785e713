"""What the engine may ask of the resolved config of any trial."""

from medsweep.config import Config
from medsweep.data.folds import Fold


class StageConfig(Config):
    """Base of the configs of all stages. It has no field of its own, so it enters no digest.

    The answers here fit a trial that is fitted on nobody and shared by all folds and seeds.
    """

    @property
    def cut(self) -> Fold | None:
        """The fold on whose training patients the trial is fitted; None where it is fitted on nobody."""
        return None

    @property
    def fold_index(self) -> int | None:
        """Number of the fold, for people."""
        return None if self.cut is None else self.cut.index

    @property
    def training_seed(self) -> int | None:
        """The seed of the replicate; None where all seeds share the trial."""
        return None

    @property
    def borrows(self) -> Fold | None:
        """A fold in whose training group lie all patients read beyond ``cut``; None where nobody else is read."""
        return None

    @property
    def known_patients(self) -> tuple[str, ...]:
        """Cases that were learned from as somebody wrote down, and not as ``cut`` has it."""
        return ()

    @property
    def patients_needed(self) -> int:
        """Training patients that ``cut`` must have at least."""
        return 0

    @property
    def spare_needed(self) -> int:
        """Training patients beyond ``cut`` that ``borrows`` must hold at least."""
        return 0

    @property
    def label(self) -> str:
        """What tells kinds of trials of one stage apart, for people; empty where there is one kind."""
        return ""

    @property
    def side_px(self) -> int | None:
        """Side of a slice in pixels, which decides time and memory; None where the inputs decide it."""
        return None


class FittedConfig(StageConfig):
    """Base of the configs of trials that are made once per fold and seed."""

    fold: Fold
    """On whose training patients the trial is fitted."""
    seed: int

    @property
    def cut(self) -> Fold:
        """The fold."""
        return self.fold

    @property
    def training_seed(self) -> int:
        """The seed."""
        return self.seed
