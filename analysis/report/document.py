"""The report as a list of sections, before anybody decides whether it becomes HTML, Markdown or LaTeX."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medsweep.analysis.report.table import Table
from medsweep.analysis.study.answers import Answer
from medsweep.analysis.study.dead import DeadArm


@dataclass(frozen=True)
class Prose:
    """Paragraphs; with ``copy`` there is a button that copies them."""

    paragraphs: tuple[str, ...]
    copy: str = ""
    """What the button says it copies."""


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines to type; ``copy`` as for prose."""

    text: str
    copy: str


@dataclass(frozen=True)
class Figure:
    """A picture: ``shown`` is what the page holds, ``file`` where others find it beside the report."""

    name: str
    caption: str
    alt: str
    shown: Path
    file: str
    data: Path | None = None
    """The numbers drawn, as CSV."""
    width_in: float = 0.0
    """Width of a drawn picture, so that all have letters of one size; 0 for a picture that was brought."""
    legend: tuple[tuple[str, str], ...] = ()
    """Name and colour (``#rrggbb``) of the classes that a brought picture shows."""


@dataclass(frozen=True)
class Verdicts:
    """The answers, each behind the mark of its verdict, in the arms' order; then the arms without any network."""

    lines: tuple[tuple[str, Answer], ...]
    dead: tuple[DeadArm, ...] = ()


@dataclass(frozen=True)
class TrialLine:
    """One trained network: where it comes from, its W&B run, and the command that explains it."""

    fold: int
    seed: int
    outcome: str
    digest: str
    run_id: str
    command: str

    @property
    def line(self) -> str:
        """All of it as one line of text."""
        ended = "" if self.outcome == "complete" else f" ({self.outcome})"
        mirrored = f", W&B {self.run_id}" if self.run_id else ""
        return f"fold {self.fold}, seed {self.seed}{ended}: {self.digest}{mirrored}; {self.command}"


@dataclass(frozen=True)
class Trials:
    """The trials of each arm."""

    arms: tuple[tuple[str, tuple[TrialLine, ...]], ...]


Block = Prose | Bullets | Code | Figure | Table | Verdicts | Trials


@dataclass(frozen=True)
class Section:
    """``name`` is its anchor; a ``folded`` one starts closed on the page."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


@dataclass(frozen=True)
class Document:
    """The whole report; ``anchors``: arm -> number of the list of its trials, ``trials-N``."""

    title: str
    question: str
    headline: str
    meta: str
    sections: tuple[Section, ...]
    anchors: Mapping[str, int]

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table, in order."""
        return tuple(block for section in self.sections for block in section.blocks if isinstance(block, Table))

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every picture, in order."""
        return tuple(block for section in self.sections for block in section.blocks if isinstance(block, Figure))

    def number(self, block: Table | Figure) -> int:
        """From 1 on, tables and figures apart."""
        kin = self.tables if isinstance(block, Table) else self.figures
        return [other.name for other in kin].index(block.name) + 1


def legend_text(figure: Figure) -> str:
    """The legend behind a caption, for formats without coloured squares."""
    named = ", ".join(f"{name} {colour}" for name, colour in figure.legend)
    return f" Colours: {named}." if named else ""
