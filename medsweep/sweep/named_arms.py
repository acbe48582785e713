"""What is refused in any section of a sweep file that names arms by their parts."""

from collections.abc import Iterable, Sequence

from medsweep.errors import nearest
from medsweep.sweep.file import Sweep
from medsweep.yamlfile import Key

Places = Iterable[tuple[Key, str]]
"""Every arm that a section names, with its keys inside the section."""


def check_known(sweep: Sweep, section: str, places: Places, arms: Sequence[str]) -> None:
    """Refuse names that no arm has.

    Raises:
        UserError: with file, line and the nearest name.
    """
    for keys, arm in places:
        if arm not in arms:
            raise sweep.error((section, *keys), f"no arm is called {arm!r}; {nearest(arm, arms)}")


def check_each_once(sweep: Sweep, section: str, places: Places) -> None:
    """Refuse the control, and arms with two parts.

    Raises:
        UserError: with file and line, and the part that the arm has already.
    """
    named: dict[str, str] = {}
    # in the order of the file, so that the later of two places is the one that is told
    for keys, arm in sorted(places, key=lambda place: sweep.yaml.line((section, *place[0]))):
        if arm == sweep.file.control:
            text = f"{arm!r} is the control, which has no pool; name an arm with one"
            raise sweep.error((section, *keys), text)
        if arm in named:
            text = f"{arm!r} is named as {named[arm]} too; {keys[0]} takes an arm of its own"
            raise sweep.error((section, *keys), text)
        named[arm] = str(keys[0])
