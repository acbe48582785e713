"""Trying again what ended without a result: it is moved to ``STORE/retried/``, so that the next run makes it anew."""

from collections.abc import Sequence
from dataclasses import dataclass

from medsweep.errors import UserError, nearest
from medsweep.execution.failures import ADVICE, note_path, notes
from medsweep.identity import short
from medsweep.store.collection import RETRIED
from medsweep.store.store import DamagedError, Store, free_path
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
        manifest = published.get(digest)
        if isinstance(manifest, DamagedError):
            continue
        if manifest is not None:
            if manifest.outcome != COMPLETE:
                failed.append(Failed(trial.stage, digest, manifest.outcome, published=True))
        elif (attempts := notes(store, trial.stage, digest)) and not store.leased(trial.stage, digest):
            failed.append(Failed(trial.stage, digest, attempts[-1].outcome, published=False))
    possible = OUTCOMES | {failure.outcome for failure in failed}
    for outcome in outcomes:
        if outcome not in possible:
            raise UserError(f"--outcome {outcome} is how no trial ends; {nearest(outcome, possible)}")
    return [failure for failure in failed if not outcomes or failure.outcome in outcomes]


def set_apart(failed: Failed, store: Store) -> None:
    """Move a failed trial, and the notes on its attempts, to ``STORE/retried/``; checkpoints stay where they are."""
    if failed.published:
        store.quarantine(failed.stage, failed.digest, RETRIED)
    path = note_path(store, failed.stage, failed.digest)
    if path.exists():
        path.rename(free_path(store.root / RETRIED, f"notes-{failed.stage}-{short(failed.digest)}", ".jsonl"))
