"""One metric without any verdict: what the arms scored, whether they differ, and by how much from the control.

Beside it every cell by status with its declared rule, and whether the answer hangs on the test or on other arms.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medsweep.analysis.records import Array
from medsweep.analysis.stats.effects import Effect, effects_of
from medsweep.analysis.stats.mean_ranks import (
    BonferroniDunn,
    LeaveOneOut,
    Nemenyi,
    bonferroni_dunn,
    leave_one_arm_out,
    nemenyi,
)
from medsweep.analysis.stats.method_tests import RunOmnibus, run_omnibus
from medsweep.analysis.stats.omnibus import NoOmnibus, Omnibus, friedman
from medsweep.analysis.stats.pairwise import AllPairs, Pairwise, all_pairs, pairwise
from medsweep.analysis.stats.wilcoxon import Wilcoxon, against_control
from medsweep.analysis.table.reduction import AnalysisRules, FlowStep, Reduced, difference
from medsweep.analysis.table.validation import NO_ROW, REPLICATE, UNKNOWN
from medsweep.metric_record import Metric


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
    """Everything on one metric that needs no verdict."""

    metric: Metric
    n: int
    flow: tuple[FlowStep, ...]
    descriptions: tuple[Description, ...]
    omnibus: Omnibus | NoOmnibus
    nemenyi: Nemenyi | None
    effects: tuple[Effect, ...]
    wilcoxon: tuple[Wilcoxon, ...]


def differences_of(reduced: Reduced, control: str) -> dict[str, Array]:
    """``Reduced.differences`` from the control for every other arm, in order."""
    values_NA = reduced.wide.to_numpy(dtype=np.float64)
    control_N1 = reduced.wide[[control]].to_numpy(dtype=np.float64)
    columns = difference(values_NA, control_N1).T.copy()
    return {str(arm): delta for arm, delta in zip(reduced.wide, columns, strict=True) if arm != control}


def study_metric(reduced: Reduced, control: str, rules: AnalysisRules) -> MetricStudy:
    """Describe every arm, then test all of them at once, all pairs, and each against the control."""
    higher = reduced.metric.higher_is_better
    differences: Mapping[str, Array] = differences_of(reduced, control)
    omnibus = friedman(reduced.wide, higher_is_better=higher)
    pairs = None
    if isinstance(omnibus, Omnibus):
        pairs = nemenyi(reduced.wide, omnibus, higher_is_better=higher, alpha=rules.alpha)
    return MetricStudy(
        metric=reduced.metric,
        n=reduced.n,
        flow=reduced.flow,
        descriptions=tuple(_describe(reduced, str(arm)) for arm in reduced.wide),
        omnibus=omnibus,
        nemenyi=pairs,
        effects=tuple(
            replace(effect, mean=effect.mean.clipped(reduced.metric.reach))
            for effect in effects_of(differences, higher_is_better=higher, level=1 - rules.alpha)
        ),
        wilcoxon=against_control(list(differences.items())),
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


@dataclass(frozen=True)
class Sensitivity:
    """Beside Friedman and Nemenyi, on the primary metric; none carries a verdict.

    ``bonferroni_dunn`` and ``leave_one_out`` are None without an omnibus test. ``runs`` takes the runs as random, too.
    ``on_request`` is what ``rules.post_hoc`` asks for.
    """

    runs: RunOmnibus | NoOmnibus
    pairwise: Pairwise
    bonferroni_dunn: BonferroniDunn | None
    leave_one_out: LeaveOneOut | None
    on_request: tuple[AllPairs, ...]


def sensitivity_of(
    reduced: Reduced, omnibus: Omnibus | NoOmnibus, control: str, rules: AnalysisRules, test_over_train: float | None
) -> Sensitivity:
    """All of it from the patients x arms table and, over runs, from its cells; ``omnibus`` is Friedman's."""
    wide, higher, alpha = reduced.wide, reduced.metric.higher_is_better, rules.alpha
    runs = run_omnibus(reduced, test_over_train)
    pairs = pairwise(wide, higher_is_better=higher, alpha=alpha, level=1 - alpha)
    if not isinstance(omnibus, Omnibus):
        return Sensitivity(runs, pairs, None, None, ())
    dunn = bonferroni_dunn(wide, omnibus, control, higher_is_better=higher, alpha=alpha)
    others = tuple(all_pairs(wide, method, higher_is_better=higher) for method in rules.post_hoc)
    return Sensitivity(runs, pairs, dunn, leave_one_arm_out(wide, higher_is_better=higher, alpha=alpha), others)


@dataclass(frozen=True)
class Cause:
    """Scores (patient x class x run x arm) of one status, the runs and patients they are in, and the declared rule."""

    status: str
    scores: int
    runs: int
    patients: int
    rule: str


def causes_of(rows: pd.DataFrame, rules: AnalysisRules, metric: Metric) -> tuple[Cause, ...]:
    """Counts for one metric in a table that ``validation.validated`` returned; every cause, also those of 0,
    except voxels that are ignored, which few datasets have.
    """
    scores = rows[rows["metric"] == metric.name]
    causes = []
    for status, rule in _rule_texts(rules, metric).items():
        cells = scores[scores["status"] == status]
        if status in UNKNOWN and cells.empty:
            continue
        runs = len(cells[["arm", *REPLICATE]].drop_duplicates())
        causes.append(Cause(status, len(cells), runs, int(cells["patient"].nunique()), rule))
    return tuple(causes)


def _rule_texts(rules: AnalysisRules, metric: Metric) -> dict[str, str]:
    empty = "the patient is left out for this class, in all arms"
    worst = "infinite, worst in ranks" if math.isinf(metric.worst) else f"{metric.worst:g}"
    absent = {
        "refuse": "the analysis stops",
        "complete-cases": "the replicate, or the patient, is left out for all arms",
    }[rules.missing]
    return {
        "ok": "scored as it is",
        "empty-both": empty,
        "empty-reference": empty,
        "ignored": "distances are unknown; the patient is left out for this class, in all arms",
        "missed": f"counts; scored {worst}",
        "diverged": f"counts; scored {worst}" if rules.diverged == "worst" else "the analysis stops",
        "absent": absent,
        NO_ROW: absent,
    }
