"""What is refused in the section ``texture:`` before anything is trained for it."""

from collections.abc import Sequence

from medsweep.errors import nearest
from medsweep.sweep.file import Sweep


def check_texture(sweep: Sweep, arms: Sequence[str]) -> None:
    """Refuse unknown arms, and arms with two parts.

    Raises:
        UserError: with file, line and what to write instead.
    """
    section = sweep.file.texture
    if section is None:
        return
    seen: dict[str, str] = {sweep.file.control: "the control"} if isinstance(sweep.file.control, str) else {}
    for keys, arm in section.places():
        place = ("texture", *keys)
        if arm not in arms:
            raise sweep.error(place, f"no arm is called {arm!r}; {nearest(arm, arms)}")
        if arm in seen:
            raise sweep.error(place, f"{arm!r} is {seen[arm]} too; {keys[0]} takes an arm of its own")
        seen[arm] = str(keys[0])
