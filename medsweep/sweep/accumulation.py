"""What is refused in the section ``accumulation:`` before anything is trained for it."""

from collections.abc import Sequence

from medsweep.errors import nearest
from medsweep.sweep.file import Sweep


def check_accumulation(sweep: Sweep, arms: Sequence[str]) -> None:
    """Refuse unknown arms, arms in two cells, the control, and sizes that are none.

    Raises:
        UserError: with file, line and what to write instead.
    """
    section = sweep.file.accumulation
    if section is None:
        return
    named: dict[str, str] = {}
    # in the order of the file, so that the later of two cells is the one that is told
    for keys, arm in sorted(section.places(), key=lambda named: sweep.yaml.lines["accumulation", *named[0]]):
        place = ("accumulation", *keys)
        if arm not in arms:
            raise sweep.error(place, f"no arm is called {arm!r}; {nearest(arm, arms)}")
        if arm in named:
            raise sweep.error(place, f"{arm!r} is named as {named[arm]} too; each cell takes an arm of its own")
        if arm == sweep.file.control:
            raise sweep.error(place, f"{arm!r} is the control, which has no pool; name an arm with one")
        named[arm] = keys[0]
    for arm, size_px in section.perturbed.items():
        if not size_px > 0:
            text = f"the size of a perturbation in px is above 0, got {size_px:g}; new_masks is the arm without any"
            raise sweep.error(("accumulation", "perturbed", arm), text)
