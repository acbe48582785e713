"""Leases in a bucket: made by whoever is first, renewed by whoever knows their last state.

A lease whose state stands still for ``STALE_SECONDS`` of the looking process' monotonic clock has lost its worker. So
no clock of any machine is compared with another's, and none that jumps makes a worker dead or alive.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from medsweep.processes import process_start
from medsweep.store import lease as leases
from medsweep.store.bucket import Bucket, BucketError, Entry, Tag
from medsweep.store.lease import Holder, LeaseHeldError, LeaseLostError, pid_namespace

LEASES: Final = "leases"
"""Folder of the leases: ``leases/STAGE/DIGEST.json``."""
RELEASED: Final = b"{}"
"""What a lease holds once its worker has let go. It is not deleted, since a deletion asks for no state."""
BEAT_SECONDS = 10.0
LOOK_SECONDS = 1.0
"""Time for which a listing of the leases will do."""


class LeaseWatch:
    """What this process has seen of the leases in a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._seen: dict[str, tuple[Tag, float, Holder | None]] = {}
        self._listed: tuple[float, dict[str, Entry]] = (-1e9, {})

    def live(self, name: str) -> bool:
        """Whether a living worker seems to hold a lease; a listing of moments ago will do."""
        if time.monotonic() - self._listed[0] > LOOK_SECONDS:
            entries = {entry.name: entry for entry in self._bucket.entries(LEASES)}
            self._listed = time.monotonic(), entries
        entry = self._listed[1].get(name)
        return entry is not None and entry.size > len(RELEASED) and self.lives(name, entry.tag)

    def lives(self, name: str, tag: Tag) -> bool:
        """Whether the worker that left the state ``tag`` seems to live: asked here, watched elsewhere."""
        seen = self._seen.get(name)
        if seen is None or seen[0] != tag:
            seen = self._seen[name] = (tag, time.monotonic(), self.holder(name))
        _, since, holder = seen
        if holder is not None and holder.is_here:
            return process_start(holder.pid) == holder.started
        return time.monotonic() - since < leases.STALE_SECONDS

    def living(self, *folders: str) -> tuple[str, Holder | None] | None:
        """Name and holder of a lease below ``folders`` whose worker surely lives, or None once all are known for dead.

        Those of other machines are watched, all at once, until one is renewed or all have stood still for long enough.
        """
        pause, first = threading.Event(), dict[str, Tag]()
        while True:
            undecided = False
            for entry in (entry for folder in folders for entry in self._bucket.entries(folder)):
                if entry.size <= len(RELEASED) or not self.lives(entry.name, entry.tag):
                    continue
                holder = self._seen[entry.name][2]
                if (holder is not None and holder.is_here) or first.setdefault(entry.name, entry.tag) != entry.tag:
                    return entry.name, holder
                undecided = True
            if not undecided:
                return None
            pause.wait(min(1.0, leases.STALE_SECONDS / 4))

    def holder(self, name: str) -> Holder | None:
        """Who holds a lease, living or dead."""
        found = self._bucket.read(name)
        try:
            return None if found is None else Holder(**json.loads(found[0])["holder"])
        except (ValueError, KeyError, TypeError):
            return None


class BucketLease:
    """A lease that this process holds; a thread renews it until ``release``.

    Raises:
        LeaseHeldError: another living worker holds it.
    """

    def __init__(self, bucket: Bucket, name: str, watch: LeaseWatch) -> None:
        self._bucket, self._name, self._watch = bucket, name, watch
        pid = os.getpid()
        self._holder = Holder(socket.gethostname(), pid, process_start(pid) or 0, uuid.uuid4().hex, pid_namespace())
        self._beats, self._lost = 0, False
        self._one_at_a_time = threading.Lock()
        self._stop = threading.Event()
        self._tag = self._acquired()
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="medsweep-bucket-lease", daemon=True)
        self._thread.start()

    def _content(self) -> bytes:
        # S3 makes a tag of the content, so that each renewal must differ from the one before.
        return json.dumps({"beat": self._beats, "holder": asdict(self._holder)}).encode()

    def _acquired(self) -> Tag:
        for _ in range(3):
            tag = self._bucket.create(self._name, self._content())
            if tag is None and (found := self._bucket.read(self._name)) is not None:
                content, before = found
                if content != RELEASED:
                    self._require_dead(before)
                tag = self._bucket.replace(self._name, self._content(), before)
            if tag is not None:
                return tag
        raise LeaseHeldError(f"{self._name} changed hands while it was being taken")

    def _require_dead(self, tag: Tag) -> None:
        """Watch a lease until it has stood still for long enough. Raises LeaseHeldError: its worker lives."""
        pause = threading.Event()
        while self._watch.lives(self._name, tag):
            holder = self._watch.holder(self._name)
            if (holder is not None and holder.is_here) or self._bucket.tag(self._name) != tag:
                raise LeaseHeldError(f"{self._name} is held by {holder}")
            pause.wait(min(1.0, leases.STALE_SECONDS / 4))

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with suppress(BucketError):  # a bucket that is away for a while; the next beat may get through
                self._renew()

    def _renew(self) -> None:
        with self._one_at_a_time:
            if self._lost:
                return
            self._beats += 1
            tag = self._bucket.replace(self._name, self._content(), self._tag)
            if tag is None:
                tag = self._found_ours()
            if tag is None:
                self._lost = True
            else:
                self._tag, self._renewed = tag, time.monotonic()

    def _found_ours(self) -> Tag | None:
        """The state that an earlier renewal left whose answer never came, or None where another worker holds it."""
        found = self._bucket.read(self._name)
        return found[1] if found is not None and self._holder.token.encode() in found[0] else None

    def require(self, *, now: bool = False) -> None:
        """Raise LeaseLostError where another worker has taken over, as far as is known; ``now`` asks the bucket."""
        if now or time.monotonic() - self._renewed > 2 * BEAT_SECONDS:
            with suppress(BucketError):  # work goes on; what is published is published once
                self._renew()
        if self._lost:
            raise LeaseLostError(f"another worker took over {self._name}; this one stops without publishing")

    def release(self, *, published: bool) -> None:
        """Stop renewing, and let others take the lease; of a published trial nobody needs it any more."""
        self._stop.set()
        self._thread.join()
        with suppress(BucketError), self._one_at_a_time:
            if published and not self._lost:
                self._bucket.delete([self._name])
            elif not self._lost:
                self._bucket.replace(self._name, RELEASED, self._tag)
