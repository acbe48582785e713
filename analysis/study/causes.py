"""Every cell of a study by status, with the rule declared for it: known before any test."""

import math
from dataclasses import dataclass

import pandas as pd

from medsweep.analysis.table.reduction import AnalysisRules
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


def causes_of(rows: pd.DataFrame, rules: AnalysisRules, metric: Metric) -> tuple[Cause, ...]:
    """Counts for one metric in a table that ``validation.validated`` returned; every cause, also those of 0."""
    scores = rows[rows["metric"] == metric.name]
    causes = []
    for status, rule in _rule_texts(rules, metric).items():
        cells = scores[scores["status"] == status]
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
        "missed": f"counts; scored {worst}",
        "diverged": f"counts; scored {worst}" if rules.diverged == "worst" else "the analysis stops",
        "absent": absent,
        NO_ROW: absent,
    }
