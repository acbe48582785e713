"""What an arm of a search came to, read from the store: means over validation patients, hours, or how it ended."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from medsweep.errors import UserError
from medsweep.identity import short
from medsweep.search.record import Event
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
Lost = tuple[str, str]
"""Outcome and message of a trial that failed for good and is not published."""


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


def ending_of(
    section: SearchSection, plan: Plan, store: Store, *, arm: str, others: Set[str], lost: Mapping[str, Lost]
) -> Event | None:
    """What the arm came to under all replicates, to be told, or None while a trial is missing.

    ``others`` are planned digests that arms named by the sweep need too; their hours do not count. ``lost`` are trials
    that failed for good and are not published.
    """
    leaves = plan.leaves_of(arm)
    told = partial(Event, kind="told", arm=arm, leaves=tuple(leaves))
    ends = [_end(plan, store, leaf, lost) for leaf in leaves]
    if any(end is None for end in ends):
        return None
    for outcome, message, culprit in filter(None, ends):
        if outcome != COMPLETE:
            return told(outcome=outcome, message=message, culprit=culprit)
    scores = {
        metric: hours_of(plan, store, leaves, others)
        if metric == HOURS
        else mean_score(plan, store, arm, metric, VALIDATION)
        for metric in section.metrics
    }
    metrics = {metric: value if math.isfinite(value) else None for metric, value in scores.items()}
    return told(outcome=COMPLETE, metrics=metrics, replicates=len(leaves))


def result_of(section: SearchSection, told: Event, params: Params) -> Result | None:
    """What the sampler hears of an arm at the point ``params``; None where a metric was not looked at then."""
    if told.outcome != COMPLETE:
        return Result(told.arm, params, told.outcome, told.message)
    if not told.metrics.keys() >= set(section.metrics):
        return None
    scores = {metric: value for metric in section.metrics if (value := told.metrics[metric]) is not None}
    if undefined := [metric for metric in section.metrics if metric not in scores]:
        message = f"no validation patient has a structure that defines {undefined[0]}"
        return Result(told.arm, params, UNDEFINED, message)
    values = tuple(scores[objective.metric] for objective in section.objectives)
    excess = {bound.metric: bound.excess(scores[bound.metric]) for bound in section.constraints}
    return Result(told.arm, params, COMPLETE, "", values, excess, scores, told.replicates)


def shortfall(section: SearchSection, results: Sequence[Result]) -> str:
    """Why none of all ``results`` can be called best, and by how much constraints were missed; else nothing."""
    if any(result.feasible for result in results):
        return ""
    measured = [result for result in results if result.outcome == COMPLETE]
    if not measured:
        counts = Counter(result.outcome for result in results)
        ends = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        return f"search: none of {len(results)} suggestions could be measured: {ends}; search elsewhere in the space"
    bounds = {bound.metric: bound for bound in section.constraints}

    def missed(result: Result) -> float:
        return max(excess / (abs(bounds[name].bound) or 1.0) for name, excess in result.excess.items())

    nearest = min(measured, key=missed)
    misses = [
        f"{name} {nearest.metrics[name]:.4g} misses {bounds[name].words} by {excess:.3g}"
        for name, excess in nearest.excess.items()
        if excess > 0
    ]
    text = f"search: none of {len(measured)} measured suggestions keeps the constraints; {nearest.name} comes nearest"
    return f"{text}: {', '.join(misses)}; relax them, or search elsewhere"


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
    if not store.has(trial.stage, made):
        text = f"{trial.stage} {short(made)}, which a suggestion was made from, was deleted, so its hours are unknown"
        raise UserError(f"{text}; restore it, or take hours out of the search")
    yield trial.stage, made
    inputs = store.manifest(trial.stage, made).inputs
    for role, parent in trial.inputs.items():
        yield from _made_from(plan, store, parent, inputs[role], others)


def _end(plan: Plan, store: Store, leaf: str, lost: Mapping[str, Lost]) -> tuple[str, str, str] | None:
    """Outcome and message of a leaf, or of what it cannot be made from, and the digest if that is among ``lost``.

    None while it is open.
    """
    ancestry = plan.ancestry(leaf)
    made_from = [leaf, *(digest for digest in plan.trials if digest in ancestry)]
    for digest in made_from:
        stage = plan.trials[digest].stage
        outcome = store.outcome(stage, digest)
        if outcome is not None and (digest == leaf or outcome != COMPLETE):
            return outcome, store.manifest(stage, digest).message, ""
    return next(((*lost[digest], digest) for digest in made_from if digest in lost), None)
