"""What nobody needs of a store in a folder, and how it is deleted."""

import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from medsweep.identity import short
from medsweep.store.lease import Lease, is_live
from medsweep.store.presence import present
from medsweep.store.store import DAMAGED, Store
from medsweep.store.waste import (
    ABANDONED_SECONDS,
    ASIDE,
    NOTES,
    RETRIED,
    TEMPORARY,
    TUNE,
    UNFINISHED,
    UNREACHABLE,
    Waste,
)  # fmt: skip

SWEEP_ROOMS = ("search", "rungs")
"""Folders in which each sweep has one of its own."""
OTHER_ROOMS = (DAMAGED, RETRIED, "attempts", "plans", "wandb", *SWEEP_ROOMS)
"""Folders that hold no trials."""

_PART = re.compile(r"[0-9a-f]{64}\.part").fullmatch
_TEMPORARY = re.compile(
    r"\..+\.\d+\.tmp|\.writable\.\d+|source-hashes\.json\.\d+\.part|\.[0-9a-f]{64}(\.part)?\.gone"
).fullmatch


def find_in_folder(store: Store, needed: Collection[str], older_than: float | None) -> Iterator[Waste]:
    """As ``collection.find_waste``."""
    published: dict[str, set[str]] = {}
    for stage in _stage_folders(store):
        names = store.listing(stage)
        published[stage] = set(names)
        yield from (_waste(UNREACHABLE, store.folder(stage, name)) for name in names if name not in needed)
    for stage, part in _parts(store):
        if is_live(part):
            continue
        digest, unfinished = part.name.removesuffix(".part"), _waste(UNFINISHED, part, _step(part))
        resumable = digest in needed and digest not in published[stage]
        if not resumable or (older_than is not None and time.time() - unfinished.newest > older_than):
            yield unfinished
    for kind, folder in ((TUNE, ".tune"), (ASIDE, DAMAGED), (ASIDE, RETRIED)):
        yield from (_waste(kind, path) for path in _children(store.root / folder))
    yield from (_waste(NOTES, path) for path in _settled_notes(store, needed, published))
    yield from (_waste(TEMPORARY, path) for path in _abandoned(store))


def living_in_folder(store: Store) -> tuple[str, str] | None:
    """Stage and digest of a trial that somebody is at, if there is one."""
    return next(((stage, part.name.removesuffix(".part")) for stage, part in _parts(store) if is_live(part)), None)


def remove_from_folder(waste: Waste) -> None:
    """Delete it. Raises LeaseHeldError: somebody has begun to work on it."""
    path = waste.path
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if waste.kind in (UNREACHABLE, UNFINISHED):
        hidden = path.with_name(f".{path.name}.gone")
        shutil.rmtree(hidden, ignore_errors=True)
        lease = Lease(path) if waste.kind == UNFINISHED else None
        path.rename(hidden)
        if lease is not None:
            lease.release(hidden)
        path = hidden
    shutil.rmtree(path)


def _stage_folders(store: Store) -> list[str]:
    """Folders that may hold trials, published or not."""
    names = [path.name for path in _children(store.root) if path.is_dir()]
    return [name for name in names if name not in OTHER_ROOMS and not name.startswith(".")]


def _parts(store: Store) -> Iterator[tuple[str, Path]]:
    for stage in _stage_folders(store):
        for name in sorted(filter(_PART, os.listdir(store.root / stage))):
            yield stage, store.root / stage / name


def _step(part: Path) -> str:
    steps = [int(path.name) for path in _children(part / "checkpoints") if path.name.isdigit()]
    return f"checkpoint of step {max(steps)}" if steps else "no checkpoint"


def _settled_notes(store: Store, needed: Collection[str], published: Mapping[str, set[str]]) -> Iterator[Path]:
    """Notes on trials that are published by now or that nobody needs."""
    for folder in _children(store.root / "attempts"):
        waiting = {short(digest) for digest in needed if digest not in published.get(folder.name, ())}
        yield from (path for path in _children(folder) if path.suffix == ".jsonl" and path.stem not in waiting)


def _abandoned(store: Store) -> Iterator[Path]:
    """Temporary files, half-deleted trials, and words of a run or gc, whose writer is gone."""
    yield from (path for path in present(store.root) if not is_live(path))
    folders = [store.root, *(store.root / name for name in ("plans", *_stage_folders(store)))]
    folders += [Path(folder) for name in SWEEP_ROOMS for folder, _, _ in os.walk(store.root / name)]
    for path in (path for folder in folders for path in _children(folder) if _TEMPORARY(path.name)):
        if path.name.endswith(".gone") or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            yield path


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _waste(kind: str, path: Path, remark: str = "") -> Waste:
    statuses = []
    inside = [f"{parent}/{name}" for parent, folders, files in os.walk(path) for name in (*folders, *files)]
    for name in (str(path), *inside):
        with suppress(FileNotFoundError):  # a living run may delete it at any moment
            statuses.append(os.lstat(name))
    # A look at a lease touches its folder, so folders tell no age unless there is nothing else.
    files = [status for status in statuses if not stat.S_ISDIR(status.st_mode)]
    newest = max((status.st_mtime for status in files or statuses), default=0.0)
    return Waste(kind, path, sum(status.st_blocks * 512 for status in statuses), newest, remark)
