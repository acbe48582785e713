"""A line on a terminal while the files of a dataset are read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from rich.console import Console
from rich.text import Text


@contextmanager
def reading_cases(console: Console | None = None) -> Iterator[Callable[[str, int], None]]:
    """Count the cases on standard error, or ``console``, and yield what is called with the id of each and their number.

    What is no terminal gets no line.
    """
    done = count(1)
    with (console or Console(stderr=True)).status("reading the data") as status:
        yield lambda case, cases: status.update(Text(f"read {next(done)} of {cases} cases, the last is {case}"))
