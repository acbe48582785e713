"""Every way a trial can fail has a name, and a note beside the store says what happened.

A trial that ended without a result is tried again once it has been moved to ``STORE/retried/``.
"""

import errno
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from medsweep.errors import UserError, nearest
from medsweep.identity import derive_seed, short
from medsweep.store.bucket import BucketError
from medsweep.store.lease import LeaseHeldError, LeaseLostError
from medsweep.store.store import DamagedError, Store
from medsweep.store.waste import RETRIED
from medsweep.sweep.plan import Plan
from medsweep.trial import COMPLETE, DivergedError, PoolDryError, StageEndedError

OWN_FAILURES = frozenset({"out-of-memory", "disk-full", "read-only", "bad-input", "error"})
"""Outcomes that running the same trial again in the same place would give again."""
LOST = frozenset({"killed", "lease-lost", "stalled", BucketError.outcome})
"""Outcomes that say nothing about the trial itself, after which it is free to be tried again."""
GIVEN_UP = frozenset({"out-of-memory", "error", "killed", "stalled"})
"""Outcomes that a trial may owe to its own config, once it was tried as often as may be; a full disk says nothing."""
TRIES = 3
"""Times a trial may be lost to the machines within one call; errors of its own are not tried again."""
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 60.0
"""Pause before trials that were lost to the machines are tried again, doubled with each try, and the longest."""

KILLED_FOR_MEMORY: Final = "Ray's memory monitor ended its worker"
"""How the message begins where a trial was killed to save its node, whatever it had set aside."""

ADVICE: Mapping[str, str] = {
    "out-of-memory": "give the stage more memory or a smaller batch_size, then run the sweep again",
    "disk-full": "free space on the store's disk, then run the sweep again; nothing finished is lost",
    "damaged-file": "the damaged trial is set aside and run again",
    "bad-input": "mend what the message names, then run the sweep again",
    "killed": "the worker died without a word (host memory, a lost node, a kill); run the sweep again",
    LeaseHeldError.outcome: "end that process or let it end, then run the sweep again",
    BucketError.outcome: "see that the bucket answers, then run the sweep again; nothing finished is lost",
    "lease-lost": "another run took this trial over",
    "stalled": "the attempt note says where it hung; raise the stage's stall_minutes if it merely reports that rarely",
    "read-only": "make the store writable again, then run the sweep again; nothing finished is lost",
    "error": "the traceback is in the attempt note",
    DivergedError.outcome: "it counts as the worst score; train its network otherwise, or drop the arm",
}
OUTCOMES = frozenset({*ADVICE, *(kind.outcome for kind in (StageEndedError, PoolDryError))})
"""Outcomes that give no result, whether published or noted."""


class TrialFailedError(Exception):
    """A trial ended without a published result; ``outcome`` names how."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(f"{outcome}: {message}")
        self.outcome, self.message = outcome, message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return TrialFailedError, (self.outcome, self.message)


class StalledError(Exception):
    """A trial has not reported for longer than its stage allows; ``stacks`` says where every thread was."""

    def __init__(self, message: str, stacks: str = "") -> None:
        super().__init__(message)
        self.stacks = stacks


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Note of one failed attempt."""

    outcome: str
    message: str
    traceback: str
    at: str
    damaged: tuple[str, str] | None = None
    """Stage and digest of the input that was found damaged."""


_JSON = TypeAdapter(Attempt)
_BY_TYPE: Mapping[type[BaseException], str] = {
    DamagedError: DamagedError.outcome,
    BucketError: BucketError.outcome,
    UserError: "bad-input",
    LeaseLostError: "lease-lost",
    LeaseHeldError: LeaseHeldError.outcome,
    MemoryError: "out-of-memory",
    StalledError: "stalled",
}
_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "_alloc_failed",  # cuBLAS, cuDNN, cuFFT, cuSOLVER and cuSPARSE have a status of this ending
    "_allocation_failed",
    "cublas_status_not_initialized",  # making a handle allocates a workspace
)
"""Messages of torch and of the libraries behind it for lack of memory, in lower case."""
_MEMORY_IF_SHORT = (
    "unable to find an engine to execute this computation",
    "unable to find a valid cudnn algorithm",
    "cudnn_status_not_initialized",
)
"""What cuDNN says where no algorithm's workspace fits, and at other times for other reasons."""


def classify(error: BaseException, is_short: Callable[[], bool] = lambda: False) -> str:
    """Name the outcome of an exception that ended a trial; ``is_short`` says whether memory was scarce."""
    for kind, outcome in _BY_TYPE.items():
        if isinstance(error, kind):
            return outcome
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk-full"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return "read-only"
    text = str(error).lower()
    if not isinstance(error, RuntimeError):
        return "error"
    if any(words in text for words in _MEMORY) or (any(words in text for words in _MEMORY_IF_SHORT) and is_short()):
        return "out-of-memory"
    return "error"


def note_path(store: Store, stage: str, digest: str) -> Path:
    """Where the notes about failed attempts at a trial are."""
    return store.root / "attempts" / stage / f"{short(digest)}.jsonl"


def write_note(
    store: Store, stage: str, digest: str, error: BaseException, is_short: Callable[[], bool] = lambda: False
) -> Attempt:
    """Append a note about ``error``; where the store takes none, the returned one is all there is."""
    attempt = Attempt(
        outcome=classify(error, is_short),
        message=first_line(error),
        traceback=error.stacks if isinstance(error, StalledError) else "".join(traceback.format_exception(error)),
        at=_now(),
        damaged=(error.stage, error.digest) if isinstance(error, DamagedError) else None,
    )
    _append(store, stage, digest, attempt)
    return attempt


def note_loss(store: Store, stage: str, digest: str, outcome: str, message: str) -> None:
    """Append a note about an attempt whose worker was killed, and so has left none."""
    _append(store, stage, digest, Attempt(outcome=outcome, message=message, traceback="", at=_now()))


def _append(store: Store, stage: str, digest: str, attempt: Attempt) -> None:
    path = note_path(store, stage, digest)
    with suppress(OSError, BucketError):
        store.fresh(path, now=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.exists() and not path.read_bytes().endswith(b"\n")
        with path.open("ab") as stream:
            stream.write(b"\n" * torn + _JSON.dump_json(attempt) + b"\n")
        store.shared(path, lines=True)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def notes(store: Store, stage: str, digest: str, *, now: bool = False) -> list[Attempt]:
    """All notes about a trial, oldest first; lines that a kill or a full disk tore are left out.

    Without ``now`` a note of moments ago may be missing.
    """
    path = store.fresh(note_path(store, stage, digest), now=now)
    attempts = []
    for line in path.read_bytes().split(b"\n") if path.exists() else []:
        with suppress(ValidationError):
            attempts.append(_JSON.validate_json(line))
    return attempts


def backoff_seconds(tries: int, *who: str | int) -> float:
    """Seconds to wait after ``tries`` losses, between three and five quarters of their doubling.

    The share is drawn by ``who`` waits, so that drivers which lost the same machine do not come back together. A
    quarter either way, and not more: whatever is drawn, each pause is longer than the one before it until the longest.
    """
    jitter = 0.75 + derive_seed("backoff", tries, *who) / 2**64
    return float(min(BACKOFF_SECONDS * 2.0 ** (tries - 1), LONGEST_BACKOFF_SECONDS) * jitter)


@dataclass(frozen=True)
class Failed:
    """A trial of a sweep that ended without a result."""

    stage: str
    digest: str
    outcome: str
    published: bool
    """Published with that outcome; otherwise only noted, and tried again by every run anyway."""


def failed_trials(
    plan: Plan, store: Store, outcomes: Sequence[str] = (), given_up: Mapping[str, str] | None = None
) -> list[Failed]:
    """Trials of ``plan`` that ended without a result (with one of ``outcomes``), none that is being worked on.

    ``given_up`` are outcomes by digest that are known from elsewhere: a kill that took the driver, too, left no note.

    Raises:
        UserError: no trial can end with one of ``outcomes``.
    """
    published = store.look((trial.stage, digest) for digest, trial in plan.trials.items())
    failed = []
    for digest, trial in plan.trials.items():
        manifest = published.get(digest)
        if isinstance(manifest, DamagedError):
            continue
        if manifest is not None:
            if manifest.outcome != COMPLETE:
                failed.append(Failed(trial.stage, digest, manifest.outcome, published=True))
        elif not store.leased(trial.stage, digest):
            attempts = notes(store, trial.stage, digest)
            outcome = (given_up or {}).get(digest) or (attempts[-1].outcome if attempts else None)
            failed += [Failed(trial.stage, digest, outcome, published=False)] if outcome else []
    possible = OUTCOMES | {failure.outcome for failure in failed}
    for outcome in outcomes:
        if outcome not in possible:
            raise UserError(f"--outcome {outcome} is how no trial ends; {nearest(outcome, possible)}")
    return [failure for failure in failed if not outcomes or failure.outcome in outcomes]


def set_apart(failed: Failed, store: Store) -> None:
    """Move a failed trial, and the notes on its attempts, to ``STORE/retried/``; checkpoints stay where they are."""
    if failed.published:
        store.quarantine(failed.stage, failed.digest, RETRIED)
    path = store.fresh(note_path(store, failed.stage, failed.digest), now=True)
    if path.exists():
        store.put_aside(path, RETRIED, f"notes-{failed.stage}-{short(failed.digest)}")
