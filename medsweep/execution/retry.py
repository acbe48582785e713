"""Trying again what ended without a result: it is moved to ``STORE/retried/``, so that the next run makes it anew."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsweep.errors import UserError, nearest
from medsweep.execution.failures import ADVICE, note_path, notes
from medsweep.identity import short
from medsweep.store.collection import RETRIED
from medsweep.store.store import DamagedError, Store
from medsweep.sweep.plan import Plan
from medsweep.trial import COMPLETE, DivergedError, PoolDryError, StageEndedError

OUTCOMES = frozenset({*ADVICE, *(kind.outcome for kind in (StageEndedError, DivergedError, PoolDryError))})
"""Outcomes that give no result, whether published or noted."""


@dataclass(frozen=True)
class Failed:
    """A trial of a sweep that ended without a result."""

    stage: str
    digest: str
    outcome: str
    published: bool
    """Published with that outcome; otherwise only noted, and tried again by every run anyway."""


def failed_trials(plan: Plan, store: Store, outcomes: Sequence[str] = ()) -> list[Failed]:
    """Trials of ``plan`` that ended without a result (with one of ``outcomes``), none that is being worked on.

    Raises:
        UserError: no trial can end with one of ``outcomes``.
    """
    published = store.look((trial.stage, digest) for digest, trial in plan.trials.items())
    failed = []
    for digest, trial in plan.trials.items():
        found = published.get(digest)
        if isinstance(found, DamagedError) or (found is not None and found.outcome == COMPLETE):
            continue
        if found is not None:
            failed.append(Failed(trial.stage, digest, found.outcome, published=True))
        elif (noted := notes(store, trial.stage, digest)) and not store.leased(trial.stage, digest):
            failed.append(Failed(trial.stage, digest, noted[-1].outcome, published=False))
    _require_known(outcomes, OUTCOMES | {each.outcome for each in failed})
    return [each for each in failed if not outcomes or each.outcome in outcomes]


def _require_known(outcomes: Sequence[str], known: Collection[str]) -> None:
    for outcome in outcomes:
        if outcome not in known:
            raise UserError(f"--outcome {outcome} is how no trial ends; {nearest(outcome, known)}")


def set_apart(failed: Failed, store: Store) -> None:
    """Move a failed trial, and the notes on its attempts, to ``STORE/retried/``; checkpoints stay where they are."""
    if failed.published:
        store.quarantine(failed.stage, failed.digest, RETRIED)
    path = note_path(store, failed.stage, failed.digest)
    if path.exists():
        path.rename(_free(store.root / RETRIED, f"notes-{failed.stage}-{short(failed.digest)}"))


def _free(room: Path, name: str) -> Path:
    room.mkdir(exist_ok=True)
    number = 0
    while (target := room / f"{name}-{number}.jsonl").exists():
        number += 1
    return target
