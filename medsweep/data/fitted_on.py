"""Which patients something was fitted on, written beside it and checked wherever it is used again."""

import json
from collections.abc import Sequence
from pathlib import Path

from medsweep.data.folds import patients_of
from medsweep.errors import UserError

FITTED_ON = "fitted_on.json"
COHORT_FILE = "cohort.json"
"""Beside prepared slices: what they were cut from, and by which constants they were scaled."""


def write_fitted_on(folder: Path, patients: Sequence[str]) -> None:
    """Record the training patients of what lies in ``folder``, sorted."""
    (folder / FITTED_ON).write_text(json.dumps(sorted(patients), indent=1) + "\n")


def read_fitted_on(folder: Path, what: str | None = None) -> frozenset[str]:
    """Patients that what lies in ``folder`` (``what`` in words) was fitted on.

    Prepared slices say nothing where each volume was scaled by itself, since they were fitted on nobody. All else does.

    Raises:
        UserError: nothing there says it.
    """
    path = folder / FITTED_ON
    if path.exists():
        return frozenset(json.loads(path.read_text()))
    if _fitted_on_nobody(folder):
        return frozenset()
    raise UserError(
        f"{f'the {what}' if what else folder} left no {FITTED_ON}, so nobody knows whose slices it saw; let its stage "
        "write one (write_fitted_on), and run it again"
    )


def _fitted_on_nobody(folder: Path) -> bool:
    """Whether these are prepared slices without constants of a cohort."""
    about = folder / COHORT_FILE
    return about.exists() and json.loads(about.read_text(encoding="utf-8"))["constants"] is None


def require_unseen(folder: Path, held_out: Sequence[str]) -> None:
    """Refuse an input that was fitted on the fold's test or validation patients.

    Raises:
        UserError: a held-out patient was seen, or nobody knows whether one was.
    """
    if seen := set(patients_of(read_fitted_on(folder))) & set(patients_of(held_out)):
        raise UserError(
            f"{folder} was fitted on {len(seen)} held-out patients of this fold, first {min(seen)!r}; "
            "its results would be worthless: run its stage again for this fold"
        )


def require_within(what: str, folder: Path, train: Sequence[str]) -> None:
    """Refuse an input (``what`` in words) that saw a patient outside the fold's training group.

    Raises:
        UserError: naming the first such patient, or nobody knows whom it saw.
    """
    if strangers := read_fitted_on(folder, what) - set(train):
        raise UserError(
            f"the {what} was fitted on {len(strangers)} patients outside the fold's training group, first "
            f"{min(strangers)!r}; every fold needs its own {what}"
        )
