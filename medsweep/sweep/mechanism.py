"""What is refused in the section ``mechanism:`` before anything is trained for it."""

from collections.abc import Sequence

from medsweep.errors import nearest
from medsweep.mechanism import CELLS, Mechanism
from medsweep.sweep.file import Sweep
from medsweep.sweep.named_arms import check_known


def check_mechanism(sweep: Sweep, arms: Sequence[str]) -> None:
    """Refuse unknown arms, and parts that do not make up an explanation.

    Raises:
        UserError: with file, line and what to write instead.
    """
    section = sweep.file.mechanism
    if section is None:
        return
    check_known(sweep, "mechanism", section.places(), arms)
    _check_levels(sweep, section)
    _check_ladder(sweep, section)
    _check_lattice(sweep, section)


def _check_levels(sweep: Sweep, section: Mechanism) -> None:
    if section.exposure is None and section.ceiling is None and not section.ladder:
        text = "nothing to hold explain against; name exposure, ceiling or ladder"
        raise sweep.error(("mechanism",), text)
    roles = {"explain": section.explain, "exposure": section.exposure, "ceiling": section.ceiling}
    seen: dict[str, str] = {}
    for role, arm in roles.items():
        if arm is not None and arm in seen:
            text = f"{role} is the same arm as {seen[arm]}, {arm!r}; each takes an arm of its own"
            raise sweep.error(("mechanism", role), text)
        if arm is not None:
            seen[arm] = role
    control = sweep.file.control
    if control == section.explain:
        raise sweep.error(("mechanism", "explain"), f"{control!r} is the control; name a synthetic arm")


def _check_ladder(sweep: Sweep, section: Mechanism) -> None:
    ladder, place = section.ladder, ("mechanism", "ladder")
    for cause, arm in section.steps.items():
        if arm not in ladder[1:]:
            text = f"no step of the ladder leads to {arm!r}; {nearest(arm, ladder[1:])}"
            raise sweep.error(("mechanism", "steps", cause), text)
    if not ladder:
        return
    if len(ladder) < 2 or len(set(ladder)) < len(ladder):
        raise sweep.error(place, f"a ladder has two arms or more, each once; got {', '.join(ladder)}")
    if ladder[-1] != section.explain:
        raise sweep.error(place, f"the last arm must be explain, {section.explain!r}; got {ladder[-1]!r}")


def _check_lattice(sweep: Sweep, section: Mechanism) -> None:
    lattice, place = section.lattice, ("mechanism", "lattice")
    if not lattice:
        return
    for cell in lattice:
        if cell not in CELLS:
            raise sweep.error((*place, cell), f"unknown cell {cell!r}; {nearest(cell, list(CELLS))}")
    missing = [cell for cell in CELLS if cell not in lattice]
    if missing:
        raise sweep.error(place, f"shares need all seven cells; add {', '.join(missing)}")
    if section.ceiling is None:
        raise sweep.error(place, "the eighth cell is ceiling, new real slices; name its arm as mechanism.ceiling")
    named: dict[str, str] = {section.ceiling: "ceiling", section.explain: "explain"}
    for cell, arm in lattice.items():
        if arm in named:
            raise sweep.error(
                (*place, cell), f"{arm!r} is named as {named[arm]} too; each cell takes an arm of its own"
            )
        named[arm] = cell
