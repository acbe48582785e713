"""A table of text cells, ready for the page and for CSV."""

import csv
from dataclasses import dataclass
from pathlib import Path

from analysis.wording import p_text

Row = tuple[str, ...]
DASH = "\N{EM DASH}"


@dataclass(frozen=True)
class Table:
    """``text_columns`` are set flush left, the others hold numbers. ``name`` is its file and anchor."""

    name: str
    caption: str
    head: Row
    rows: tuple[Row, ...]
    text_columns: frozenset[int] = frozenset({0})


def bare_p(p: float) -> str:
    """``.012`` or ``< .001``, for a column headed p."""
    return p_text(p, "").strip().removeprefix("= ")


def write_csv(path: Path, table: Table) -> None:
    """The cells as they are printed; full precision is in ``analysis.json``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([table.head, *table.rows])
