"""What was compared, on whom, and how often, and every cell by status: all that is known before any test."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from medsweep.analysis.records import ArmInfo
from medsweep.analysis.study.wording import scope_sentence
from medsweep.analysis.table.arms import control_of
from medsweep.analysis.table.reduction import AnalysisPlan, Reduced
from medsweep.analysis.table.trials import TrialRef, trials_of
from medsweep.analysis.table.validation import NO_ROW, REPLICATE
from medsweep.metrics import Metric


@dataclass(frozen=True)
class Cause:
    """Scores (patient x class x run x arm) of one status, the runs and patients they are in, and the declared rule."""

    status: str
    scores: int
    runs: int
    patients: int
    rule: str


@dataclass(frozen=True)
class StudyDesign:
    """Arms, replicates and trials of a sweep on one data set, and every cell of its table by cause."""

    dataset: str
    plan: AnalysisPlan
    arms: tuple[ArmInfo, ...]
    control: str
    classes: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: int
    scope: str
    causes: tuple[Cause, ...]
    trials: tuple[TrialRef, ...]


def design_of(
    table: pd.DataFrame, rows: pd.DataFrame, reduced: Reduced, plan: AnalysisPlan, arms: Sequence[ArmInfo]
) -> StudyDesign:
    """From the tidy ``table``, the same as ``validation.validated`` gave it, and the primary metric reduced."""
    return StudyDesign(
        dataset=str(rows["dataset"].iloc[0]),
        plan=plan,
        arms=tuple(arms),
        control=control_of(arms),
        classes=tuple(sorted(str(name) for name in rows["class"].unique())),
        folds=reduced.folds,
        seeds=reduced.seeds,
        scope=scope_sentence(reduced.seeds, len(reduced.folds)),
        causes=causes_of(rows, plan, reduced.metric),
        trials=trials_of(table, [arm.name for arm in arms]),
    )


def causes_of(rows: pd.DataFrame, plan: AnalysisPlan, metric: Metric) -> tuple[Cause, ...]:
    """Counts for one metric in a table that ``validation.validated`` returned; every cause, also those of 0."""
    scores = rows[rows["metric"] == metric.name]
    causes = []
    for status, rule in _rules(plan, metric).items():
        cells = scores[scores["status"] == status]
        runs = len(cells[["arm", *REPLICATE]].drop_duplicates())
        causes.append(Cause(status, len(cells), runs, int(cells["patient"].nunique()), rule))
    return tuple(causes)


def _rules(plan: AnalysisPlan, metric: Metric) -> dict[str, str]:
    empty = "the patient is left out for this class, in all arms"
    worst = "infinite, worst in ranks" if math.isinf(metric.worst) else f"{metric.worst:g}"
    absent = {
        "refuse": "the analysis stops",
        "complete-cases": "the replicate, or the patient, is left out for all arms",
    }[plan.missing]
    return {
        "ok": "scored as it is",
        "empty-both": empty,
        "empty-reference": empty,
        "missed": f"counts; scored {worst}",
        "diverged": f"counts; scored {worst}" if plan.diverged == "worst" else "the analysis stops",
        "absent": absent,
        NO_ROW: absent,
    }
