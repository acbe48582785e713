"""Folds of patients, never of slices: deterministic, and checked wherever ids meet.

A case is one volume with its labels. Where a patient has several, as several visits, a case is called ``PATIENT/CASE``,
and all of them stand on one side of every cut.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from medsweep.config import Config
from medsweep.errors import UserError, nearest

Scheme = Literal["k-fold", "hold-out", "file"]

_READ_BY: Final = {"of": ("k-fold", 1), "test_share": ("hold-out", 0.0), "given_patients": ("file", None)}
"""The scheme that reads a field of ``Fold``, and the value of the field under the other schemes."""


def patient_of(case: str) -> str:
    """The patient whose case this is: what stands before the slash of the case's id, else the whole id.

    >>> patient_of("anna/visit-2"), patient_of("p7")
    ('anna', 'p7')
    """
    return case.partition("/")[0]


def patients_of(cases: Iterable[str]) -> tuple[str, ...]:
    """The patients of ``cases``, once each, sorted."""
    return tuple(sorted({patient_of(case) for case in cases}))


class Split(Config):
    """Ids of the cases of one fold in three groups, each sorted; no patient is in two groups."""

    identity_is_kept: ClassVar[bool] = True

    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    """Patients that a training may be watched or stopped on. Nothing is fitted on them and they are not tested."""
    test: tuple[str, ...]

    @field_validator("train", "validation", "test")
    @classmethod
    def _sorted(cls, patients: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(patients))

    @model_validator(mode="after")
    def _groups_are_apart(self) -> "Split":
        for name, patients in self.groups.items():
            if not patients and name != "validation":
                raise ValueError(f"group {name!r} is empty; name at least one patient")
            if (twice := next((a for a, b in pairwise(patients) if a == b), None)) is not None:
                raise ValueError(f"group {name!r} names patient {twice!r} twice; remove one")
        for (first, patients), (second, others) in combinations(self.groups.items(), 2):
            if shared := set(patients_of(patients)) & set(patients_of(others)):
                raise ValueError(f"patient {min(shared)!r} is in {first!r} and in {second!r}; leave it in one group")
        return self

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The patients by the name of their group."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


class Fold(Config):
    """How patients are split: by which scheme, which of its folds, and how its training patients are divided."""

    index: int = Field(ge=0)
    of: int = Field(default=1, ge=1)
    """Number of folds that ``k-fold`` cuts the patients into; leave-one-out has as many as there are patients."""
    seed: int = 0
    """Seed of the shuffle before cutting, the same for every fold of a sweep."""
    patients: int | None = Field(default=None, ge=1)
    """Size of the small training set, drawn from the training patients; draws are nested. None takes all."""
    scheme: Scheme = "k-fold"
    """``k-fold`` tests fold ``index`` of ``of``. ``hold-out`` tests ``test_share`` of a shuffle of its own for every
    index. ``file`` takes ``given_patients``."""
    test_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the patients that ``hold-out`` tests, at least one patient."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training patients set aside for validation; above 0, at least one patient."""
    given_patients: Split | None = None
    """The groups as a committed file has them."""

    @property
    def has_validation(self) -> bool:
        """Whether there are validation patients, drawn or given."""
        return self.validation > 0 or bool(self.given_patients and self.given_patients.validation)

    @model_validator(mode="after")
    def _scheme_and_fields_fit(self) -> "Fold":
        for name, (scheme, neutral) in _READ_BY.items():
            if (getattr(self, name) == neutral) == (scheme == self.scheme):
                verb = "needs" if scheme == self.scheme else "does not read"
                raise ValueError(f"fold scheme {self.scheme!r} {verb} {name}")
        if self.scheme == "k-fold" and self.index >= self.of:
            raise ValueError(f"fold index must be below the number of folds ({self.of}), got {self.index}")
        if self.given_patients is not None and self.given_patients.validation and self.validation > 0:
            raise ValueError(
                f"validation patients are given, so no share of {self.validation} is drawn; remove one of them"
            )
        return self


def split(patients: Sequence[str], fold: Fold) -> Split:
    """Split the cases of ``patients`` into the groups of ``fold``, a patient with all its cases.

    Order is by sha256 of (seed, id): it depends on neither the file system nor a random generator's version, and a
    patient keeps its place among the others when patients are added. First the test patients are taken, then validation
    from the end of the rest. The small training set is the head of what is left, so the 20 are among the 50 and neither
    test nor validation depends on their number.

    Raises:
        ValueError: fewer patients than folds, a group that would be empty, a small training set larger than the
            training group, or a given patient that is not among ``patients``.
    """
    cases = _by_patient(patients, fold)
    train, given_validation, test = _outer(tuple(cases), fold)
    trained = len(train) - _count(fold.validation, len(train))
    if trained < 1:
        raise ValueError(
            f"a validation share of {fold.validation:g} leaves none of the {len(train)} training patients to train on; "
            "lower replicates.validation"
        )
    train, validation = train[:trained], (*train[trained:], *given_validation)
    if fold.patients is not None:
        if fold.patients > len(train):
            raise ValueError(f"data.patients asks for {fold.patients} training patients, the fold has {len(train)}")
        train = train[: fold.patients]
    groups: dict[str, Sequence[str]] = {"train": train, "validation": validation, "test": test}
    return Split(**{name: tuple(case for one in of for case in cases[one]) for name, of in groups.items()})


def _by_patient(cases: Iterable[str], fold: Fold) -> dict[str, list[str]]:
    """The cases of each patient; of a file, those that it names.

    Raises:
        ValueError: the file names a case that is not among ``cases``.
    """
    known = sorted(set(cases))
    if (given := fold.given_patients) is not None:
        require_known(given, known)
        known = [case for group in given.groups.values() for case in group]
    by_patient: dict[str, list[str]] = {}
    for case in known:
        by_patient.setdefault(patient_of(case), []).append(case)
    return by_patient


def with_all_patients(fold: Fold) -> Fold:
    """The fold whose training set is no longer small: all of its training patients."""
    return fold.model_copy(update={"patients": None})


def unused_patients(what: str, patients: Sequence[str], fold: Fold) -> tuple[str, ...]:
    """Training patients of ``fold`` that its small training set leaves unused, sorted; ``what`` asks for them.

    Raises:
        UserError: no patient is unused.
    """
    train = split(patients, fold).train
    unused = set(split(patients, with_all_patients(fold)).train) - set(train)
    if not unused:
        count = len(patients_of(train))
        raise UserError(
            f"{what} finds no training patient left out of the {count} in use; set data.patients below {count}"
        )
    return tuple(sorted(unused))


def _outer(patients: Sequence[str], fold: Fold) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Training patients in drawing order, validation patients of the file, test patients."""
    if (given := fold.given_patients) is not None:
        drawn = _shuffled(patients_of(given.train), f"{fold.seed}")
        return drawn, patients_of(given.validation), list(patients_of(given.test))
    if fold.scheme == "hold-out":
        order = _shuffled(patients, f"{fold.seed}/hold-out/{fold.index}")
        test = order[: _count(fold.test_share, len(order))]
        if len(test) == len(order):
            raise ValueError(
                f"a test share of {fold.test_share:g} leaves none of {len(order)} patients to train on; "
                "lower replicates.test_share"
            )
    else:
        order = _shuffled(patients, f"{fold.seed}")
        if len(order) < fold.of:
            raise ValueError(f"{len(order)} patients cannot fill {fold.of} folds; lower replicates.folds")
        test = order[fold.index :: fold.of]
    tested = set(test)
    return [patient for patient in order if patient not in tested], (), test


def spelled_out(groups: Mapping[str, Sequence[str]], cases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """``groups`` with the cases that their names mean: a case, all cases of a patient, or a case without its patient.

    A name that means none of them stays as it is.
    """
    meant: dict[str, set[str]] = {}
    for case in cases:
        for name in (case, patient_of(case), case.partition("/")[2]):
            meant.setdefault(name, set()).add(case)
    return {
        group: tuple(case for name in names for case in sorted(meant.get(name, {name})))
        for group, names in groups.items()
    }


def require_known(groups: Split, patients: Iterable[str]) -> None:
    """Refuse groups that name a patient the data do not have.

    Raises:
        ValueError: naming the group, the patient and the nearest one there is.
    """
    ids = set(patients)
    for name, members in groups.groups.items():
        if (unknown := next((patient for patient in members if patient not in ids), None)) is not None:
            raise ValueError(f"group {name!r} names {unknown!r}, which is no patient; {nearest(unknown, ids)}")


def _shuffled(patients: Iterable[str], key: str) -> list[str]:
    return sorted(set(patients), key=lambda patient: hashlib.sha256(f"{key}/{patient}".encode()).hexdigest())


def _count(share: float, among: int) -> int:
    """``share`` of ``among``, rounded to the nearest; at least 1 where a share is asked for."""
    return max(1, math.floor(share * among + 0.5)) if share > 0 else 0
