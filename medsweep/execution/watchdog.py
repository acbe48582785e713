"""A thread that notices that a trial has stopped reporting, and says where it hangs."""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType

from medsweep.execution.failures import StalledError


class Watchdog:
    """Calls ``bark`` once, from its own thread, when work goes on for ``seconds`` without a report.

    Use as a context manager. Time is the monotonic clock's, so a clock that is set does not matter. The time that the
    caller takes between ``rest`` and ``wake`` is not the trial's and is not counted.
    """

    def __init__(self, seconds: float, bark: Callable[[StalledError], None]) -> None:
        self._seconds, self._bark = seconds, bark
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="medsweep-watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.wake()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def wake(self) -> None:
        """Begin to count from now."""
        self._since = time.monotonic()

    def rest(self) -> None:
        """Stop counting: the trial has reported and waits for its caller."""
        self._since = None

    def _watch(self) -> None:
        while not self._over.wait(min(self._seconds / 4, 10.0)):
            since = self._since
            if since is not None and time.monotonic() - since > self._seconds:
                self._bark(StalledError(f"no report for {self._seconds / 60:g} minutes", stacks()))
                return


def stacks() -> str:
    """What every thread of this process is doing right now, as text."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [
        f"thread {names.get(ident, ident)}:\n" + "".join(traceback.format_stack(frame))
        for ident, frame in sys._current_frames().items()
    ]
    return "\n".join(parts)
