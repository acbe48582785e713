"""What a plan learned of data and folders, kept in ``STORE/plans`` for those who read results where these are gone."""

import hashlib
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from medsweep.files import read_only_is_fine, write_json
from medsweep.store.store import Store

T = TypeVar("T")


def kept_path(store: Store, kind: str, key: str) -> Path:
    """Where the record of a ``kind`` is, of what ``key`` describes in full."""
    return store.root / "plans" / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def read_kept(record: type[T], path: Path) -> T | None:
    """The record; None where there is none that this version can read."""
    try:
        return TypeAdapter(record).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def keep(record: object, path: Path, store: Store) -> None:
    """Write the record, or do without where there is no store yet or this process may not write."""
    if not store.is_there:
        return
    with read_only_is_fine():
        path.parent.mkdir(exist_ok=True)
        write_json(path, TypeAdapter(type(record)).dump_python(record, mode="json"))
        store.shared(path, if_allowed=True)
