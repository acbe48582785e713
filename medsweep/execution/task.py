"""What a worker is told: one trial, and the world it runs in. Both travel to other processes as plain data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from medsweep.execution.stopping import Stopping
from medsweep.sweep import Resources
from medsweep.tracking.protocol import RunCard
from medsweep.trial import Stage

TrackingMode = Literal["offline", "online", "disabled"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One trial to run, as text-only data."""

    sweep: str
    stage: str
    digest: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Digest of the input trial by role."""
    input_stages: Mapping[str, str]
    reads: Mapping[str, str]
    arms: tuple[str, ...]
    label: str
    hours: float
    tail_hours: float
    """Estimated hours of the longest chain from the start of this trial to the end of the sweep."""
    held: Resources = field(default_factory=Resources)
    """What it holds while it runs."""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({**asdict(self), "held": self.held.model_dump()})

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """What ``to_json`` wrote."""
        raw = json.loads(text)
        return cls(**{**raw, "arms": tuple(raw["arms"]), "held": Resources(**raw["held"])})

    def card(self) -> RunCard:
        """What a tracker is told."""
        fold = self.config.get("fold")
        return RunCard(
            sweep=self.sweep,
            stage=self.stage,
            digest=self.digest,
            arms=self.arms,
            fold=fold["index"] if isinstance(fold, Mapping) else fold,
            seed=self.config.get("seed"),
            config=self.config,
            inputs=self.inputs,
        )


@dataclass(frozen=True, kw_only=True)
class World:
    """Where trials run and who is told. Carried to every worker once."""

    store: Path
    stages: Mapping[str, Stage]
    resources: Mapping[str, Resources] = field(default_factory=dict)
    tracking: TrackingMode = "disabled"
    checkpoint_seconds: float = 60.0
    stopping: Stopping | None = None
    """What an adaptive search may end early."""

    def held_by(self, stage: str) -> Resources:
        """Resources of one trial of ``stage``."""
        return self.resources.get(stage, Resources())
