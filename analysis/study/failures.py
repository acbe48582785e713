"""Failures as results of their own: runs that diverged, and structures of the reference that a network missed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from medsweep.analysis.records import Estimate
from medsweep.analysis.stats.arm_family import arm_tests
from medsweep.analysis.table.reduction import AnalysisRules, Reduced
from medsweep.metrics import unknown_metric

MISSED = unknown_metric("missed", higher_is_better=False)
"""Share of the structures of a patient that a network missed."""


@dataclass(frozen=True)
class FailureRates:
    """Failures of one arm.

    ``diverged`` of ``runs`` trainings, with the exact interval of their share (Clopper and Pearson 1934) and Fisher's
    exact p against the control. ``missed`` of ``structures`` in the runs that trained; ``difference`` is that of the
    shares from the control's, runs and patients as in the primary test, with the interval and p of the family. None for
    the control, and where nothing is replicated.
    """

    arm: str
    runs: int
    diverged: int
    diverged_low: float
    diverged_high: float
    diverged_p: float
    structures: int
    missed: int
    difference: Estimate | None

    @property
    def missed_share(self) -> float:
        """Missed structures over all; NaN without any."""
        return self.missed / self.structures if self.structures else math.nan


def failures_of(
    scored: pd.DataFrame,
    primary: Reduced,
    control: str,
    rules: AnalysisRules,
    test_over_train: float | None = None,
) -> tuple[FailureRates, ...]:
    """Rates of every arm, the control among them, from the rows of one metric that ``reduction.scored_rows`` left."""
    arms = [str(arm) for arm in primary.wide]
    keys = ["arm", "fold", "seed"]
    runs = scored.assign(diverged=scored["status"] == "diverged").groupby(keys, observed=True)["diverged"].all()
    trained = scored[scored["status"] != "diverged"]
    differences = _differences(trained, arms, control, rules, test_over_train)
    counts = {arm: _counts(runs, arm) for arm in arms}
    rates = []
    for arm in arms:
        diverged, total = counts[arm]
        low, high = _exact_interval(diverged, total, 1 - rules.alpha)
        own = trained[trained["arm"] == arm]
        p = math.nan if arm == control else _fisher(counts[arm], counts[control])
        missed = int((own["status"] == "missed").sum())
        rates.append(FailureRates(arm, total, diverged, low, high, p, len(own), missed, differences.get(arm)))
    return tuple(rates)


def _differences(
    trained: pd.DataFrame, arms: Sequence[str], control: str, rules: AnalysisRules, test_over_train: float | None
) -> dict[str, Estimate]:
    """Share of missed structures, arm minus control; empty where no network trained."""
    values = trained.assign(value=(trained["status"] == "missed").astype("float64"))
    cells = values.groupby(["arm", "fold", "seed", "patient"], observed=True, sort=True)["value"].mean().reset_index()
    cells = cells.astype({"arm": str, "patient": str})
    present = [arm for arm in arms if (cells["arm"] == arm).any()]
    if control not in present or len(present) < 2:
        return {}
    wide = cells.groupby(["patient", "arm"])["value"].mean().unstack("arm")[present]
    none = dict.fromkeys(present, 0)
    # shares are bounded by themselves, so no limit may bind
    tests = arm_tests(
        Reduced(MISSED, wide, cells, (), none, none), control, rules.model_copy(update={"margin": 1.0}), test_over_train
    )
    return {test.arm: test.whole.quoted.clipped(1.0) for test in tests if test is not None}


def _counts(runs: pd.Series, arm: str) -> tuple[int, int]:
    own = runs[runs.index.get_level_values("arm") == arm]
    return int(own.sum()), len(own)


def _exact_interval(count: int, total: int, level: float) -> tuple[float, float]:
    if not total:
        return math.nan, math.nan
    interval = scipy.stats.binomtest(count, total).proportion_ci(level, method="exact")
    return float(interval.low), float(interval.high)


def _fisher(own: tuple[int, int], control: tuple[int, int]) -> float:
    table = np.array([[count, total - count] for count, total in (own, control)])
    return float(scipy.stats.fisher_exact(table).pvalue)
