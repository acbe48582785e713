"""Leases: one worker at a time on a trial's working folder, and a way to tell a dead worker from a slow one."""

import json
import os
import socket
import threading
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

LEASE = "lease.json"
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


class LeaseHeldError(Exception):
    """Another living worker holds the lease."""


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


class Lease:
    """A lease that this process holds on a folder; a thread keeps it fresh until ``release``."""

    def __init__(self, folder: Path, beat_seconds: float = BEAT_SECONDS) -> None:
        self._path = folder / LEASE
        self._holder = Holder(socket.gethostname(), os.getpid(), process_start(os.getpid()) or 0, uuid.uuid4().hex)
        self._stop = threading.Event()
        self._acquire()
        self._thread = threading.Thread(target=self._beat, args=(beat_seconds,), name="medsweep-lease", daemon=True)
        self._thread.start()

    def _acquire(self) -> None:
        text = json.dumps(asdict(self._holder))
        for _ in range(3):
            try:
                handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if is_live(self._path.parent):
                    raise LeaseHeldError(f"{self._path} is held by {self._path.read_text()}") from None
                self._path.replace(self._path.with_name(f".{LEASE}.{self._holder.token}.stale"))
                self._path.with_name(f".{LEASE}.{self._holder.token}.stale").unlink(missing_ok=True)
                continue
            with os.fdopen(handle, "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            return
        raise LeaseHeldError(f"{self._path} changed hands while it was being taken")

    def _beat(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            if not self.held():
                return
            try:
                os.utime(self._path)
            except OSError:
                return

    def held(self) -> bool:
        """Whether the lease is still ours."""
        return _holder(self._path) == self._holder

    def require(self) -> None:
        """Raise unless the lease is still ours.

        Raises:
            LeaseLostError: another worker has taken over.
        """
        if not self.held():
            raise LeaseLostError(
                f"another worker took over {self._path.parent.name}; this one stops without publishing"
            )

    def release(self, folder: Path | None = None) -> None:
        """Stop the heartbeat and drop the lease file; ``folder`` is where the working folder was renamed to."""
        self._stop.set()
        self._thread.join()
        path = self._path if folder is None else folder / LEASE
        if _holder(path) == self._holder:
            path.unlink(missing_ok=True)


def is_live(folder: Path) -> bool:
    """Whether a living worker holds the lease of ``folder``.

    On this host the process itself is asked. For another host the age of the heartbeat decides, measured by the file
    system's own clock, since clocks of hosts differ.
    """
    path = folder / LEASE
    try:
        beat = path.stat().st_mtime
    except FileNotFoundError:
        return False
    holder = _holder(path)
    if holder is not None and holder.host == socket.gethostname():
        return process_start(holder.pid) == holder.started
    probe = folder / f".clock.{uuid.uuid4().hex}"
    probe.touch()
    now = probe.stat().st_mtime
    probe.unlink()
    return now - beat < STALE_SECONDS


def _holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def process_start(pid: int) -> int | None:
    """Start time of a living process in clock ticks since boot, or None where there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
