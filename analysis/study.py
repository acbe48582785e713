"""The whole analysis as one record: reduce, describe, test, and the verdict on every arm against the control."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis import records, wording
from analysis.answers import Answer, answer_all
from analysis.checks import complete
from analysis.dose import DoseSeries, dose_series
from analysis.effects import Effect, effect
from analysis.limits import limits_of
from analysis.omnibus import NoOmnibus, Omnibus, friedman
from analysis.posthoc import Nemenyi, Wilcoxon, against_control, nemenyi
from analysis.ranks import RankStability, rank_stability
from analysis.records import ArmInfo
from analysis.tables import METRICS, AnalysisPlan, FlowStep, Metric, Reduced, metric_of, reduce
from analysis.variance import Components, RunMean, components, run_means
from medsweep.errors import UserError


@dataclass(frozen=True)
class Description:
    """One arm's scores over ``n`` patients (mean and SD over the ``n_finite`` finite ones)."""

    arm: str
    n: int
    n_finite: int
    mean: float
    sd: float
    median: float
    q1: float
    q3: float
    minimum: float
    maximum: float
    missed: int
    diverged: int


@dataclass(frozen=True)
class MetricStudy:
    """Everything on one metric that needs no verdict; ``exploratory`` for all but the primary one."""

    metric: Metric
    exploratory: bool
    n: int
    flow: tuple[FlowStep, ...]
    descriptions: tuple[Description, ...]
    omnibus: Omnibus | NoOmnibus
    nemenyi: Nemenyi | None
    effects: tuple[Effect, ...]
    wilcoxon: tuple[Wilcoxon, ...]


@dataclass(frozen=True)
class PoolSummary:
    """One metric of one arm's pools: mean and SD over its ``n`` distinct pools."""

    arm: str
    metric: str
    n: int
    mean: float
    sd: float


@dataclass(frozen=True)
class Analysis:
    """The answer of a sweep on one data set."""

    dataset: str
    plan: AnalysisPlan
    arms: tuple[ArmInfo, ...]
    control: str
    classes: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: int
    scope: str
    answers: tuple[Answer, ...]
    primary: MetricStudy
    secondary: tuple[MetricStudy, ...]
    dose: tuple[DoseSeries, ...]
    runs: tuple[RunMean, ...]
    components: tuple[Components, ...]
    ranks: tuple[RankStability, ...]
    pools: tuple[PoolSummary, ...]
    limits: tuple[str, ...]

    def to_json(self) -> str:
        """The record as JSON text; NaN is null, infinity a text."""
        return records.to_json(self)


def analyse(
    table: pd.DataFrame,
    pools: pd.DataFrame,
    plan: AnalysisPlan,
    *,
    arms: Sequence[ArmInfo],
    n_real: float | None = None,
    test_over_train: float | None = None,
) -> Analysis:
    """Analyse the tidy ``table`` of one data set.

    Args:
        table: one row per dataset, arm, fold, seed, patient, class and metric, with value and status.
        pools: arm, fold, seed, digest, metric, value of the synthetic pools; may be empty.
        plan: the ``analysis:`` part of the sweep.
        arms: every arm of the sweep in its order, exactly one the control.
        n_real: real training patients (or slices, as ``count`` is); makes doses relative to them.
        test_over_train: n_test/n_train of a fold, in patients; None takes the folds for those of a cross-validation.

    Raises:
        UserError: the table contradicts the sweep or itself, or has holes without a declared rule.
    """
    control = _control(arms)
    names = [arm.name for arm in arms]
    primary_metric = metric_of(plan.primary)
    rows = complete(table, names, plan.primary)
    found = set(rows["metric"])
    reduced = reduce(rows, plan, names, plan.primary)
    primary = _study(reduced, control, plan, exploratory=False)
    others = [name for name in METRICS if name in found and name != plan.primary]
    secondary = [_study(reduce(rows, plan, names, name), control, plan, exploratory=True) for name in others]
    answers = answer_all(reduced, primary.effects, primary.wilcoxon, control, plan, test_over_train=test_over_train)
    summaries = _pool_summaries(pools, names)
    return Analysis(
        dataset=str(rows["dataset"].iloc[0]),
        plan=plan,
        arms=tuple(arms),
        control=control,
        classes=tuple(sorted(str(name) for name in rows["class"].unique())),
        folds=reduced.folds,
        seeds=reduced.seeds,
        scope=wording.scope_sentence(reduced.seeds, len(reduced.folds)),
        answers=answers,
        primary=primary,
        secondary=tuple(secondary),
        dose=tuple(dose_series(reduced, arms, control, 1 - plan.alpha, n_real or 1.0)),
        runs=run_means(reduced),
        components=tuple(components(reduced, name) for name in names),
        ranks=rank_stability(reduced.wide, higher_is_better=primary_metric.higher_is_better, level=1 - plan.alpha),
        pools=summaries,
        limits=limits_of(reduced, answers, pools, plan),
    )


def _control(arms: Sequence[ArmInfo]) -> str:
    names = [arm.name for arm in arms]
    if len(set(names)) != len(names):
        raise UserError(f"two arms share a name: {sorted(name for name in set(names) if names.count(name) > 1)[0]!r}")
    controls = [arm.name for arm in arms if arm.control]
    if len(controls) != 1:
        raise UserError(f"exactly one arm is the control, got {len(controls)} among {len(arms)} arms; set `control:`")
    if len(arms) < 2:
        raise UserError(f"one arm ({names[0]!r}) leaves nothing to compare; add a factor to the sweep")
    return controls[0]


def _study(reduced: Reduced, control: str, plan: AnalysisPlan, *, exploratory: bool) -> MetricStudy:
    higher = reduced.metric.higher_is_better
    differences = [(str(arm), reduced.differences(str(arm), control)) for arm in reduced.wide if arm != control]
    omnibus = friedman(reduced.wide, higher_is_better=higher)
    pairs = None
    if isinstance(omnibus, Omnibus):
        pairs = nemenyi(reduced.wide, omnibus, higher_is_better=higher, alpha=plan.alpha)
    return MetricStudy(
        metric=reduced.metric,
        exploratory=exploratory,
        n=reduced.n,
        flow=reduced.flow,
        descriptions=tuple(_describe(reduced, str(arm)) for arm in reduced.wide),
        omnibus=omnibus,
        nemenyi=pairs,
        effects=tuple(effect(arm, delta, higher_is_better=higher, level=1 - plan.alpha) for arm, delta in differences),
        wilcoxon=against_control(differences),
    )


def _describe(reduced: Reduced, arm: str) -> Description:
    values = reduced.wide[arm].to_numpy(dtype=np.float64)
    finite = values[np.isfinite(values)]
    # an infinite score (a missed structure) counts, and interpolation would turn it into NaN
    q1, median, q3 = np.quantile(
        values, [0.25, 0.5, 0.75], method="linear" if len(finite) == len(values) else "closest_observation"
    )
    return Description(
        arm=arm,
        n=len(values),
        n_finite=len(finite),
        mean=float(finite.mean()) if len(finite) else float("nan"),
        sd=float(finite.std(ddof=1)) if len(finite) > 1 else float("nan"),
        median=float(median),
        q1=float(q1),
        q3=float(q3),
        minimum=float(values.min()),
        maximum=float(values.max()),
        missed=reduced.missed[arm],
        diverged=reduced.diverged[arm],
    )


def _pool_summaries(pools: pd.DataFrame, names: Sequence[str]) -> tuple[PoolSummary, ...]:
    if pools.empty:
        return ()
    distinct = pools.drop_duplicates(["arm", "digest", "metric"]).dropna(subset=["value"])
    found = []
    for name in names:
        for metric, rows in distinct[distinct["arm"] == name].groupby("metric", sort=True):
            values = rows["value"].sort_values().to_numpy(dtype=np.float64)
            sd = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
            found.append(PoolSummary(name, str(metric), len(values), float(values.mean()), sd))
    return tuple(found)
