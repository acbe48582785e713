"""What a tracker is told about a trial."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from medsweep.identity import short
from medsweep.trial import COMPLETE, Progress, PrunedError

TrackingMode = Literal["offline", "online", "disabled"]
STOPPED: Final = "stopped"
"""Outcome of a trial that was stopped with the sweep, and goes on with it."""
LONGEST_TAG: Final = 64


def run_id(stage: str, digest: str) -> str:
    """The id of a trial's run, the same in every sweep."""
    return f"{stage}-{short(digest)}"


def reference(stage: str, digest: str) -> str:
    """The name of a trial's output that is the same everywhere, and no path."""
    return f"medsweep:{stage}/{digest}"


def exit_code(outcome: str) -> int:
    """0 for a trial that ended as it should; W&B shows runs with any other as failed."""
    return 0 if outcome in (COMPLETE, PrunedError.outcome, STOPPED) else 1


def clipped(text: str) -> str:
    """``text``, or its beginning and a hash of it all where it is longer than a tag may be."""
    if len(text) <= LONGEST_TAG:
        return text
    return f"{text[: LONGEST_TAG - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """What is known about a trial before it starts; no host path, key or patient id is in it."""

    sweep: str
    stage: str
    digest: str
    arms: tuple[str, ...] = ()
    """Names of the arms that this trial serves, directly or through its descendants."""
    of_arm: bool = False
    """Whether it is an arm's own where it serves just one."""
    fold: int | None = None
    """Number of its fold; None where folds share it."""
    seed: int | None = None
    """Seed of its replicate; None where seeds share it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Digest of the input trial by role."""

    @property
    def group(self) -> str:
        """The arm whose own trial this is, else ``shared``."""
        return self.arms[0] if len(self.arms) == 1 and self.of_arm else "shared"


class Tracker:
    """Mirrors one trial after the other; every call returns whatever happens to the mirror. This one tells nobody."""

    def begin(self, card: RunCard, last_step: int) -> None:
        """A trial starts, or goes on after ``last_step`` (0 for a fresh one)."""

    def log(self, progress: Progress) -> None:
        """A report of the running trial; its step is the step of the mirror."""

    def end(self, outcome: str, summary: Mapping[str, float]) -> None:
        """The trial ended with a named outcome (``complete``, ``diverged``, ``out-of-memory``, ...)."""
