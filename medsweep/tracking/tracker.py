"""What a tracker is told about a trial."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from medsweep.identity import short
from medsweep.trial import COMPLETE, Progress, PrunedError

TrackingMode = Literal["offline", "online", "disabled"]
Scalar = bool | int | float | str | None
STOPPED: Final = "stopped"
"""Outcome of a trial that was stopped with the sweep, and goes on with it."""
LONGEST_TAG, LONGEST_NAME = 64, 128
"""Characters that a tag of a run, and its name, may have at W&B."""


def run_id(stage: str, digest: str) -> str:
    """The id of a trial's run, the same in every sweep."""
    return f"{stage}-{short(digest)}"


def reference(stage: str, digest: str) -> str:
    """The name of a trial's output that is the same everywhere, and no path."""
    return f"medsweep:{stage}/{digest}"


def exit_code(outcome: str) -> int:
    """0 for a trial that ended as it should; W&B shows runs with any other as failed."""
    return 0 if outcome in (COMPLETE, PrunedError.outcome, STOPPED) else 1


def clipped(text: str, longest: int = LONGEST_TAG) -> str:
    """``text``, or its beginning and a hash of it all where it is longer than ``longest`` characters."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """What W&B is told of a trial before anything of its course; no host path, key or patient id is in it."""

    run_id: str
    project: str
    """Name of the sweep."""
    name: str
    group: str
    """The arm that the trial measures or alone serves, else ``shared``."""
    job_type: str
    """Its stage."""
    tags: tuple[str, ...] = ()
    config: Mapping[str, Scalar] = field(default_factory=dict)
    """Its settings, and what it is, flat."""


class Tracker:
    """Mirrors one trial after the other; every call returns whatever happens to the mirror. This one tells nobody."""

    def begin(self, card: RunCard, part: Path) -> None:
        """A trial starts, or goes on after the reports of earlier attempts that its folder ``part`` holds."""

    def log(self, progress: Progress) -> None:
        """A report of the running trial."""

    def end(self, outcome: str) -> None:
        """The trial ended with a named outcome (``complete``, ``diverged``, ``out-of-memory``, ...)."""
