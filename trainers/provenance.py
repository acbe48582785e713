"""Which patients something was fitted on, written beside it and checked wherever it is used again."""

import json
from collections.abc import Sequence
from pathlib import Path

from medsweep.errors import UserError

FITTED_ON = "fitted_on.json"


def write_fitted_on(folder: Path, patients: Sequence[str]) -> None:
    """Record the training patients of what lies in ``folder``, sorted."""
    (folder / FITTED_ON).write_text(json.dumps(sorted(patients), indent=1) + "\n")


def fitted_on(folder: Path) -> frozenset[str]:
    """Patients that what lies in ``folder`` was fitted on; empty for what was not fitted, such as prepared slices."""
    path = folder / FITTED_ON
    return frozenset(json.loads(path.read_text())) if path.exists() else frozenset()


def require_unseen(folder: Path, test: Sequence[str]) -> None:
    """Refuse an input that was fitted on test patients.

    Raises:
        UserError: a test patient was seen.
    """
    if seen := fitted_on(folder) & set(test):
        raise UserError(
            f"{folder} was fitted on {len(seen)} test patients of this fold, first {min(seen)!r}; "
            "its results would be worthless: run its stage again for this fold"
        )


def require_within(role: str, folder: Path, train: Sequence[str]) -> None:
    """Refuse a generator that saw a patient outside the fold's training part: it would leak it into the arm.

    Raises:
        UserError: naming the first such patient.
    """
    if strangers := fitted_on(folder) - set(train):
        raise UserError(
            f"the {role} generator was fitted on {len(strangers)} patients outside the fold's training part, first "
            f"{min(strangers)!r}; sample each fold from its own generator"
        )
