"""What the report tells beside the statistics, and what a section is made of: name, blocks, what the methods say."""

import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from medsweep.analysis.figures.style import Drawn
from medsweep.analysis.report.document import Block, Figure
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import counted


class PlanRow(NamedTuple):
    """One stage of the plan: trials of this sweep, trials without sharing (naive), ran and reused, hours of work."""

    stage: str
    trials: int
    naive: int
    ran: int
    reused: int
    hours: float


class SamplePicture(NamedTuple):
    """A picture of pairs, a PNG file; ``legend``: name and colour (``#rrggbb``) of each class."""

    title: str
    caption: str
    path: Path
    legend: tuple[tuple[str, str], ...] = ()


class MissingTrial(NamedTuple):
    """A trial without a result, how it ended, and its message."""

    trial: str
    outcome: str
    message: str


PACKAGES: Final = ("medsweep", "numpy", "scipy", "pandas", "statsmodels", "scikit-posthocs", "matplotlib")
"""What the numbers and pictures of a report are computed with."""


def versions_here() -> dict[str, str]:
    """Versions of ``PACKAGES`` that are installed, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@dataclass(frozen=True)
class ReportContext:
    """What an analysis does not know of itself; for a table without a sweep the defaults do."""

    sweep: str
    """Title of the page."""
    question: str
    dataset: str
    """One line: name, patients, resolution, split."""
    command: str = ""
    """The exact command that made this result; empty where there was none."""
    created: str = ""
    """ISO time."""
    versions: Mapping[str, str] = field(default_factory=versions_here)
    plan: tuple[PlanRow, ...] = ()
    grids: tuple[SamplePicture, ...] = ()
    overlays: Mapping[str, SamplePicture] = field(default_factory=dict)
    """What networks see in test patients, by the digest of the trial that scored them."""
    classes: tuple[str, ...] = ()
    """Names of the foreground classes in the order of the masks' labels, from 1 on."""
    spectra: pd.DataFrame | None = None
    """Power by frequency of pools and of real images, the columns that ``medsweep.analysis.figures.spectra`` draws."""
    edges: pd.DataFrame | None = None
    """Intensities along edges, the columns that ``medsweep.analysis.figures.laws`` draws."""
    variety: pd.DataFrame | None = None
    """Vendi scores of real slices of few patients to many and of pools, likewise."""
    agreement: tuple[str, ...] = ()
    """Sentences on pools whose agreement of masks and images is not told."""
    failures: tuple[MissingTrial, ...] = ()
    store: str = ""
    """Path of the store, for the commands that explain a trial; empty where no store has them."""
    wandb_project: str = ""
    """W&B's project; empty where there is no run."""
    wandb_runs: frozenset[str] = frozenset()
    """Ids of the W&B runs that there are."""
    limits: tuple[str, ...] = ()
    """Sentences on limits that the data do not show; those they do show are in the analysis."""


def context_of(analysis: Analysis) -> ReportContext:
    """For a table that belongs to no sweep."""
    return ReportContext(
        sweep=analysis.dataset,
        question=f"Does any arm differ from {analysis.control} in {analysis.primary.metric.title}?",
        dataset=f"{counted(analysis.primary.n, 'patient')}, classes {', '.join(analysis.classes)}",
    )


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
    folded: bool = False
    """Whether the section starts closed on the page."""


def figure_of(name: str, drawn: Drawn, caption: str, alt: str) -> Figure:
    """A drawn picture as the report shows it."""
    shown = drawn.svg if drawn.svg.stat().st_size < HEAVY else drawn.png
    return Figure(name, caption, alt, shown, f"{FOLDER}/{drawn.png.name}", drawn.csv, drawn.width_in)


def brought(name: str, picture: SamplePicture) -> Figure:
    """A picture that the caller brought."""
    caption, path = f"{picture.title}. {picture.caption}", picture.path
    return Figure(name, caption, picture.title, path, str(path), legend=picture.legend)
