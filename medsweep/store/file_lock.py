"""Locks between the processes of one machine, which the kernel drops with the process that holds them."""

import fcntl
import os
import time
from pathlib import Path

_OPEN: set["FileLock"] = set()


class FileLock:
    """A ``flock`` on a file of its own, shared or exclusive. Use as a context manager, or ``release`` it.

    A child made by ``fork`` would get a copy of the open file, keep the lock after its parent's death, and drop it for
    both when it tidies up: it closes its copies at birth, which leaves the parent's lock alone.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, without a lock yet: call ``shared``, ``exclusive`` or ``try_exclusive`` instead."""
        self.path = path
        self._handle: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _OPEN.add(self)

    @classmethod
    def shared(cls, path: Path) -> "FileLock":
        """Wait until nobody holds it exclusively."""
        lock = _acquired(path, fcntl.LOCK_SH)
        assert lock is not None
        return lock

    @classmethod
    def exclusive(cls, path: Path) -> "FileLock":
        """Wait until nobody else holds it."""
        lock = _acquired(path, fcntl.LOCK_EX)
        assert lock is not None
        return lock

    @classmethod
    def try_exclusive(cls, path: Path) -> "FileLock | None":
        """The lock, or None where somebody holds it."""
        return _acquired(path, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def lock(self, how: int) -> bool:
        """``flock``, and whether the file is still the one that others would open."""
        assert self._handle is not None
        fcntl.flock(self._handle, how)
        try:
            return os.fstat(self._handle).st_ino == os.stat(self.path).st_ino
        except FileNotFoundError:
            return False

    def touch(self) -> None:
        """Make now the time of the file."""
        if self._handle is not None:
            os.utime(self._handle, ns=(time.time_ns(), time.time_ns()))

    def remove(self) -> None:
        """Delete the file; only while it is held exclusively. Whoever waits for it makes a new one."""
        self.path.unlink(missing_ok=True)

    def release(self) -> None:
        """Drop the lock, whatever copies of the open file there are."""
        _OPEN.discard(self)
        handle, self._handle = self._handle, None
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)

    def forget(self) -> None:
        """Close this process's copy of a file that its parent has locked."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _acquired(path: Path, how: int) -> FileLock | None:
    while True:
        lock = FileLock(path)
        try:
            if lock.lock(how):
                return lock
        except BlockingIOError:
            lock.release()
            return None
        except BaseException:
            lock.release()
            raise
        lock.release()


def _forget_all() -> None:
    for lock in _OPEN:
        lock.forget()
    _OPEN.clear()


os.register_at_fork(after_in_child=_forget_all)
