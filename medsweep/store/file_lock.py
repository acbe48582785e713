"""Locks between the processes of one machine, which the kernel drops with the process that holds them.

Why not the package ``filelock`` (4.2 was tried): readers cannot share its ``FileLock``, and its ``ReadWriteLock`` keeps
an SQLite file that must stay in place. The cache deletes the file of a lock together with its copy, and whoever waits
for a ``ReadWriteLock`` then gets ``OSError: lock database was unlinked or replaced`` instead of a lock on the new file.
"""

import fcntl
import os
import time
from pathlib import Path

_OPEN: set["FileLock"] = set()


class FileLock:
    """A ``flock`` on a file of its own. Use as a context manager, or ``release`` it.

    Made by ``shared``, ``exclusive`` or ``try_exclusive``; ``how`` is an argument of ``fcntl.flock``.
    """

    def __init__(self, path: Path, how: int) -> None:
        self.path = path
        self._handle: int | None = None
        _OPEN.add(self)
        try:
            while not self._locked(how):
                self._close()
        except BaseException:
            self.release()
            raise

    @classmethod
    def shared(cls, path: Path) -> "FileLock":
        """Wait until nobody holds it exclusively."""
        return cls(path, fcntl.LOCK_SH)

    @classmethod
    def exclusive(cls, path: Path) -> "FileLock":
        """Wait until nobody else holds it."""
        return cls(path, fcntl.LOCK_EX)

    @classmethod
    def try_exclusive(cls, path: Path) -> "FileLock | None":
        """The lock, or None where somebody holds it."""
        try:
            return cls(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _locked(self, how: int) -> bool:
        """Open and lock the file; False where it was removed meanwhile, so that others would open another one."""
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _close_all() -> None:
    """Close a child's copies of the files that its parent has locked, without unlocking them.

    ``fork`` copies open files, and a ``flock`` belongs to the open file and not to a process. The child would keep
    the lock after its parent's death, and drop it for both when it tidies up.
    """
    for lock in _OPEN:
        lock._close()
    _OPEN.clear()


os.register_at_fork(after_in_child=_close_all)
