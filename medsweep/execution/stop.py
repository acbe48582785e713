"""Signals that stop a run cleanly: Ctrl-C, a cluster's warning before the end (SIGUSR1), and SIGTERM."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)


class Stop:
    """Remembers a signal: the KeyboardInterrupt it raises is lost where Python ignores exceptions, as in finalisers."""

    asked = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """The first signal stops; a second Ctrl-C ends the process at once; others let it go on stopping."""
        if not self.asked:
            self.asked = True
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    def require_none(self) -> None:
        """Raise KeyboardInterrupt if a signal came and got lost."""
        if self.asked:
            raise KeyboardInterrupt


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first of ``STOPPING`` into a KeyboardInterrupt, at the latest at the next ``require_none``.

    A process that was started with SIGINT ignored, as shells do for background jobs, goes on ignoring it.
    """
    stop = Stop()
    heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        before = {number: signal.signal(number, stop) for number in heard}
    except ValueError:  # not the main thread, so signals do not come here
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
