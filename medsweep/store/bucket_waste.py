"""What nobody needs of a store in a bucket, and how it is deleted."""

import json
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import TypeAlias

from medsweep.identity import short
from medsweep.store.bucket import Entry
from medsweep.store.bucket_lease import LEASES
from medsweep.store.bucket_store import BucketStore
from medsweep.store.bucket_trial import FILES, PUBLISHED, WORKING
from medsweep.store.manifest import DamagedError
from medsweep.store.presence import PRESENT
from medsweep.store.store import DAMAGED
from medsweep.store.waste import ABANDONED_SECONDS, ASIDE, NOTES, RETRIED, TEMPORARY, UNFINISHED, UNREACHABLE, Waste

Trial: TypeAlias = tuple[str, str]
"""Stage and digest."""
Objects: TypeAlias = Mapping[Trial, list[Entry]]


def find_in_bucket(store: BucketStore, needed: Collection[str], older_than: float | None) -> Iterator[Waste]:
    """As ``collection.find_waste``; what a living worker holds is left out."""
    store.watch.living(LEASES, PRESENT)  # from here on it is known whose workers are dead
    published, files = _by_trial(store, PUBLISHED), _by_trial(store, FILES)
    for (stage, digest), entries in published.items():
        if digest not in needed:
            yield _waste(UNREACHABLE, store, f"{stage}/{digest}", [*entries, *files.get((stage, digest), ())])
    yield from _unfinished(store, needed, published, older_than)
    for room in (DAMAGED, RETRIED):
        yield from (_waste(ASIDE, store, f"{room}/{name}", entries) for name, entries in _by_name(store, room).items())
    for entry in store.bucket.entries("attempts"):
        path = PurePosixPath(entry.name)
        waits = {short(digest) for digest in needed if (path.parent.name, digest) not in published}
        if path.suffix == ".jsonl" and path.stem not in waits:
            yield _waste(NOTES, store, entry.name, [entry])
    yield from (_waste(TEMPORARY, store, entry.name, [entry]) for entry in _left_over(store, needed, published, files))


def _unfinished(
    store: BucketStore, needed: Collection[str], published: Collection[Trial], older_than: float | None
) -> Iterator[Waste]:
    for (stage, digest), entries in _by_trial(store, WORKING).items():
        if store.leased(stage, digest):
            continue
        resumable = digest in needed and (stage, digest) not in published
        unfinished = _waste(UNFINISHED, store, f"{stage}/{digest}.part", entries, _step(store, stage, digest))
        if not resumable or (older_than is not None and time.time() - unfinished.newest > older_than):
            yield unfinished


def _step(store: BucketStore, stage: str, digest: str) -> str:
    found = store.bucket.read(f"{WORKING}/{stage}/{digest}.json")
    try:
        return "no checkpoint" if found is None else f"checkpoint of step {json.loads(found[0])['step']}"
    except (ValueError, KeyError, TypeError):
        return "no checkpoint"


def _left_over(store: BucketStore, needed: Collection[str], published: Objects, files: Objects) -> Iterator[Entry]:
    """Files of an upload that was broken off or came second, leases that nobody takes again, words of the dead."""
    kept = [trial for trial in published if trial[1] in needed]
    named = {
        (found.stage, found.digest): set(found.files.values())
        for found in store.look(kept).values()
        if not isinstance(found, DamagedError)
    }
    for trial, entries in files.items():
        if trial in named:
            yield from (entry for entry in entries if entry.name.rpartition("/")[2] not in named[trial])
        elif trial not in published and not store.leased(*trial):
            yield from entries
    for trial, entries in _by_trial(store, LEASES).items():
        if (trial[1] not in needed or trial in published) and not store.leased(*trial):
            yield from entries
    for entry in store.bucket.entries(LEASES):
        if entry.name.count("/") == 1 and time.time() - entry.changed > ABANDONED_SECONDS:
            yield entry
    yield from (entry for entry in store.bucket.entries(PRESENT) if not store.watch.lives(entry.name, entry.tag))


def living_in_bucket(store: BucketStore) -> Trial | None:
    """A trial that a living worker holds; leases of other machines are watched until they move or are stale."""
    found = store.watch.living(LEASES)
    return None if found is None else _trial(found[0])


def remove_from_bucket(store: BucketStore, waste: Waste) -> None:
    """Delete its objects: what says that a trial is there goes first."""
    first, rest = waste.objects[:1], waste.objects[1:]
    store.bucket.delete(first)
    store.bucket.delete(rest)
    if waste.kind == UNREACHABLE:
        shutil.rmtree(waste.path, ignore_errors=True)
    store.look_again()


def _by_trial(store: BucketStore, top: str) -> dict[Trial, list[Entry]]:
    """Objects of each trial below a folder of the bucket, the JSON that names the others first."""
    found: dict[Trial, list[Entry]] = {}
    for entry in store.bucket.entries(top):
        if (trial := _trial(entry.name)) is not None:
            found.setdefault(trial, []).append(entry)
    return {trial: sorted(entries, key=lambda entry: entry.name.count("/")) for trial, entries in found.items()}


def _trial(name: str) -> Trial | None:
    """The trial that ``TOP/STAGE/DIGEST.json`` or ``TOP/STAGE/DIGEST/...`` is about."""
    parts = name.split("/")
    return (parts[1], parts[2].removesuffix(".json")) if len(parts) > 2 else None


def _by_name(store: BucketStore, room: str) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in store.bucket.entries(room):
        found.setdefault(entry.name.split("/")[1], []).append(entry)
    return found


def _waste(kind: str, store: BucketStore, name: str, entries: Iterable[Entry], remark: str = "") -> Waste:
    listed = list(entries)
    return Waste(
        kind,
        store.root / name,
        sum(entry.size for entry in listed),
        max(entry.changed for entry in listed),
        remark,
        tuple(entry.name for entry in listed),
    )
