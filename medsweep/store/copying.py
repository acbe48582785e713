"""Copies a store into another, of whatever kind: every file is compared with its sha256 on its way.

A trial is published in the target when all of it is there, so that a copy which was interrupted goes on where it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medsweep.identity import short
from medsweep.store.lease import LeaseHeldError
from medsweep.store.manifest import require_inside
from medsweep.store.store import DamagedError, Manifest, Store, UnreadableError
from medsweep.store.workspace import PublishedError, Workspace


@dataclass
class Copied:
    """What came of a copy."""

    trials: int = 0
    there: int = 0
    """Trials that the target had, of the same files."""
    small: int = 0
    """Plans, notes on failures, and what else is no trial."""
    left: tuple[str, ...] = ()
    """Why a trial was not copied, a line each."""


def copy_store(source: Store, target: Store, on_trial: Callable[[], None]) -> Copied:
    """Copy all published trials of ``source`` that ``target`` lacks, then its plans and notes; deletes nothing.

    Raises:
        OSError: the target is full, or cannot be written.
        BucketError: a bucket does not answer.
    """
    copied = Copied()
    for stage in source.stages():
        there = set(target.listing(stage))
        for digest in source.listing(stage):
            try:
                manifest = source.manifest(stage, digest)
                require_inside(manifest, f"its manifest in {source}")
                if digest in there and manifest.files != target.manifest(stage, digest).files:
                    copied.left += (f"{target} has {stage} {short(digest)} with other files; both stay as they are",)
                elif digest in there:
                    copied.there += 1
                elif _copy_trial(source, target, manifest):
                    copied.trials += 1
                else:
                    copied.there += 1
            except (DamagedError, UnreadableError) as error:
                copied.left += (str(error),)
            except LeaseHeldError:
                copied.left += (f"{stage} {short(digest)} is being worked on in {target}; copy again later",)
            on_trial()
    copied.small = _copy_small(source, target)
    return copied


def _copy_trial(source: Store, target: Store, manifest: Manifest) -> bool:
    """Whether the trial was published by this copy, and not by somebody else meanwhile."""

    def same(files: Mapping[str, str]) -> Manifest:
        if dict(files) != dict(manifest.files):
            raise DamagedError(manifest.stage, manifest.digest, f"what came from {source} is not what was published")
        return manifest

    try:
        with Workspace(target, manifest.stage, manifest.digest) as work:
            for file in manifest.files:
                _bring(source, manifest, file, work.part / file)
            return work.publish(same)
    except PublishedError:
        return False


def _bring(source: Store, manifest: Manifest, file: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        came = source.fetch(manifest, file, path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise DamagedError(manifest.stage, manifest.digest, f"{file} is missing in {source}") from None
    if came != manifest.files[file]:
        raise DamagedError(manifest.stage, manifest.digest, f"{file} in {source} does not match its sha256")


def _copy_small(source: Store, target: Store) -> int:
    """Files that the target lacks; what it has is its own."""
    known, count = set(target.small_files()), 0
    for name in source.small_files():
        if name not in known:
            path = target.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.fresh(source.root / name, now=True).read_bytes())
            target.shared(path)
            count += 1
    return count
