"""The lines that tell how far the reading of a dataset is."""

from io import StringIO

import pytest
from rich.console import Console

from medsweep.tracking.reading import EVERY_SECONDS, reading_cases


def shown(*, is_terminal=False, seconds=1.0, **options):
    """What is shown of five cases that take so many seconds each."""
    out, now = StringIO(), [0.0]
    console = Console(file=out, force_terminal=is_terminal, width=40)
    with reading_cases(console, clock=lambda: now[0], **options) as on_read:
        for name in ("p1", "p2", "p3", "p[red]4", "p[red]5"):
            now[0] += seconds
            on_read(name, 5)
    return out.getvalue()


def test_a_terminal_shows_how_many_cases_are_read():
    assert "read 5 of 5 cases, the last is p[red]5" in shown(is_terminal=True)


def test_what_is_no_terminal_gets_a_line_every_so_often():
    told = shown(lines=True, seconds=0.6 * EVERY_SECONDS).splitlines()
    assert told == ["read 2 of 5 cases, the last is p2", "read 4 of 5 cases, the last is p[red]4"]
    assert shown(lines=True) == ""
    assert shown(seconds=EVERY_SECONDS) == ""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_quiet_shows_nothing(is_terminal):
    assert shown(is_terminal=is_terminal, lines=True, quiet=True, seconds=EVERY_SECONDS) == ""
