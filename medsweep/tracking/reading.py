"""How far the reading of a dataset is: a line that changes on a terminal, elsewhere a line every so often."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Lock
from typing import Final

from rich.console import Console
from rich.text import Text

EVERY_SECONDS: Final = 30.0
"""Time between two lines where there is no terminal."""


@contextmanager
def reading_cases(
    console: Console | None = None,
    *,
    lines: bool = False,
    quiet: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[str, int], None]]:
    """Count the cases on standard error, or ``console``, and yield what is called with the id of each and their number.

    What is no terminal gets a line every ``EVERY_SECONDS`` if ``lines`` are wanted, so a short reading gets none.
    With ``quiet`` nothing is shown. ``clock`` tells seconds. Cases may be told from several threads.
    """
    shown = console or Console(stderr=True)
    done, lock, last = count(1), Lock(), clock()

    def on_read(case: str, cases: int) -> None:
        """Tell that ``case``, one of ``cases``, was read."""
        nonlocal last
        with lock:
            text = Text(f"read {next(done)} of {cases} cases, the last is {case}")
            if shown.is_terminal:
                status.update(text)
            elif lines and not quiet and clock() - last >= EVERY_SECONDS:
                last = clock()
                shown.print(text, soft_wrap=True)

    status = shown.status("reading the data")
    if quiet or not shown.is_terminal:
        yield on_read
    else:
        with status:
            yield on_read
