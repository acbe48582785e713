"""What trials read, kept on the node's own disk: a shared file system is read once per node, under a lock.

A copy is named by stage, digest and a hash of the manifest's list of files, so that a trial which was made again with
other bytes has another copy. Every file is compared with its sha256 on its way from the store, and once more by each
process that reads the copy. Where there is no room, or anything is wrong with the cache, a trial reads from the store,
says why in its manifest, and is none the worse. ``cache_folder`` says what lies where.
"""

import functools
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medsweep.errors import UserError
from medsweep.files import on_this_machine, sha256_of
from medsweep.identity import canonical, short
from medsweep.store.cache_folder import GIB, RECORD, CacheFolder, NotCachedError, write_record
from medsweep.store.file_lock import FileLock
from medsweep.store.manifest import require_inside
from medsweep.store.store import MANIFEST, DamagedError, Manifest, Store

LIMIT = "MEDSWEEP_CACHE_GIB"
"""Environment variable that says how many GiB the cache of a node may take."""
LIMIT_GIB = 50.0
RESERVED = 0.12
"""Share of the disk that stays free; a kubelet throws pods out once less than a tenth is."""
TRIES = 5
"""Times a copy may be thrown out by others between its end and its first reader."""

Origin = Literal["cache", "fetched", "store"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CacheSpec:
    """Where each node keeps its copies, and how much of them.

    ``root`` may begin with ``~`` and hold ``${NAME}``, which each node reads in its own environment.
    """

    root: Path
    limit_gib: float = LIMIT_GIB


@dataclass(frozen=True)
class Fetched:
    """The output folder of a trial as it may be read now."""

    folder: Path
    origin: Origin
    """``cache``: a copy that was there; ``fetched``: one made for this reader; ``store``: no copy."""
    reason: str = ""
    """Why there is no copy, or why the one that was there is no more."""


def cache_spec(root: Path | None, store: Path, environment: Mapping[str, str] = os.environ) -> CacheSpec | None:
    """The cache that a user asks for, if any. Raises UserError: a folder or limit that no node could use."""
    if root is None:
        return None
    here = on_this_machine(root)
    if str(root)[0] not in "/~$":
        raise UserError(f"--cache {root} would be another folder on each node; give an absolute path")
    if here.exists() and not here.is_dir():
        raise UserError(f"--cache {root} is a file; give a folder on the node's own disk")
    if here.resolve().is_relative_to(store.resolve()):
        raise UserError(f"--cache {root} lies inside the store {store}, which it is to spare; give a node-local folder")
    text = environment.get(LIMIT) or str(LIMIT_GIB)
    try:
        limit_gib = float(text)
    except ValueError:
        limit_gib = math.nan
    if not 0 < limit_gib < math.inf:
        raise UserError(f"{LIMIT}={text} is no size of a cache; give GiB above 0, such as {LIMIT_GIB:g}")
    return CacheSpec(root=root, limit_gib=limit_gib)


@contextmanager
def reading(spec: CacheSpec | None, store: Store, stage: str, digest: str) -> Iterator[Fetched]:
    """The verified output of a trial, which stays where it is until the block ends.

    Raises:
        DamagedError: the store no longer has what was published.
    """
    if spec is None:
        store.verify(stage, digest)
        yield Fetched(store.output(stage, digest), "store")
        return
    with _cache(spec).fetched(store, stage, digest) as fetched:
        yield fetched


@functools.cache
def _cache(spec: CacheSpec) -> "NodeCache":
    """One per process, which remembers what it has hashed."""
    return NodeCache(spec.root, spec.limit_gib)


class NodeCache:
    """Copies of trial outputs on this node, shared by all its processes and by any number of stores.

    They lie in a folder of this user's below ``root`` and take ``limit_gib`` at most. The share ``reserved`` of the
    disk stays free.
    """

    def __init__(self, root: Path, limit_gib: float = LIMIT_GIB, reserved: float = RESERVED) -> None:
        self.folder = on_this_machine(root) / f"medsweep-{os.geteuid()}"
        self._copies = CacheFolder(self.folder, int(limit_gib * GIB), reserved)
        self._verified: dict[str, tuple[int, int]] = {}
        self._warned: set[str] = set()

    @contextmanager
    def fetched(self, store: Store, stage: str, digest: str) -> Iterator[Fetched]:
        """The verified output of a trial, copied here unless it is there; held against deletion until the block ends.

        Raises:
            DamagedError: the store no longer has what was published.
        """
        fetched, lock = self._take(store, store.manifest(stage, digest))
        if fetched.reason and fetched.reason not in self._warned:
            self._warned.add(fetched.reason)
            _log.warning("%s %s is read from the %s: %s", stage, short(digest), fetched.origin, fetched.reason)
        try:
            yield fetched
        finally:
            if lock is not None:
                with suppress(OSError):  # a disk that is gone by now; the reader has read
                    lock.touch()
                lock.release()

    def _take(self, store: Store, manifest: Manifest) -> tuple[Fetched, FileLock | None]:
        require_inside(manifest, str(store.folder(manifest.stage, manifest.digest) / MANIFEST))
        try:
            if "$" in str(self.folder) or not self.folder.is_absolute():
                raise NotCachedError(f"{self.folder} is no folder in this node's environment")
            self._copies.open()
            return self._from_here(store, manifest)
        except NotCachedError as error:
            reason = str(error)
        except OSError as error:
            reason = f"{error.filename or self.folder}: {error.strerror}"
        store.verify(manifest.stage, manifest.digest)
        return Fetched(store.output(manifest.stage, manifest.digest), "store", reason), None

    def _from_here(self, store: Store, manifest: Manifest) -> tuple[Fetched, FileLock]:
        name, reason = _name(manifest), ""
        origin: Origin = "cache"
        for _ in range(TRIES):
            lock = FileLock.shared(self._copies.lock(name))
            try:
                wrong = self._wrong(name, manifest)
                if wrong is None:
                    return Fetched(self._copies.copy(name) / "output", origin, reason), lock
            except BaseException:
                lock.release()
                raise
            lock.release()
            if wrong:
                reason = f"the copy on this node was damaged: {wrong}"
                self._drop(name, reason)
            if self._copied(name, store, manifest):
                origin = "fetched"
        raise NotCachedError(f"its copy was thrown out {TRIES} times before it could be read")

    def _wrong(self, name: str, manifest: Manifest) -> str | None:
        """What is wrong with the copy that is there, None if it is sound, nothing if there is none.

        Sizes and times are compared each time, hashes once per process.
        """
        folder = self._copies.copy(name)
        if not folder.is_dir():
            return ""
        try:
            record = (folder / RECORD).stat()
            stamps = json.loads((folder / RECORD).read_text())["files"]
            for file in manifest.files:
                if stamps[file] != _stamp(folder / file):
                    return f"{folder / file} has changed"
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError) as error:
            return f"{folder} is not whole ({type(error).__name__}: {error})"
        if self._verified.get(name) != (record.st_ino, record.st_mtime_ns):
            for file, expected in manifest.files.items():
                if sha256_of(folder / file) != expected:
                    return f"{folder / file} does not match its sha256"
            self._verified[name] = (record.st_ino, record.st_mtime_ns)
        return None

    def _drop(self, name: str, reason: str) -> None:
        """Delete a damaged copy. Raises NotCachedError: another trial still reads it."""
        lock = FileLock.try_exclusive(self._copies.lock(name))
        if lock is None:
            raise NotCachedError(f"{reason}; another trial holds it")
        with lock:
            if self._copies.copy(name).exists():
                self._copies.drop(name)

    def _copied(self, name: str, store: Store, manifest: Manifest) -> bool:
        """Copy the trial unless another process has done so while this one waited for its turn."""
        with FileLock.exclusive(self._copies.lock(name)) as lock:
            if self._copies.copy(name).exists():
                return False
            try:
                # A missing file has no size here; copying it says that it is missing.
                size = store.size(manifest)
                part = self._copies.make(name, size)
                _copy(store, part, manifest)
                write_record(part, {"bytes": size, "files": {file: _stamp(part / file) for file in manifest.files}})
                made = (part / RECORD).stat()
                self._copies.publish(name)
                self._verified[name] = (made.st_ino, made.st_mtime_ns)
            finally:
                if not self._copies.copy(name).exists():
                    shutil.rmtree(self._copies.part(name), ignore_errors=True)
                    lock.remove()
        return True


def _name(manifest: Manifest) -> str:
    files = hashlib.sha256(canonical(manifest.files).encode()).hexdigest()
    return f"{manifest.stage}-{short(manifest.digest)}-{files[:32]}"


def _copy(store: Store, part: Path, manifest: Manifest) -> None:
    """Copy the files of a manifest, each hashed on its way.

    Raises:
        DamagedError: naming the first that is missing or differs.
    """
    folder = store.folder(manifest.stage, manifest.digest)
    for file, expected in manifest.files.items():
        (part / file).parent.mkdir(parents=True, exist_ok=True)
        try:
            copied = store.fetch(manifest, file, part / file)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            if not str(error.filename).startswith(f"{folder}/"):
                raise
            raise DamagedError(manifest.stage, manifest.digest, f"{folder / file} is missing") from None
        if copied != expected:
            raise DamagedError(manifest.stage, manifest.digest, f"{folder / file} does not match its sha256")


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
