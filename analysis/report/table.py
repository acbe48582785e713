"""A table of text cells, ready for the page, for CSV, for LaTeX and for Markdown."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from medsweep.analysis.records import Bounded
from medsweep.analysis.study.wording import MINUS, NOT_COMPUTABLE, counted, p_text, span

Item = TypeVar("Item")
Columns = Mapping[str, Callable[[Item], str]]
"""Head of each column, and its cell for an item."""
Row = tuple[str, ...]
DASH = "\N{EM DASH}"
_MACHINE = str.maketrans({MINUS: "-", "\N{NO-BREAK SPACE}": " "})


@dataclass(frozen=True)
class Table:
    """``text_columns`` are set flush left, the others hold numbers. ``name`` is its file and anchor.

    A ``folded`` one starts closed on the page.
    """

    name: str
    caption: str
    head: Row
    rows: tuple[Row, ...]
    text_columns: frozenset[int] = frozenset({0})
    folded: bool = False

    @property
    def lead(self) -> str:
        """The first sentence of the caption, and the number of rows."""
        first, _, _ = self.caption.partition(". ")
        return f"{first.removesuffix('.')} ({counted(len(self.rows), 'row')})"


def table_of(
    name: str, caption: str, items: Iterable[Item], columns: Columns[Item], *, text: Collection[str] = ()
) -> Table:
    """One row per item, one column per head with what it says of an item; ``text``: heads flush left, and the first."""
    rows = tuple(tuple(cell(item) for cell in columns.values()) for item in items)
    flush_left = frozenset(place for place, head in enumerate(columns) if place == 0 or head in text)
    return Table(name, caption, tuple(columns), rows, flush_left)


def interval(estimate: Bounded | None, digits: int) -> str:
    """Its interval, or a dash."""
    return DASH if estimate is None else span(estimate.low, estimate.high, digits)


def without_dashes(table: Table) -> Table:
    """Without the columns in which every row has a dash, which a design without runs or seeds leaves."""
    filled = [i for i in range(len(table.head)) if not table.rows or any(row[i] != DASH for row in table.rows)]
    return replace(
        table,
        head=tuple(table.head[i] for i in filled),
        rows=tuple(tuple(row[i] for i in filled) for row in table.rows) if len(filled) > 1 else (),
        text_columns=frozenset(place for place, i in enumerate(filled) if i in table.text_columns),
    )


def folded(table: Table) -> Table:
    """The table with its rows closed on the page."""
    return replace(table, folded=True)


def bare_p(p: float) -> str:
    """``.012`` or ``< .001``, for a column headed p."""
    return p_text(p, "").strip().removeprefix("= ")


def csv_text(table: Table) -> str:
    """The cells as they are printed, with a plain minus sign; full precision is in ``analysis.json``."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([table.head, *map(_machine, table.rows)])
    return stream.getvalue()


def _machine(row: Row) -> Row:
    """An empty cell for what there is not, ``inf`` for an infinity."""
    blank = {DASH: "", NOT_COMPUTABLE: "", "\N{INFINITY}": "inf", f"{MINUS}\N{INFINITY}": "-inf"}
    return tuple(blank.get(cell, cell).translate(_MACHINE) for cell in row)
