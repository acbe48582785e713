"""What the report tells beside the statistics, and what a section is made of: name, blocks, what the methods say."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from medsweep.analysis.figures.style import Drawn
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.study.analyse import Analysis


class PlanRow(NamedTuple):
    """One stage of the plan: trials of this sweep, trials without sharing (naive), ran and reused, hours of work."""

    stage: str
    trials: int
    naive: int
    ran: int
    reused: int
    hours: float


class SamplePicture(NamedTuple):
    """A picture of real and synthetic pairs, a PNG file."""

    title: str
    caption: str
    path: Path


class MissingTrial(NamedTuple):
    """A trial without a result, how it ended, and its message."""

    trial: str
    outcome: str
    message: str


@dataclass(frozen=True)
class ReportContext:
    """The sweep around an analysis."""

    sweep: str
    question: str
    dataset: str
    """One line: name, patients, resolution, split."""
    command: str
    """The exact command that made this result."""
    created: str
    """ISO time."""
    versions: Mapping[str, str] = field(default_factory=dict)
    plan: tuple[PlanRow, ...] = ()
    grids: tuple[SamplePicture, ...] = ()
    spectra: pd.DataFrame | None = None
    """Power by frequency of pools and of real images, the columns that ``medsweep.analysis.figures.spectra`` draws."""
    failures: tuple[MissingTrial, ...] = ()
    store: str = "store"
    """Path of the store, for the commands that explain a trial."""
    wandb_project: str = ""
    """Where the runs are mirrored, as ``project`` or ``entity/project``; empty where they are not."""
    limits: tuple[str, ...] = ()
    """Sentences on limits that the data do not show; those they do show are in the analysis."""


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
