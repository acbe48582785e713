"""Folds of patients, never of slices: deterministic, and checked wherever ids meet."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, model_validator

from medsweep.config import Config


class Fold(Config):
    """Which of ``of`` parts of the patients is tested; the others train."""

    index: int = Field(ge=0)
    of: int = Field(ge=2)
    seed: int = 0
    """Seed of the shuffle before cutting, the same for every fold of a sweep."""
    patients: int | None = Field(default=None, ge=1)
    """Size of the small training set, drawn from the training patients; draws are nested. None takes all."""

    @model_validator(mode="after")
    def _index_below_count(self) -> "Fold":
        if self.index >= self.of:
            raise ValueError(f"fold index must be below the number of folds ({self.of}), got {self.index}")
        return self


@dataclass(frozen=True)
class Split:
    """Patient ids of one fold, each part sorted; the parts never meet."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        shared = set(self.train) & set(self.test)
        if shared:
            raise ValueError(f"patients both trained on and tested on: {sorted(shared)[:5]}")


def split(patients: Sequence[str], fold: Fold) -> Split:
    """Cut the sorted, shuffled ``patients`` into ``fold.of`` parts and test on part ``fold.index``.

    Order is by sha256 of (seed, id): it depends on neither the file system nor a random generator's version, and a
    patient keeps its place among the others when patients are added. The small training set is the head of that
    order, so the 20 are among the 50.

    Raises:
        ValueError: fewer patients than folds, or a small training set larger than the training part.
    """
    order = sorted(set(patients), key=lambda patient: hashlib.sha256(f"{fold.seed}/{patient}".encode()).hexdigest())
    if len(order) < fold.of:
        raise ValueError(f"{len(order)} patients cannot fill {fold.of} folds; lower replicates.folds")
    test = order[fold.index :: fold.of]
    train = [patient for patient in order if patient not in set(test)]
    if fold.patients is not None:
        if fold.patients > len(train):
            raise ValueError(f"data.patients asks for {fold.patients} training patients, the fold has {len(train)}")
        train = train[: fold.patients]
    return Split(tuple(sorted(train)), tuple(sorted(test)))
