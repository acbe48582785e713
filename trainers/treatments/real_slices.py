"""Treatments that replace the pool by real slices."""

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medsweep.data.folds import Fold, patients_of, split, unused_patients
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.treatments.base import Pairs, Treatment, TreatmentContext, real_pairs


class RealSlices(Treatment):
    """Replaces the pool by as many real slices with foreground, repeated where there are fewer."""

    @abstractmethod
    def drawn_patients(self, data: SliceSet, fold: Fold) -> tuple[str, ...]:
        """Whose slices are taken."""

    def apply(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Pairs:
        """Slices of ``drawn_patients``; ``pairs`` is not read."""
        patients, data = self.drawn_patients(context.data, context.fold), context.data
        rows = data.rows(patients, foreground_only=True)
        if len(rows) == 0:
            raise UserError(
                f"none of the {len(patients)} patients from {patients[0]!r} on has a slice with foreground; "
                "take more patients"
            )
        return real_pairs(data, chosen_rows(rows, context.size, seed))

    def effect(self, before: Pairs, after: Pairs, context: TreatmentContext) -> dict[str, float]:
        """Adds how many ``patients`` and ``slices`` could be drawn; without an input pool there are no changes."""
        effect: dict[str, float] = {"samples": len(after.masks)}
        if len(before.masks):
            effect = super().effect(before, after, context)
        patients = self.drawn_patients(context.data, context.fold)
        return effect | {"patients": len(patients), "slices": len(context.data.rows(patients, foreground_only=True))}


class DuplicateReal(RealSlices):
    """Replace the pool by real training slices, each once in a shuffled order, then all over again."""

    kind: Literal["duplicate-real"]

    def drawn_patients(self, data: SliceSet, fold: Fold) -> tuple[str, ...]:
        return split(data.patients, fold).train


class FreshReal(RealSlices):
    """Replace the pool by slices of training patients that ``data.patients`` leaves out: the upper bound."""

    kind: Literal["fresh-real"]
    takes_left_out: ClassVar[bool] = True

    def drawn_patients(self, data: SliceSet, fold: Fold) -> tuple[str, ...]:
        return unused_patients(self.kind, data.patients, fold)


class UniqueReal(RealSlices):
    """Replace the pool by the slices of few training patients, repeated."""

    kind: Literal["k-unique-real"]
    patients: int = Field(ge=1)
    """Their number; draws are nested, so the 2 are among the 5."""

    def drawn_patients(self, data: SliceSet, fold: Fold) -> tuple[str, ...]:
        train = patients_of(split(data.patients, fold).train)
        if self.patients > len(train):
            raise UserError(
                f"k-unique-real asks for {self.patients} training patients and the fold has {len(train)}; "
                f"give patients: {len(train)} or less"
            )
        return split(data.patients, fold.model_copy(update={"patients": self.patients})).train


AnyRealSlices = DuplicateReal | FreshReal | UniqueReal
"""Every kind of this file; a kind that is missing here is unknown to sweep files."""


def chosen_rows(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """``count`` of ``rows``: every row once in a shuffled order, then all over again in another.

    Fewer are the head of more.
    """
    cycles = [
        np.random.default_rng(derive_seed("source", seed, cycle)).permutation(rows)
        for cycle in range(-(-count // len(rows)))
    ]
    return np.concatenate(cycles)[:count]
