"""Which patients something was fitted on, written beside it and checked wherever it is used again."""

import json
from collections.abc import Sequence
from pathlib import Path

from medsweep.data.folds import patients_of
from medsweep.errors import UserError

FITTED_ON = "fitted_on.json"


def write_fitted_on(folder: Path, patients: Sequence[str]) -> None:
    """Record the training patients of what lies in ``folder``, sorted."""
    (folder / FITTED_ON).write_text(json.dumps(sorted(patients), indent=1) + "\n")


def read_fitted_on(folder: Path) -> frozenset[str]:
    """Patients that what lies in ``folder`` was fitted on.

    Empty for what was not fitted, such as slices scaled volume by volume; slices scaled by statistics of a cohort were.
    """
    path = folder / FITTED_ON
    return frozenset(json.loads(path.read_text())) if path.exists() else frozenset()


def require_unseen(folder: Path, held_out: Sequence[str]) -> None:
    """Refuse an input that was fitted on the fold's test or validation patients.

    Raises:
        UserError: a held-out patient was seen.
    """
    if seen := set(patients_of(read_fitted_on(folder))) & set(patients_of(held_out)):
        raise UserError(
            f"{folder} was fitted on {len(seen)} held-out patients of this fold, first {min(seen)!r}; "
            "its results would be worthless: run its stage again for this fold"
        )


def require_within(what: str, folder: Path, train: Sequence[str]) -> None:
    """Refuse an input (``what`` in words) that saw a patient outside the fold's training group.

    Raises:
        UserError: naming the first such patient.
    """
    if strangers := read_fitted_on(folder) - set(train):
        raise UserError(
            f"the {what} was fitted on {len(strangers)} patients outside the fold's training group, first "
            f"{min(strangers)!r}; every fold needs its own {what}"
        )
