"""One handler for the signals that stop a command: Ctrl-C, a terminal that closes, and what batch systems send."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from medsweep.processes import descendants, end

STOPPING = (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP)
STOPPED_EXIT = 130
"""Exit code of a command that was stopped, by whichever signal."""


class Stop:
    """Remembers a signal: the KeyboardInterrupt it raises is lost where Python ignores exceptions, as in finalisers."""

    def __init__(self) -> None:
        self.requested = False
        self._deferring = 0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """The first signal stops; a second Ctrl-C ends all of it at once; others let it go on stopping."""
        # Where the handler of Ray's C++ part came first, it has set an alarm that would abort this process.
        signal.alarm(0)
        if not self.requested:
            self.requested = True
            if not self._deferring:
                raise KeyboardInterrupt
        elif number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            end(descendants())
            os.kill(os.getpid(), signal.SIGINT)

    def hear_again(self) -> None:
        """Take back the signals that C++ code has taken over, which Python does not know of."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is self:
                    signal.signal(number, self)

    def require_none(self) -> None:
        """Raise KeyboardInterrupt if a signal came and was lost or deferred."""
        if self.requested:
            raise KeyboardInterrupt

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """A signal in this block raises nothing, and is merely remembered: what runs there must not be torn."""
        self._deferring += 1
        try:
            yield
        finally:
            self._deferring -= 1


@contextmanager
def handled(numbers: Iterable[int], handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let ``handler`` take the signals until the block ends; nothing outside the main thread, where none come."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


_ACTIVE: list[Stop] = []


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn the first of ``STOPPING`` into a KeyboardInterrupt, at the latest at the next ``require_none``.

    Inside another such block, or after ``hear_signals``, it is the same handler. A process that was started with a
    signal ignored, as shells do with SIGINT for background jobs and ``nohup`` with SIGHUP, goes on ignoring it.
    """
    if _ACTIVE:
        yield _ACTIVE[0]
        return
    stop = Stop()
    _ACTIVE.append(stop)
    try:
        with handled(_heard(), stop):
            yield stop
    finally:
        _ACTIVE.clear()


def hear_signals() -> Stop:
    """The same from now until ``leave``: the first line of a program."""
    stop = Stop()
    _ACTIVE.append(stop)
    for number in _heard():
        signal.signal(number, stop)
    return stop


def leave(code: int) -> None:
    """From now on, while Python itself ends, a signal ends the process at once, with the exit code it has earned."""
    for number in _heard():
        signal.signal(number, lambda *_: os._exit(code))
    _forget_interrupt()
    sys.stdout.flush()
    sys.stderr.flush()


def _forget_interrupt() -> None:
    """Let this process end with its exit code, although a KeyboardInterrupt came up in it and was handled.

    CPython sets a flag when a KeyboardInterrupt leaves code that it compiled at run time, as in many imports. Where the
    flag is set at the end, it kills itself by SIGINT whatever the exit code. Python code cannot reach the flag, but
    running a string clears it, even an empty one (``run_eval_code_obj`` in CPython's ``Python/pythonrun.c``).
    """
    exec("")


def _heard() -> list[int]:
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
