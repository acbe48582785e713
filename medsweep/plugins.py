"""What installed packages bring along, by the entry points that name it."""

from collections.abc import Collection
from importlib.metadata import entry_points
from typing import TypeVar

from medsweep.errors import UserError

Brought = TypeVar("Brought")


def brought_along(group: str, kind: type[Brought], word: str, taken: Collection[str]) -> dict[str, Brought]:
    """The records of ``kind`` that entry points of a group name, by the names of these entry points.

    ``word`` is what messages call such a record, and ``taken`` are names of our own.

    Raises:
        UserError: one cannot be imported, is no such record, or has a name that is taken.
    """
    found: dict[str, Brought] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        package = "an unknown package" if point.dist is None else point.dist.name
        what = f"{word} {point.name!r} of {package} ({point.value})"
        if point.name in taken or point.name in found:
            raise UserError(f"{what} has a name that is taken; give its entry point another one")
        try:
            record = point.load()
        except Exception as error:
            raise UserError(f"{what} cannot be imported: {error!r}; mend or uninstall {package}") from error
        if not isinstance(record, kind):
            raise UserError(
                f"{what} is a {type(record).__name__} and no {kind.__name__}; its entry point must name one"
            )
        found[point.name] = record
    return found
