"""The folder of a node's copies: what lies in it, what is thrown out, what dead processes left there.

Layout of ``ROOT/medsweep-UID/``::

    NAME/        a copy: copy.json, and the files of a trial's manifest; there by rename, then never changed
    NAME.part/   a copy being made, or left by a process that died; its copy.json says how large it will be
    NAME.gone/   a copy being deleted
    NAME.lock    held shared by readers of the copy, exclusively by who makes or deletes it; its time is the last use
    room.lock    held exclusively while room is made

Whoever holds ``room.lock`` waits for no other lock, so nobody waits in a circle.
"""

import json
import os
import re
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from medsweep.store.file_lock import FileLock

RECORD = "copy.json"
GIB = 2**30

_OURS = re.compile(r".+-[0-9a-f]{16}-[0-9a-f]{32}(\.part|\.gone|\.lock)?").fullmatch


class NotCachedError(Exception):
    """Why something is not copied to the node; its reader goes to the store."""


class CacheFolder:
    """The copies of one user on one node: at most ``limit`` bytes, with the share ``reserved`` of the disk free."""

    def __init__(self, folder: Path, limit: int, reserved: float) -> None:
        self.folder = folder
        self._limit, self._reserved = limit, reserved
        self._sizes: dict[str, int] = {}

    def open(self) -> None:
        """Make the folder. Raises NotCachedError: it belongs to somebody else, who could change what we read."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.lstat()
        if self.folder.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise NotCachedError(f"others can write to {self.folder}; remove it, or give another folder")

    def copy(self, name: str) -> Path:
        """Where the copy is, or would be."""
        return self.folder / name

    def part(self, name: str) -> Path:
        """Where the copy is made."""
        return self.folder / f"{name}.part"

    def lock(self, name: str) -> Path:
        """Its lock file."""
        return self.folder / f"{name}.lock"

    def make(self, name: str, size: int) -> Path:
        """An empty ``part`` that ``size`` bytes are kept for, once what was used longest ago has made way.

        The caller holds the lock of ``name`` exclusively.

        Raises:
            NotCachedError: there is no room for it, even without all that nobody holds.
        """
        with FileLock.exclusive(self.folder / "room.lock"):
            part = self.part(name)
            shutil.rmtree(part, ignore_errors=True)  # left by a process that died, since we hold its lock
            self._tidy()
            self._clear(size)
            part.mkdir()
            write_record(part, {"bytes": size})
        return part

    def publish(self, name: str) -> None:
        """Show a whole copy; the caller holds its lock exclusively."""
        self.part(name).rename(self.copy(name))

    def drop(self, name: str) -> None:
        """Delete a copy; the caller holds its lock exclusively. It vanishes at once and whole."""
        gone = self.folder / f"{name}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        self.copy(name).rename(gone)
        self._sizes.pop(name, None)
        shutil.rmtree(gone, ignore_errors=True)  # somebody who tidies up may be at it, too

    def _clear(self, size: int) -> None:
        """Throw out what was used longest ago and nobody holds until ``size`` bytes fit; nothing if they never will."""
        if size > self._limit:
            raise NotCachedError(f"{_gib(size)} are more than the cache's limit of {_gib(self._limit)}")
        lacking = self._lacking(size)
        with ExitStack() as held:
            victims = []
            for name in self._oldest_first() if lacking > 0 else ():
                lock = FileLock.try_exclusive(self.lock(name))
                if lock is not None:
                    held.enter_context(lock)
                    victims.append((name, lock))
                    lacking -= self._size(name)
                if lacking <= 0:
                    break
            if lacking > 0:
                raise NotCachedError(
                    f"{_gib(size)} do not fit into the cache: {_gib(lacking)} are lacking beside what running trials "
                    f"hold (limit {_gib(self._limit)}, {self._reserved:.0%} of the disk stay free)"
                )
            for name, lock in victims:
                self.drop(name)
                lock.remove()

    def _lacking(self, size: int) -> int:
        """Bytes that must go before ``size`` more fit below the limit and on the disk."""
        disk = os.statvfs(self.folder)
        free = (disk.f_bavail - int(self._reserved * disk.f_blocks)) * disk.f_frsize
        promised = {name: _bytes_in(self.part(name)) for name in self._names(".part")}
        used = sum(self._size(name) for name in self._names("")) + sum(promised.values())
        unwritten = sum(max(0, bytes_ - _written(self.part(name))) for name, bytes_ in promised.items())
        return max(used + size - self._limit, unwritten + size - free)

    def _names(self, suffix: str) -> list[str]:
        """Names of all that end with ``suffix``, without it."""
        matches = filter(None, map(_OURS, os.listdir(self.folder)))
        return [match[0].removesuffix(suffix) for match in matches if (match[1] or "") == suffix]

    def _oldest_first(self) -> list[str]:
        def used(name: str) -> int:
            try:
                return self.lock(name).stat().st_mtime_ns
            except FileNotFoundError:
                return 0

        return sorted(self._names(""), key=used)

    def _size(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = _bytes_in(self.copy(name))
        return self._sizes[name]

    def _tidy(self) -> None:
        """Remove what dead processes left: the locks of living ones are held."""
        for name in self._names(".gone"):
            shutil.rmtree(self.folder / f"{name}.gone", ignore_errors=True)
        copies = set(self._names(""))
        for name in {*self._names(".part"), *self._names(".lock")} - copies:
            lock = FileLock.try_exclusive(self.lock(name))
            if lock is None:
                continue
            with lock:
                shutil.rmtree(self.part(name), ignore_errors=True)
                if not self.copy(name).exists():
                    lock.remove()


def write_record(folder: Path, record: object) -> None:
    """Write ``copy.json`` of a copy."""
    (folder / RECORD).write_text(json.dumps(record))


def _bytes_in(folder: Path) -> int:
    """As its record says; as its files say where that was lost."""
    try:
        return int(json.loads((folder / RECORD).read_text())["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return _written(folder)


def _written(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # its copier has ended or given up
                size += os.stat(f"{parent}/{name}").st_size
    return size


def _gib(size: int) -> str:
    return f"{size / GIB:.3g} GiB"
