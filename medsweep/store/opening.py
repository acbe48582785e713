"""Opens a store wherever it is: the one place that knows of both kinds."""

import os
from pathlib import Path
from typing import Literal

from medsweep.store.bucket import Bucket
from medsweep.store.bucket_store import MARK, BucketStore, work_folder
from medsweep.store.cache import CacheSpec, cache_spec
from medsweep.store.location import BucketUrl, Location
from medsweep.store.store import Store

Purpose = Literal["plan", "run", "read"]


def open_store(where: Location, to: Purpose) -> Store:
    """Open a store to ``run`` trials in it, to ``plan`` (it need not be there), or to ``read`` (it must be).

    Raises:
        UserError: it cannot be opened so.
    """
    if isinstance(where, BucketUrl):
        return BucketStore.in_bucket(where, writes=to == "run", must_be=to == "read")
    return {"plan": Store.open, "run": Store.create, "read": Store.existing}[to](where)


def is_there(where: Location) -> bool:
    """Whether there is a store. Raises UserError: a bucket does not answer."""
    return Bucket(where).tag(MARK) is not None if isinstance(where, BucketUrl) else where.is_dir()


def store_at(where: Location) -> Store:
    """The store that another process has opened to work in it."""
    return BucketStore(Bucket(where)) if isinstance(where, BucketUrl) else Store(where)


def cache_for(root: Path | None, where: Location) -> CacheSpec | None:
    """The cache that a user asks for; for a bucket there always is one, since trials cannot read from it.

    Raises:
        UserError: as ``cache_spec``.
    """
    if isinstance(where, BucketUrl):
        return cache_spec(root or work_folder() / "copies", Path(os.devnull))
    return cache_spec(root, where)
