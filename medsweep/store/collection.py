"""Upkeep of a store: is everything what was published, what does nobody need, what may be tried again.

Records first; nothing here prints. ``docs/how-to/store.md`` says what lies in a store and who may delete what.
"""

import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from medsweep.errors import UserError, nearest
from medsweep.identity import short
from medsweep.store.bucket_store import BucketStore
from medsweep.store.bucket_waste import find_in_bucket, living_in_bucket, remove_from_bucket
from medsweep.store.folder_waste import find_in_folder, living_in_folder, remove_from_folder
from medsweep.store.lease import LeaseHeldError
from medsweep.store.presence import announced
from medsweep.store.store import THREADS, DamagedError, Store, UnreadableError
from medsweep.store.waste import KINDS, Waste


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


def planned(store: Store) -> set[str]:
    """Digests that the plans kept in the store name.

    Raises:
        UserError: there is no plan, so that everything would look unneeded, or one cannot be read.
    """
    paths = [store.fresh(store.root / name, now=True) for name in store.small_files("plans") if name.endswith(".jsonl")]
    if not paths:
        raise UserError(
            f"no plan is kept in {store}/plans, so nothing says which trials are needed; "
            "name the sweeps whose trials are to be kept"
        )
    return {digest for path in paths for digest in _digests(path)}


def planned_of(sweep: str, store: Store) -> set[str]:
    """Digests that the plan kept of one sweep names; none where none is kept. Raises UserError: it cannot be read."""
    path = store.fresh(store.root / "plans" / f"{sweep}.jsonl", now=True)
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
    found = (
        find_in_bucket(store, needed, older_than)
        if isinstance(store, BucketStore)
        else find_in_folder(store, needed, older_than)
    )
    return sorted(found, key=lambda item: KINDS.index(item.kind))


def living(store: Store) -> tuple[str, str] | None:
    """Stage and digest of a trial that somebody is at, if there is one."""
    return living_in_bucket(store) if isinstance(store, BucketStore) else living_in_folder(store)


def remove(store: Store, waste: Sequence[Waste], on_removed: Callable[[Waste], None]) -> None:
    """Delete ``waste``; a reader sees a trial whole or not at all.

    Raises:
        UserError: somebody is at work in the store, which is looked at before each kind.
    """
    with announced(store, "gc"):
        for kind in KINDS:
            if (trial := living(store)) is not None:
                raise _busy(store, *trial)
            for item in (item for item in waste if item.kind == kind):
                try:
                    remove_from_bucket(store, item) if isinstance(store, BucketStore) else remove_from_folder(item)
                except LeaseHeldError:
                    raise _busy(store, item.path.parent.name, item.path.name) from None
                on_removed(item)


def _busy(store: Store, stage: str, digest: str) -> UserError:
    return UserError(
        f"a run is at work on {stage} {short(digest)} in the store {store} and may need what would be deleted; wait "
        "for its end, or stop it"
    )
