"""Training patients that a study leaves out: those beyond the small training part of a fold.

No generator, reference or arm has seen them, and nobody is tested or watched on them.
"""

from collections.abc import Sequence

from medsweep.data.folds import Fold, split
from medsweep.errors import UserError


def whole(fold: Fold) -> Fold:
    """The fold with all of its training patients."""
    return fold.model_copy(update={"patients": None})


def left_out(what: str, patients: Sequence[str], fold: Fold) -> tuple[str, ...]:
    """Training patients of ``fold`` beyond the small training part that ``fold.patients`` asks for, sorted.

    Args:
        what: who asks, for the error.
        patients: all patients of the prepared slices.
        fold: how they are cut.

    Raises:
        UserError: nobody is left out.
    """
    train = split(patients, fold).train
    if not (others := tuple(sorted(set(split(patients, whole(fold)).train) - set(train)))):
        raise UserError(
            f"{what} finds no training patient left out of the {len(train)} in use; set data.patients below "
            f"{len(train)}"
        )
    return others
