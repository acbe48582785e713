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
from medsweep.store.bucket_lease import BucketLease
from medsweep.store.bucket_store import BucketStore
from medsweep.store.lease import Holder, Lease, holder_of, is_live
from medsweep.store.store import Store

PRESENT = ".present"
"""Folder of the store: ``.present/WORK-ID``, in a bucket ``.present/WORK/ID.json``."""
Work = Literal["run", "gc"]


@contextmanager
def announced(store: Store, work: Work) -> Iterator[None]:
    """Say for a while that this process runs trials in the store, or deletes from it.

    Raises:
        UserError: the other kind of work is going on there, or a bucket does not answer.
    """
    said = _said_in_bucket(store, work) if isinstance(store, BucketStore) else _said_in_folder(store.root, work)
    with said:
        require_no(store, "gc" if work == "run" else "run")
        yield


@contextmanager
def _said_in_folder(root: Path, work: Work) -> Iterator[None]:
    folder = root / PRESENT / f"{work}-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    lease = Lease(folder)
    try:
        yield
    finally:
        lease.release()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _said_in_bucket(store: BucketStore, work: Work) -> Iterator[None]:
    lease = BucketLease(store.bucket, f"{PRESENT}/{work}/{uuid.uuid4().hex}.json", store.watch)
    try:
        yield
    finally:
        lease.release(published=True)


def require_no(store: Store, work: Work) -> None:
    """Raise UserError, with host and process, while somebody does ``work`` in the store."""
    for holder in at_work(store, work):
        who = "a process" if holder is None else f"process {holder.pid} on {holder.host}"
        if work == "run":
            does = f"runs a sweep in the store {store} and may need what would be deleted"
        else:
            does = f"deletes what nobody needs from the store {store} (medsweep gc)"
        raise UserError(f"{who} {does}; wait for its end, or stop it")


def at_work(store: Store, work: Work) -> Iterator[Holder | None]:
    """Those that say so and live; in a bucket, the word of another machine is watched until it moves or is stale."""
    if isinstance(store, BucketStore):
        found = store.watch.living(f"{PRESENT}/{work}")
        yield from () if found is None else (found[1],)
        return
    for folder in present(store.root):
        if folder.name.startswith(f"{work}-") and is_live(folder):
            yield holder_of(folder)


def present(root: Path) -> list[Path]:
    """Folders of all that said so, those included whose process died without taking its word back."""
    folder = root / PRESENT
    return sorted(folder.iterdir()) if folder.is_dir() else []
