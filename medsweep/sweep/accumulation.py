"""What is refused in the section ``accumulation:`` before anything is trained for it."""

from collections.abc import Sequence

from medsweep.sweep.file import Sweep
from medsweep.sweep.named_arms import check_each_once, check_known


def check_accumulation(sweep: Sweep, arms: Sequence[str]) -> None:
    """Refuse unknown arms, arms in two cells, the control, and sizes that are none.

    Raises:
        UserError: with file, line and what to write instead.
    """
    section = sweep.file.accumulation
    if section is None:
        return
    check_known(sweep, "accumulation", section.places(), arms)
    check_each_once(sweep, "accumulation", section.places())
    for arm, size_px in section.perturbed.items():
        if not size_px > 0:
            text = f"the size of a perturbation in px is above 0, got {size_px:g}; new_masks is the arm without any"
            raise sweep.error(("accumulation", "perturbed", arm), text)
