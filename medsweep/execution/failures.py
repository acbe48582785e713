"""Every way a trial can fail has a name, and a note beside the store says what happened."""

import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from medsweep.errors import UserError
from medsweep.files import DISK_FULL
from medsweep.identity import short
from medsweep.lease import LeaseHeldError, LeaseLostError
from medsweep.store import DamagedError, Store

INFRASTRUCTURE = frozenset({"killed", "lease-held", "lease-lost"})
"""Outcomes that say nothing about the trial itself; running it again may help."""

ADVICE: Mapping[str, str] = {
    "out-of-memory": "give the stage more memory or a smaller batch_size, then run the sweep again",
    "disk-full": "free space on the store's disk, then run the sweep again; nothing finished is lost",
    "damaged-file": "the damaged trial is set aside and run again",
    "bad-input": "mend what the message names, then run the sweep again",
    "killed": "the worker died without a word (host memory, a lost node, a kill); run the sweep again",
    "lease-held": "another run is at this trial; run the sweep again when it has ended",
    "lease-lost": "another run took this trial over",
    "error": "the traceback is in the attempt note",
}


class TrialFailedError(Exception):
    """A trial ended without a published result; ``outcome`` names how."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(f"{outcome}: {message}")
        self.outcome, self.message = outcome, message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return TrialFailedError, (self.outcome, self.message)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Note of one failed attempt."""

    outcome: str
    message: str
    traceback: str
    at: str
    damaged: tuple[str, str] | None = None
    """Stage and digest of the input that was found damaged."""


_BY_TYPE: Mapping[type[BaseException], str] = {
    DamagedError: DamagedError.outcome,
    UserError: "bad-input",
    LeaseLostError: "lease-lost",
    LeaseHeldError: "lease-held",
    MemoryError: "out-of-memory",
}


def classify(error: BaseException) -> str:
    """Name the outcome of an exception that ended a trial."""
    for kind, outcome in _BY_TYPE.items():
        if isinstance(error, kind):
            return outcome
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return "disk-full"
    text = str(error).lower()
    if isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text):
        return "out-of-memory"
    return "error"


def note_path(store: Store, stage: str, digest: str) -> Path:
    """Where the notes about failed attempts at a trial are."""
    return store.root / "attempts" / stage / f"{short(digest)}.jsonl"


def write_note(store: Store, stage: str, digest: str, error: BaseException) -> Attempt:
    """Append a note about ``error``; a disk too full even for that is left to the exception itself."""
    attempt = Attempt(
        outcome=classify(error),
        message=first_line(error),
        traceback="".join(traceback.format_exception(error)),
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        damaged=(error.stage, error.digest) if isinstance(error, DamagedError) else None,
    )
    path = note_path(store, stage, digest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(json.dumps(asdict(attempt)) + "\n")
    except OSError as full:
        if full.errno not in DISK_FULL:
            raise
    return attempt


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def notes(store: Store, stage: str, digest: str) -> list[Attempt]:
    """All notes about a trial, oldest first; a torn last line is left out."""
    path = note_path(store, stage, digest)
    if not path.exists():
        return []
    whole = path.read_text().split("\n")[:-1]
    rows = [json.loads(line) for line in whole if line]
    return [Attempt(**{**row, "damaged": tuple(row["damaged"]) if row["damaged"] else None}) for row in rows]
