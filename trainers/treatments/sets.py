"""Treatments that replace the pool by real slices, and what a treatment may measure on real slices."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsweep.data.folds import Fold, left_out, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.pool import Pool
from medsweep.trainers.treatments.config import DuplicateReal, Histogram, MatchSpectrum, Source, UniqueReal
from medsweep.trainers.treatments.statistics import Images, Masks


@dataclass(frozen=True)
class Material:
    """What treatments of one trial may look at beside the sample that they change."""

    data: SliceSet
    fold: Fold
    train: tuple[str, ...]
    """Its training patients."""
    pool: Pool | None
    """As it came; None where real slices need none."""
    size: int
    """Samples of the pool that is made."""
    reference: Path | None
    """Output of the reference segmenter, where one is among the inputs."""
    device: str

    @cached_property
    def images(self) -> Images:
        """Real training slices with foreground, float32 (N, C, R, R)."""
        return self.data.image_rows(self._rows)

    @cached_property
    def masks(self) -> Masks:
        """Their masks, uint8 (N, R, R)."""
        return np.array(self.data.masks[self._rows])

    @property
    def _rows(self) -> NDArray[np.int64]:
        return self.data.rows(self.train, foreground_only=True)

    def target(self, treatment: Histogram | MatchSpectrum) -> tuple[Images, Masks]:
        """Images and masks of what ``treatment`` imitates.

        Raises:
            UserError: the pool is shorter than the head that the target is measured on.
        """
        if treatment.target == "real":
            return self.images, self.masks
        if self.pool is None:
            raise RuntimeError(f"{treatment.kind} imitates the pool in a trial without one")
        if len(self.pool) < treatment.measured:
            raise UserError(
                f"{treatment.kind} measures its target on the first {treatment.measured} samples of the pool, which "
                f"has {len(self.pool)}; give measured: {len(self.pool)} or less"
            )
        return np.array(self.pool.images[: treatment.measured]), np.array(self.pool.masks[: treatment.measured])


def patients_of(source: Source, data: SliceSet, fold: Fold) -> tuple[str, ...]:
    """The training patients whose slices ``source`` takes, sorted; all belong to the fold's whole training part.

    Raises:
        UserError: there are none, or fewer than asked for.
    """
    train = split(data.patients, fold).train
    if isinstance(source, DuplicateReal):
        return train
    if isinstance(source, UniqueReal):
        if source.patients > len(train):
            raise UserError(
                f"k-unique-real asks for {source.patients} training patients and the fold has {len(train)}; "
                f"give patients: {len(train)} or less"
            )
        return split(data.patients, fold.model_copy(update={"patients": source.patients})).train
    return left_out(source.kind, data.patients, fold)


def chosen_rows(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """``count`` of ``rows``: every row once in a shuffled order, then all over again in another.

    Fewer are the head of more.
    """
    cycles = [
        np.random.default_rng(derive_seed("source", seed, cycle)).permutation(rows)
        for cycle in range(-(-count // len(rows)))
    ]
    return np.concatenate(cycles)[:count]


def real_slices(data: SliceSet, patients: tuple[str, ...], count: int, seed: int) -> tuple[Images, Masks]:
    """``count`` real slices with foreground of ``patients``, repeated where they are fewer.

    Raises:
        UserError: no slice of these patients has foreground.
    """
    rows = data.rows(patients, foreground_only=True)
    if len(rows) == 0:
        raise UserError(
            f"none of the {len(patients)} patients from {patients[0]!r} on has a slice with foreground; "
            "take more patients"
        )
    chosen = chosen_rows(rows, count, seed)
    return data.image_rows(chosen), np.array(data.masks[chosen])
