"""Upkeep of a store: is everything what was published, what does nobody need, what may be tried again.

Records first; nothing here prints. ``docs/how-to/store.md`` says what lies in a store and who may delete what.
"""

import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medsweep.errors import UserError, nearest
from medsweep.identity import short
from medsweep.store.lease import Lease, LeaseHeldError, is_live
from medsweep.store.presence import announced, present
from medsweep.store.store import DAMAGED, THREADS, DamagedError, Store, UnreadableError

RETRIED = "retried"
ABANDONED_SECONDS = 3600.0
"""Temporary files live for moments; one of this age has lost its writer."""

UNREACHABLE, UNFINISHED, TUNE, ASIDE, NOTES, TEMPORARY = (
    "unreachable trials", "unfinished trials", "leftovers of Tune", "set aside", "notes on failures", "temporary files",
)  # fmt: skip
KINDS = (UNREACHABLE, UNFINISHED, TUNE, ASIDE, NOTES, TEMPORARY)

SWEEP_ROOMS = ("search", "rungs")
"""Folders in which each sweep has one of its own."""
OTHER_ROOMS = (DAMAGED, RETRIED, "attempts", "plans", "wandb", *SWEEP_ROOMS)
"""Folders that hold no trials."""

_PART = re.compile(r"[0-9a-f]{64}\.part").fullmatch
_TEMPORARY = re.compile(
    r"\..+\.\d+\.tmp|\.writable\.\d+|source-hashes\.json\.\d+\.part|\.[0-9a-f]{64}(\.part)?\.gone"
).fullmatch


@dataclass(frozen=True)
class Checked:
    """One published trial, compared with its manifest."""

    stage: str
    digest: str
    files: int
    damages: tuple[str, ...]
    inputs_gone: tuple[str, ...]
    """Roles of inputs that are no longer in the store; no damage, since results stand without them."""
    unread: str = ""
    """Why it could not be looked at; that is no damage either."""


def check_store(store: Store, stages: Sequence[str], on_checked: Callable[[Checked], None]) -> list[Checked]:
    """Hash every published file of ``stages``; ``on_checked`` is called in this thread with each trial."""
    trials = [(stage, digest) for stage in stages for digest in store.listing(stage)]
    published = {digest for stage in store.stages() for digest in store.listing(stage)}
    done = []
    with ThreadPoolExecutor(THREADS) as pool:
        for checked in pool.map(lambda trial: _check(store, trial[0], trial[1], published), trials):
            on_checked(checked)
            done.append(checked)
    return done


def _check(store: Store, stage: str, digest: str, published: Collection[str]) -> Checked:
    try:
        manifest = store.manifest(stage, digest)
        damages = [*store.damages(manifest), *store.strangers(manifest)]
    except DamagedError as error:
        return Checked(stage, digest, 0, (error.what,), ())
    except UnreadableError as error:
        return Checked(stage, digest, 0, (), (), str(error))
    gone = tuple(role for role, parent in manifest.inputs.items() if parent not in published)
    return Checked(stage, digest, len(manifest.files), tuple(damages), gone)


def stages_named(store: Store, stage: str | None) -> list[str]:
    """The stages of which something is published, or the one that is named.

    Raises:
        UserError: nothing of that stage is published.
    """
    stages = store.stages()
    if stage is None:
        return stages
    if stage not in stages:
        raise UserError(f"nothing of stage {stage!r} is published in the store {store}; {nearest(stage, stages)}")
    return [stage]


@dataclass(frozen=True)
class Waste:
    """Something that may be deleted."""

    kind: str
    path: Path
    bytes: int
    """Allocated on the disk."""
    newest: float
    """Modification time of its newest file, seconds since the epoch."""
    remark: str = ""


def planned(store: Store) -> set[str]:
    """Digests that the plans kept in the store name.

    Raises:
        UserError: there is no plan, so that everything would look unneeded, or one cannot be read.
    """
    paths = sorted((store.root / "plans").glob("*.jsonl"))
    if not paths:
        raise UserError(
            f"no plan is kept in {store.root / 'plans'}, so nothing says which trials are needed; "
            "name the sweeps whose trials are to be kept"
        )
    return {digest for path in paths for digest in _digests(path)}


def planned_of(sweep: str, store: Store) -> set[str]:
    """Digests that the plan kept of one sweep names; none where none is kept. Raises UserError: it cannot be read."""
    path = store.root / "plans" / f"{sweep}.jsonl"
    return _digests(path) if path.is_file() else set()


def _digests(path: Path) -> set[str]:
    try:
        return {json.loads(line)["digest"] for line in path.read_text().splitlines()}
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable_plan(path, error) from None


def unreadable_plan(path: Path, error: Exception) -> UserError:
    """The error for the kept plan of a sweep that is torn, or of another version."""
    return UserError(
        f"{path} cannot be read ({error}); medsweep plan makes it anew; remove it if its sweep is given up"
    )


def find_waste(store: Store, needed: Collection[str], older_than: float | None = None) -> list[Waste]:
    """What nobody needs, in the order of ``KINDS``.

    ``needed`` are digests, inputs included. Unfinished trials of more than ``older_than`` seconds go although they are
    needed and could be resumed.
    """
    waste: list[Waste] = []
    published: dict[str, set[str]] = {}
    for stage in _stage_folders(store):
        names = store.listing(stage)
        published[stage] = set(names)
        waste += [_waste(UNREACHABLE, store.folder(stage, name)) for name in names if name not in needed]
    for stage, part in _parts(store):
        if is_live(part):
            continue
        digest, unfinished = part.name.removesuffix(".part"), _waste(UNFINISHED, part, _step(part))
        resumable = digest in needed and digest not in published[stage]
        if not resumable or (older_than is not None and time.time() - unfinished.newest > older_than):
            waste.append(unfinished)
    for kind, folder in ((TUNE, ".tune"), (ASIDE, DAMAGED), (ASIDE, RETRIED)):
        waste += [_waste(kind, path) for path in _children(store.root / folder)]
    waste += [_waste(NOTES, path) for path in _settled_notes(store, needed, published)]
    waste += [_waste(TEMPORARY, path) for path in _abandoned(store)]
    return sorted(waste, key=lambda item: KINDS.index(item.kind))


def live_part(store: Store) -> Path | None:
    """The working folder of a trial that somebody is at, if there is one."""
    return next((part for _, part in _parts(store) if is_live(part)), None)


def remove(store: Store, waste: Sequence[Waste], on_removed: Callable[[Waste], None]) -> None:
    """Delete ``waste``; a reader sees a trial whole or not at all.

    Raises:
        UserError: somebody is at work in the store, which is looked at before each kind.
    """
    with announced(store.root, "gc"):
        for kind in KINDS:
            if (part := live_part(store)) is not None:
                raise _busy(part)
            for item in (item for item in waste if item.kind == kind):
                try:
                    _remove(item)
                except LeaseHeldError:
                    raise _busy(item.path) from None
                on_removed(item)


def _busy(part: Path) -> UserError:
    return UserError(
        f"a run is at work on {part.parent.name} {short(part.name)} in the store {part.parent.parent} and may need "
        "what would be deleted; wait for its end, or stop it"
    )


def _remove(waste: Waste) -> None:
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
