"""What an arm of a search came to, read from the store: means over validation patients, hours, or how it ended."""

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from medsweep.errors import UserError
from medsweep.identity import short
from medsweep.store.store import Store
from medsweep.sweep.plan import Plan
from medsweep.sweep.space import HOURS, Params, SearchSection
from medsweep.trial import COMPLETE

VALIDATION: Final = "validation.parquet"
TEST: Final = "metrics.parquet"
REFUSED: Final = "refused"
"""Outcome of a suggestion whose values cannot stand together."""
UNDEFINED: Final = "undefined"
"""Outcome of a suggestion whose validation patients define no value of a metric."""


@dataclass(frozen=True)
class Result:
    """A settled arm of a search."""

    name: str
    params: Params
    outcome: str
    message: str = ""
    values: tuple[float, ...] = ()
    """One per objective, of a complete one."""
    excess: Mapping[str, float] = field(default_factory=dict)
    """Per constraint, how far it is exceeded; 0 or less is feasible."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Means over replicates, by metric."""
    replicates: int = 0

    @property
    def feasible(self) -> bool:
        """Whether it was measured and keeps all constraints."""
        return self.outcome == COMPLETE and all(excess <= 0 for excess in self.excess.values())


def result_of(
    section: SearchSection, plan: Plan, store: Store, *, name: str, params: Params, others: Set[str]
) -> Result | None:
    """What the arm ``name``, at the point ``params``, came to under all replicates, or None while a trial is missing.

    ``others`` are planned digests that arms named by the sweep need too; their hours do not count.
    """
    leaves = plan.leaves_of(name)
    ends = [_end(plan, store, leaf) for leaf in leaves]
    if any(end is None for end in ends):
        return None
    for outcome, message in filter(None, ends):
        if outcome != COMPLETE:
            return Result(name, params, outcome, message)
    scores = {
        metric: hours_of(plan, store, leaves, others)
        if metric == HOURS
        else mean_score(plan, store, name, metric, VALIDATION)
        for metric in section.metrics
    }
    if undefined := [metric for metric, value in scores.items() if not math.isfinite(value)]:
        return Result(name, params, UNDEFINED, f"no validation patient has a structure that defines {undefined[0]}")
    values = tuple(scores[objective.metric] for objective in section.objectives)
    excess = {bound.metric: bound.excess(scores[bound.metric]) for bound in section.constraints}
    return Result(name, params, COMPLETE, "", values, excess, scores, len(leaves))


def mean_score(plan: Plan, store: Store, name: str, metric: str, table: str) -> float:
    """Mean over replicates of the mean over patients and classes, of ``VALIDATION`` or ``TEST`` patients.

    A structure that the network missed is as far as the volume is wide, so that missing cannot pay; one that the
    reference lacks is left out. NaN where nothing is left.
    """
    return float(np.mean([_score(plan, store, leaf, metric, table) for leaf in plan.leaves_of(name)]))


def _score(plan: Plan, store: Store, leaf: str, metric: str, table: str) -> float:
    path = store.output(plan.trials[leaf].stage, leaf) / table
    frame = pd.read_parquet(path, columns=["metric", "value", "diagonal_mm"])
    rows = frame[frame["metric"] == metric]
    values = rows["value"].where(~np.isposinf(rows["value"]), rows["diagonal_mm"]).dropna()
    return float(values.mean()) if len(values) else math.nan


def hours_of(plan: Plan, store: Store, leaves: list[str], others: Set[str]) -> float:
    """Working hours of the trials that ``leaves`` were made from, each once, without planned digests in ``others``.

    Raises:
        UserError: one of them was deleted.
    """
    spent = {digest: stage for leaf in leaves for stage, digest in _made_from(plan, store, leaf, leaf, others)}
    return sum(store.manifest(stage, digest).seconds for digest, stage in spent.items()) / 3600


def _made_from(plan: Plan, store: Store, planned: str, made: str, others: Set[str]) -> Iterator[tuple[str, str]]:
    """Stage and digest of ``made``, planned as ``planned``, and of its inputs; a pool may since be planned larger."""
    if planned in others:
        return
    trial = plan.trials[planned]
    if not store.folder(trial.stage, made).is_dir():
        text = f"{trial.stage} {short(made)}, which a suggestion was made from, was deleted, so its hours are unknown"
        raise UserError(f"{text}; restore it, or take hours out of the search")
    yield trial.stage, made
    inputs = store.manifest(trial.stage, made).inputs
    for role, parent in trial.inputs.items():
        yield from _made_from(plan, store, parent, inputs[role], others)


def _end(plan: Plan, store: Store, leaf: str) -> tuple[str, str] | None:
    """Outcome and message of a leaf, or of what it cannot be made from; None while that is open."""
    ancestry = plan.ancestry(leaf)
    for digest in [leaf, *(digest for digest in plan.trials if digest in ancestry)]:
        stage = plan.trials[digest].stage
        outcome = store.outcome(stage, digest)
        if outcome is not None and (digest == leaf or outcome != COMPLETE):
            return outcome, store.manifest(stage, digest).message
    return None
