"""What a search suggested and what its sampler was told, in order: numbered files in the store, each written once.

``STORE/search/SWEEP/000000.json`` and on. Whoever makes a number first has written it, so drivers that run one search
at once agree on what came when. A file that a power cut tore says nothing, and is passed over.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from medsweep.store.store import Store
from medsweep.sweep.space import SUGGESTION, Params

SEARCH: Final = "search"
"""Folder of the store."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Suggestions that were asked for, the end of an arm that the sampler was told, or that this shall be forgotten."""

    kind: Literal["asked", "told", "forgotten"]
    at: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    points: tuple[Params, ...] = ()
    """What was suggested together."""
    arm: str = ""
    """Of what was told or is forgotten."""
    outcome: str = ""
    message: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Means over replicates of one that is complete; None where no patient defines it."""
    replicates: int = 0
    leaves: tuple[str, ...] = ()
    """Digests of the trials that measure the arm: those of another version of the sweep tell nothing."""
    culprit: str = ""
    """Digest of the trial that failed for good and is not published."""


_JSON = TypeAdapter(Event)


@dataclass(frozen=True)
class Recorded:
    """What holds after all events."""

    asked: Mapping[str, Params]
    """Points by the arm's name, in the order in which they were suggested."""
    told: Mapping[str, Event]
    """The last word on each arm, in the order in which the sampler first heard of it."""


class Record:
    """The events of one search. Without ``writes`` new ones stay in memory, for those who only look."""

    def __init__(self, store: Store, sweep: str, *, writes: bool) -> None:
        self.folder = store.root / SEARCH / sweep
        self._store = store
        self.writes = writes
        self.events: list[Event] = []
        self._read = 0
        self._refresh()

    def append(self, event: Event) -> None:
        """Add an event, unless another driver was faster: then what it wrote is there instead."""
        if self.writes:
            self._store.write_once(self._path(self._read), _JSON.dump_json(event, indent=1))
            self._refresh()
        else:
            self.events.append(event)

    def refresh(self) -> None:
        """Read what other drivers have written since."""
        if self.writes:
            self._refresh()

    def _refresh(self) -> None:
        while (path := self._store.fresh(self._path(self._read), now=self.writes)).exists():
            with suppress(ValidationError):
                self.events.append(_JSON.validate_json(path.read_bytes()))
            self._read += 1

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def recorded(self) -> Recorded:
        """All events taken together."""
        asked: dict[str, Params] = {}
        told: dict[str, Event] = {}
        for event in self.events:
            if event.kind == "asked":
                asked |= {suggested(len(asked) + k): point for k, point in enumerate(event.points)}
            elif event.kind == "told":
                told[event.arm] = event
            else:
                told.pop(event.arm, None)
        return Recorded(asked, told)


def suggested(number: int) -> str:
    """The name of a suggestion, by its number from 0."""
    return f"{SUGGESTION}{number:03}"
