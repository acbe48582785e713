"""A thread of its own for Ray, so that signals stop a run cleanly at any moment, also while Ray starts or ends.

Ray and Tune take over SIGINT, SIGTERM and SIGUSR1 where they are called in the main thread, each for a while and each
in its own way. In another thread they leave signals alone. The processes of a Ray that was started die with the thread
that started them, so this one lives as long as they shall.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from medsweep.processes import descendants, end
from medsweep.stop_signals import STOPPED_EXIT, Stop

T = TypeVar("T")
GRACE_SECONDS = 120.0
"""Time that Ray gets to stop; trials get a quarter of it. Then its processes are killed, and this one ends itself."""
LINGER_SECONDS = 5.0
"""Time that the processes of a Ray that was shut down get to end by themselves."""


class RayThread:
    """Calls functions in one thread, while the main thread hears the signals and waits."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medsweep-ray")
        self._before = descendants()

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. A signal is only remembered meanwhile; ``work`` may look for it."""
        with self._stop.deferred():
            future = self._pool.submit(work)
            self._wait(future)
            return future.result()

    def _wait(self, future: "Future[T]") -> None:
        since: float | None = None
        while not wait([future], timeout=1.0).done:
            if self._stop.requested:
                since = since or time.monotonic()
                if time.monotonic() - since > GRACE_SECONDS:
                    sys.stderr.write(
                        f"medsweep: Ray does not stop within {GRACE_SECONDS:g} s; its processes are killed\n"
                    )
                    sys.stderr.flush()
                    end(descendants())
                    os._exit(STOPPED_EXIT)

    def close(self, shutdown: Callable[[], object]) -> None:
        """Call ``shutdown`` and end the thread; no process that was started since the beginning stays behind."""
        with self._stop.deferred():
            started = descendants() - self._before
            try:
                self.call(shutdown)
            finally:
                self._pool.shutdown()
                end(started, LINGER_SECONDS)
