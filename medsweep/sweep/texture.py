"""What is refused in the section ``texture:`` before anything is trained for it."""

from collections.abc import Sequence

from medsweep.sweep.file import Sweep
from medsweep.sweep.named_arms import check_each_once, check_known


def check_texture(sweep: Sweep, arms: Sequence[str]) -> None:
    """Refuse unknown arms, the control, and arms with two parts.

    Raises:
        UserError: with file, line and what to write instead.
    """
    section = sweep.file.texture
    if section is not None:
        check_known(sweep, "texture", section.places(), arms)
        check_each_once(sweep, "texture", section.places())
