"""Treatments that replace the pool by real slices."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medsweep.config import LATER
from medsweep.data.folds import patient_of, patients_of, split, unused_patients
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.mechanism import Cause
from medsweep.trainers.law import PoolLaw
from medsweep.trainers.treatments.base import Pairs, Treatment, TreatmentContext, real_pairs

Unique = Annotated[int, Field(ge=1)] | Literal["measured"] | None
MOST_REPEATS = 3
"""Times that each slice of a left-out patient may come where a law is planted in them."""


class RealSlices(Treatment):
    """Replaces the pool by as many real slices with foreground, repeated where there are fewer."""

    @abstractmethod
    def drawn_patients(self, context: TreatmentContext) -> tuple[str, ...]:
        """Whose slices are taken."""

    def apply(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Pairs:
        """Slices of ``drawn_patients``; ``pairs`` is not read."""
        patients, data = self.drawn_patients(context), context.data
        rows = data.rows(patients, foreground_only=True)
        if len(rows) == 0:
            raise UserError(
                f"none of the {len(patients)} patients from {patients[0]!r} on has a slice with foreground; "
                "take more patients"
            )
        if self.takes_left_out and context.law is not None:
            _require_unrepeated(self.kind, context)
        return real_pairs(data, chosen_rows(rows, context.size, seed))

    def effect(self, before: Pairs, after: Pairs, context: TreatmentContext) -> dict[str, float]:
        """Adds how many ``patients`` and ``slices`` could be drawn; without an input pool there are no changes."""
        effect: dict[str, float] = {"samples": len(after.masks)}
        if len(before.masks):
            effect = super().effect(before, after, context)
        patients = self.drawn_patients(context)
        effect |= {"patients": len(patients), "slices": len(context.data.rows(patients, foreground_only=True))}
        return effect | ({"asked_patients": _measured(self.kind, context)} if "variety" in self.laws else {})


class DuplicateReal(RealSlices):
    """Replace the pool by real training slices, each once in a shuffled order, then all over again."""

    kind: Literal["duplicate-real"]
    seconds: ClassVar[float] = 2.0

    def drawn_patients(self, context: TreatmentContext) -> tuple[str, ...]:
        return split(context.data.patients, context.fold).train


class FreshReal(RealSlices):
    """Replace the pool by slices of training patients that ``data.patients`` leaves out: the upper bound."""

    kind: Literal["fresh-real"]
    seconds: ClassVar[float] = 2.0
    unique: Annotated[Unique, LATER] = None
    """How many of these patients, drawn anew in each replicate; ``measured`` takes the number that the pool is as
    varied as. None takes all."""

    @property
    def takes_left_out(self) -> bool:
        return True

    @property
    def laws(self) -> frozenset[Cause]:
        return frozenset({"variety"} if self.unique == "measured" else ())

    def drawn_patients(self, context: TreatmentContext) -> tuple[str, ...]:
        if self.unique is None:
            return unused_patients(self.kind, context.data.patients, context.fold)
        return few_left_out(self.kind, self.unique, context)


class UniqueReal(RealSlices):
    """Replace the pool by the slices of few training patients, repeated: of those in use, or of those left out."""

    kind: Literal["k-unique-real"]
    seconds: ClassVar[float] = 2.0
    patients: Annotated[int | None, Field(ge=1)] = None
    """Their number among the patients in use; draws are nested, so the 2 are among the 5."""
    unique: Annotated[Unique, LATER] = None
    """Their number among the patients left out instead, as in ``fresh-real``."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "UniqueReal":
        if (self.patients is None) == (self.unique is None):
            raise ValueError("k-unique-real takes either patients, of those in use, or unique, of those left out")
        return self

    @property
    def in_use(self) -> int:
        """Patients in use that it needs."""
        return self.patients or 0

    @property
    def takes_left_out(self) -> bool:
        return self.unique is not None

    @property
    def laws(self) -> frozenset[Cause]:
        return frozenset({"variety"} if self.unique == "measured" else ())

    def drawn_patients(self, context: TreatmentContext) -> tuple[str, ...]:
        if self.unique is not None:
            return few_left_out(self.kind, self.unique, context)
        train = patients_of(split(context.data.patients, context.fold).train)
        if self.in_use > len(train):
            raise UserError(
                f"k-unique-real asks for {self.patients} training patients and the fold has {len(train)}; "
                f"give patients: {len(train)} or less"
            )
        return split(context.data.patients, context.fold.model_copy(update={"patients": self.patients})).train


AnyRealSlices = DuplicateReal | FreshReal | UniqueReal
"""Every kind of this file; a kind that is missing here is unknown to sweep files."""


def few_left_out(kind: str, unique: int | Literal["measured"], context: TreatmentContext) -> tuple[str, ...]:
    """Some of the training patients left out, sorted; fewer of a replicate are among more.

    Raises:
        UserError: fewer are left out than asked for, or the pool's variety was not measured.
    """
    cases = unused_patients(kind, context.data.patients, context.fold)
    spare = patients_of(cases)
    count = max(1, round(_measured(kind, context))) if unique == "measured" else unique
    if count > len(spare):
        raise UserError(
            f"{kind} asks for {count} training patients that are left out, and {len(spare)} are; "
            f"give unique: {len(spare)} or less, or lower data.patients"
        )
    order = np.random.default_rng(derive_seed("unique", context.fold.index, context.seed)).permutation(len(spare))
    drawn = {spare[place] for place in order[:count]}
    return tuple(case for case in cases if patient_of(case) in drawn)


def _measured(kind: str, context: TreatmentContext) -> float:
    return PoolLaw.open(context.require_law(kind)).value("patients", of="variety", asked_by=kind)


def _require_unrepeated(kind: str, context: TreatmentContext) -> None:
    """Where a law is planted, new slices are what it is planted in, so they must be many."""
    spare = unused_patients(kind, context.data.patients, context.fold)
    slices = len(context.data.rows(spare, foreground_only=True))
    if context.size > MOST_REPEATS * slices:
        raise UserError(
            f"{kind} is to give {context.size} samples, more than {MOST_REPEATS} times the {slices} slices of the "
            f"{len(patients_of(spare))} patients left out, so they would not be new; lower synthesise.count or "
            "data.patients"
        )


def chosen_rows(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """``count`` of ``rows``: every row once in a shuffled order, then all over again in another.

    Fewer are the head of more.
    """
    cycles = [
        np.random.default_rng(derive_seed("source", seed, cycle)).permutation(rows)
        for cycle in range(-(-count // len(rows)))
    ]
    return np.concatenate(cycles)[:count]
