"""What ends a trial that hangs: a watchdog over its reports, and an error raised in the main thread."""

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from medsweep.execution.failures import StalledError
from medsweep.stop_signals import handled


@contextmanager
def raised_in_main_thread() -> Iterator[Callable[[StalledError], None]]:
    """A function that any thread may call to raise its argument in the main thread, even out of a sleep or a read.

    Code that never returns to Python (a kernel that hangs, a lock inside a library) is beyond it, and so is any trial
    where this is not the main thread; the note about the stall is written in either case.
    """
    errors: list[StalledError] = []
    in_main_thread, main = threading.current_thread() is threading.main_thread(), threading.get_ident()

    def arrive(_number: int, _frame: FrameType | None) -> None:
        raise errors.pop()

    def send(error: StalledError) -> None:
        # An exception cannot be put into another thread while that sleeps. A signal wakes it, and its handler raises.
        if in_main_thread:
            errors.append(error)
            signal.pthread_kill(main, signal.SIGUSR2)

    with handled([signal.SIGUSR2], arrive):
        yield send


class Watchdog:
    """Calls ``on_stall`` once, from its own thread, when work goes on for ``seconds`` without a report.

    Use as a context manager. Time is the monotonic clock's, so a clock that is set does not matter. The time that the
    caller takes between ``rest`` and ``wake`` is not the trial's and is not counted.
    """

    def __init__(self, seconds: float, on_stall: Callable[[StalledError], None]) -> None:
        self._seconds, self._on_stall = seconds, on_stall
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="medsweep-watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.wake()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
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
                self._on_stall(StalledError(f"no report for {self._seconds / 60:g} minutes", stacks()))
                return


def stacks() -> str:
    """What every thread of this process is doing right now, as text."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    # Private, but documented: the standard library has no other way to read the stack of another thread.
    frames = sys._current_frames().items()
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n" + "".join(traceback.format_stack(frame)) for ident, frame in frames
    )
