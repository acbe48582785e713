"""What the report tells beside the statistics; the caller knows it, nothing here computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd


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
