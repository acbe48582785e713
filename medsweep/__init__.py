"""What a sweep is, which trials it needs, where they run and what they leave.

``open`` is the way in for Python. Nothing heavy is imported before it is called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medsweep.study.opened import OpenedSweep

__all__ = ["__version__", "open"]
__version__ = "0.2.0"


def open(sweep: str | Path, store: str | Path = "store") -> "OpenedSweep":
    """A sweep and what a store holds of it.

    Args:
        sweep: path of a sweep file, or the name of one that medsweep brings along, such as ``quickstart``.
        store: folder of the finished trials, or the URL of a bucket. It need not be there yet:
            ``run`` makes it, and looking makes nothing.

    Raises:
        UserError: anything in the file, the data or the store that you can mend, in one line.
    """
    from medsweep.store.location import location
    from medsweep.study.opened import OpenedSweep

    return OpenedSweep(Path(sweep), location(str(store)))
