"""Leases: one worker at a time on a trial's working folder, and a way to tell a dead worker from a slow one."""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from medsweep.files import put_once
from medsweep.processes import process_start

LEASE = "lease.json"
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
WATCH_SECONDS = 2.5 * BEAT_SECONDS
"""Time that the heartbeat of another host's lease must stand still before it is taken over, since clocks jump."""


class LeaseHeldError(Exception):
    """Another living worker holds the lease."""

    outcome = "lease-held"


class LeaseLostError(Exception):
    """Another worker took the lease over while this one was out of touch; nothing of ours may be published."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    host: str
    pid: int
    started: int
    """Start time of the process in clock ticks since boot: a pid alone is reused."""
    token: str
    namespace: str = ""
    """In which the pid counts: containers of one host share its name and not its pids. Empty in older leases."""

    @property
    def is_here(self) -> bool:
        """Whether this process can ask for the holder's process."""
        return self.host == socket.gethostname() and self.namespace in ("", pid_namespace())


class Lease:
    """A lease that this process holds on a folder; a thread keeps it fresh until ``release``.

    Raises:
        LeaseHeldError: another living worker holds it.
    """

    def __init__(self, folder: Path, beat_seconds: float = BEAT_SECONDS) -> None:
        self._path = folder / LEASE
        pid = os.getpid()
        started, token = process_start(pid) or 0, uuid.uuid4().hex
        self._holder = Holder(socket.gethostname(), pid, started, token, pid_namespace())
        self._stop = threading.Event()
        self._acquire()
        self._thread = threading.Thread(target=self._beat, args=(beat_seconds,), name="medsweep-lease", daemon=True)
        self._thread.start()

    def _acquire(self) -> None:
        # Written aside and linked into place: no reader ever sees a lease without its holder.
        own = self._path.with_name(f".{LEASE}.{self._holder.token}")
        try:
            with own.open("w") as stream:
                stream.write(json.dumps(asdict(self._holder)))
                stream.flush()
                os.fsync(stream.fileno())
            for _ in range(3):
                try:
                    put_once(own, self._path)
                    return
                except FileExistsError:
                    _take_away(self._path, self._holder.token)
        except FileNotFoundError:
            raise LeaseHeldError(f"{self._path.parent.name} was published while its lease was being taken") from None
        finally:
            own.unlink(missing_ok=True)
        raise LeaseHeldError(f"{self._path} changed hands while it was being taken")

    def _beat(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            if self.held():
                with suppress(OSError):  # a share that is away for a moment; the next beat may get through
                    os.utime(self._path)

    def held(self) -> bool:
        """Whether the lease is still ours."""
        return _holder(self._path) == self._holder

    def require(self) -> None:
        """Raise LeaseLostError unless the lease is still ours."""
        if not self.held():
            name = self._path.parent.name
            raise LeaseLostError(f"another worker took over {name}; this one stops without publishing")

    def release(self, folder: Path | None = None) -> None:
        """Stop the heartbeat and drop the lease file; ``folder`` is where the working folder was renamed to."""
        self._stop.set()
        self._thread.join()
        path = self._path if folder is None else folder / LEASE
        if _holder(path) == self._holder:
            path.unlink(missing_ok=True)
        if folder is not None:
            # another worker was about to take the lease, and its file came along
            for stray in folder.glob(f".{LEASE}.*"):
                stray.unlink(missing_ok=True)


def _take_away(path: Path, token: str) -> None:
    """Move the lease of a dead worker out of the way; what another worker put there meanwhile is put back.

    Raises:
        LeaseHeldError: its worker lives, or another one was faster.
    """
    stale = _holder(path)
    if is_live(path.parent) or not _stands_still(path):
        raise LeaseHeldError(f"{path} is held by {stale}")
    moved = path.with_name(f".{LEASE}.{token}.stale")
    try:
        path.replace(moved)
    except FileNotFoundError:
        return
    if _holder(moved) != stale:
        with suppress(FileExistsError):
            put_once(moved, path)
        moved.unlink()
        raise LeaseHeldError(f"{path} was taken over by another worker")
    moved.unlink()


def _stands_still(path: Path) -> bool:
    """Whether the heartbeat of another host is silent for ``WATCH_SECONDS`` of this host's monotonic clock."""
    holder = _holder(path)
    if holder is not None and holder.is_here:
        return True
    pause, until = threading.Event(), time.monotonic() + WATCH_SECONDS
    try:
        before = path.stat().st_mtime_ns
        while time.monotonic() < until:
            pause.wait(min(1.0, WATCH_SECONDS))
            if path.stat().st_mtime_ns != before:
                return False
    except FileNotFoundError:
        pass
    return True


def is_live(folder: Path) -> bool:
    """Whether a living worker seems to hold the lease of ``folder``.

    On this host the process itself is asked. For another host, or another container of this one, the distance between
    its heartbeat and now decides, both by the file system's own clock, since clocks of hosts differ; a heartbeat far in
    the future is none.
    """
    path = folder / LEASE
    try:
        beat = path.stat().st_mtime
        holder = _holder(path)
        if holder is not None and holder.is_here:
            return process_start(holder.pid) == holder.started
        return abs(_now(folder) - beat) < STALE_SECONDS
    except FileNotFoundError:
        return False


def holder_of(folder: Path) -> Holder | None:
    """Who holds the lease of ``folder``, living or dead; None where nobody can be named."""
    return _holder(folder / LEASE)


def _now(folder: Path) -> float:
    """Now by the clock of the file system of ``folder``, or of this host where nothing can be written."""
    probe = folder / f".clock.{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except FileNotFoundError:
        raise
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def _holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def pid_namespace() -> str:
    """What tells the process ids of this container from those of others, or "" where the system does not say."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
