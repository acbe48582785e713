"""The line that tells how far the reading of a dataset is."""

from io import StringIO

from rich.console import Console

from medsweep.tracking.reading import reading_cases


def lines(*, is_terminal):
    out = StringIO()
    with reading_cases(Console(file=out, force_terminal=is_terminal, width=80)) as on_read:
        for name in ("p1", "p[red]2"):
            on_read(name, 5)
    return out.getvalue()


def test_a_terminal_shows_how_many_cases_are_read():
    assert "read 2 of 5 cases, the last is p[red]2" in lines(is_terminal=True)


def test_what_is_no_terminal_gets_nothing():
    assert lines(is_terminal=False) == ""
