"""No trial is made from anything that was fitted on patients it holds out: checked on the plan, before anything runs.

``medsweep.data.fitted_on`` checks the same again at run time, on what was really written.
"""

from collections.abc import Sequence
from functools import cache

from medsweep.data.folds import Fold, patients_of, split
from medsweep.identity import short
from medsweep.sweep.plan import Plan, PlannedTrial


class LeakageError(RuntimeError):
    """The plan would leak held-out patients; a bug in how chains are built, nothing that a user can mend."""


def require_no_leak(plan: Plan, patients: Sequence[str]) -> None:
    """Check every trial that is fitted on patients against all that it is made from.

    A trial counts as fitted on all training patients of its config's ``cut``, and as holding out the validation and
    test patients of that fold. Whatever it is made from must be fitted inside these training patients, the few where
    ``Fold.patients`` asks for few. Only what a config ``borrows``, a fold too, may lie outside the few, as the upper
    bounds of a study do, but never among patients held out. Cases that are known to have been learned from
    (``known_patients``) must lie inside the training group. Trials that share a fold differ in nothing here, so each
    pair of folds is looked at once.

    Raises:
        LeakageError: naming the trial, the ancestor and a patient.
        ValueError: a fold does not fit ``patients``.
    """

    @cache
    def leaked(own: Fold, other: Fold, borrowed: bool) -> str | None:
        fold, seen = split(patients, own), set(split(patients, other).train)
        for name, held_out in (("test", fold.test), ("validation", fold.validation)):
            if shared := set(patients_of(seen)) & set(patients_of(held_out)):
                return f"patient {min(shared)!r}, whom the trial holds out as {name} patient"
        outside = set() if borrowed else seen - set(fold.train)
        return f"patient {min(outside)!r} outside the trial's training group" if outside else None

    made_with: dict[str, frozenset[_Seen]] = {}
    for digest, trial in plan.trials.items():
        inherited = frozenset[_Seen]().union(*(made_with[parent] for parent in trial.inputs.values()))
        own, lent = trial.config.cut, trial.config.borrows
        known = set(trial.config.known_patients)
        if own is not None and known and (strangers := known - set(split(patients, own).train)):
            who = f"{min(strangers)!r}, who is outside its training group"
            raise LeakageError(f"{trial.stage} {short(digest)} is made from what learned from {who}")
        if lent is not None:
            inherited |= {(lent, True)}
        for other, borrowed in inherited:
            if own is not None and (what := leaked(own, other, borrowed)) is not None:
                raise LeakageError(_message(plan, trial, other, what))
        # What passes the check and is not borrowed lies inside ``own``, which stands for all of it further down.
        made_with[digest] = (
            inherited if own is None else frozenset({(own, False), *(seen for seen in inherited if seen[1])})
        )


_Seen = tuple[Fold, bool]
"""A fold whose training group something was made from, and whether it is borrowed."""


def _message(plan: Plan, trial: PlannedTrial, other: Fold, what: str) -> str:
    ancestry = (plan.trials[digest] for digest in sorted(plan.ancestry(trial.digest)))
    source = next(made for made in ancestry if other in (made.config.cut, made.config.borrows))
    origin = f"{source.stage} {short(source.digest)}, which is fitted on {what}"
    return f"{trial.stage} {short(trial.digest)} is made from {origin}"
