"""The primary metric of every class by itself, where a mean over classes hides which one was helped or harmed."""

from dataclasses import dataclass

import pandas as pd

from medsweep.analysis.records import Estimate
from medsweep.analysis.stats.arm_family import arm_tests
from medsweep.analysis.study.evidence import judge
from medsweep.analysis.table.reduction import AnalysisRules, Reduced, reduce


@dataclass(frozen=True)
class ClassResult:
    """One arm on one class: mean over ``n`` patients, missed structures, and the difference from the control.

    ``difference`` has the interval and p of the family of arms; None for the control and where nothing is replicated.
    Exploratory: classes are not adjusted for.
    """

    name: str
    arm: str
    n: int
    mean: float
    missed: int
    difference: Estimate | None


def classes_of(
    rows: pd.DataFrame, control: str, rules: AnalysisRules, whole: Reduced, test_over_train: float | None = None
) -> tuple[ClassResult, ...]:
    """Every class with a reference, in the order of their names, every arm in its order; empty with one class.

    ``whole`` is the primary metric over all classes of the same validated ``rows``.
    """
    metric, arms = whole.metric, [str(arm) for arm in whole.wide]
    defined = rows[(rows["metric"] == metric.name) & rows["status"].isin(["ok", "missed"])]
    names = sorted(map(str, defined["class"].unique()))
    if len(names) < 2:
        return ()
    results = []
    for name in names:
        reduced = reduce(rows[rows["class"] == name], rules, arms, metric)
        tests = {test.arm: test for test in arm_tests(reduced, control, rules, test_over_train) if test is not None}
        for arm in arms:
            values = reduced.wide[arm]
            difference = judge(tests[arm], rules.margin, metric).bounds.quoted if arm in tests else None
            finite = values[values.abs() < float("inf")]
            results.append(ClassResult(name, arm, len(values), float(finite.mean()), reduced.missed[arm], difference))
    return tuple(results)
