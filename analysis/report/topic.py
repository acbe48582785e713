"""What a section of the report is made of: its name, its blocks, and what the methods say of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from medsweep.analysis.figures.style import Drawn
from medsweep.analysis.report.context import ReportContext
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.study.analyse import Analysis

FOLDER = "figures"
HEAVY = 400_000
"""Bytes from which the page holds a picture's PNG instead of its SVG."""


@dataclass(frozen=True)
class Material:
    """What sections are written from; pictures are drawn into ``folder``/figures when a section asks for them."""

    analysis: Analysis
    context: ReportContext
    folder: Path

    def picture(self, name: str, draw: Callable[[Path], Drawn], caption: str, alt: str) -> Figure:
        """Draw one; ``draw`` gets the path of its files without their endings, ``alt`` tells it in words."""
        return figure_of(name, draw(self.folder / FOLDER / name), caption, alt)


@dataclass(frozen=True)
class Topic:
    """One section. Without a block there is no section: ``blocks`` returns None for what the records do not hold."""

    name: str
    title: str
    blocks: Callable[[Material], Iterable[Block | None]]
    methods: Callable[[Analysis], Iterable[str]] = lambda _: ()
    """Paragraphs for the methods section; they are told even where the section itself is empty."""


def figure_of(name: str, drawn: Drawn, caption: str, alt: str) -> Figure:
    """A drawn picture as the report shows it."""
    shown = drawn.svg if drawn.svg.stat().st_size < HEAVY else drawn.png
    return Figure(name, caption, alt, shown, f"{FOLDER}/{drawn.png.name}", drawn.csv)
