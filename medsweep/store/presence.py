"""Who is at work in a store: a run says so before its first lease, so that nothing it is about to read is deleted.

Both sides first say what they do and then look at the other, so that of two that begin together at least one sees it.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from medsweep.errors import UserError
from medsweep.store.lease import Lease, holder_of, is_live

PRESENT = ".present"
Work = Literal["run", "gc"]


@contextmanager
def announced(root: Path, work: Work) -> Iterator[None]:
    """Say for a while that this process runs trials in the store ``root``, or deletes from it.

    Raises:
        UserError: the other kind of work is going on there.
    """
    folder = root / PRESENT / f"{work}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    lease = Lease(folder)
    try:
        require_no(root, "gc" if work == "run" else "run")
        yield
    finally:
        lease.release()
        shutil.rmtree(folder, ignore_errors=True)


def require_no(root: Path, work: Work) -> None:
    """Raise UserError, with host and process, while somebody does ``work`` in the store ``root``."""
    for folder in present(root):
        if folder.name.startswith(f"{work}-") and is_live(folder):
            holder = holder_of(folder)
            who = "a process" if holder is None else f"process {holder.pid} on {holder.host}"
            if work == "run":
                does = f"runs a sweep in the store {root} and may need what would be deleted"
            else:
                does = f"deletes what nobody needs from the store {root} (medsweep gc)"
            raise UserError(f"{who} {does}; wait for its end, or stop it")


def present(root: Path) -> list[Path]:
    """Folders of all that said so, those included whose process died without taking its word back."""
    folder = root / PRESENT
    return sorted(folder.iterdir()) if folder.is_dir() else []
