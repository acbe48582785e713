"""Failures as results of their own: exact intervals of rates, and missed shares against those of the control."""

import math

import numpy as np
import pytest

from helpers.simulated_results import CONTROL, NO_POOLS, arm, simulate
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.table.reduction import AnalysisRules

ARMS = [arm(CONTROL, 0), arm("x", 8), arm("y", 16)]


def failures(*, diverged=(), missed=0.0, seeds=5):
    """Of x, and of the control and y, of which nothing fails; ``diverged`` are seeds of x, ``missed`` its share."""
    table = simulate(ARMS, {}, patients=20, seeds=seeds, classes=("1",))
    own, rng = table["arm"] == "x", np.random.default_rng(0)
    fails = own & table["patient"].isin([f"case-{i:03d}" for i in rng.permutation(20)[: round(20 * missed)]])
    worst = np.where(table["metric"] == "dice", 0.0, math.inf)
    table = table.assign(status=table["status"].mask(fails, "missed"), value=table["value"].mask(fails, worst))
    lost = own & table["seed"].isin(diverged)
    table = table.assign(status=table["status"].mask(lost, "diverged"), value=table["value"].mask(lost))
    return {one.arm: one for one in analyse(table, NO_POOLS, AnalysisRules(), arms=ARMS).failures}


def test_diverged_runs_have_the_interval_of_clopper_and_pearson_and_fishers_p():
    found = failures(diverged=(1,))
    one = found["x"]
    assert (one.diverged, one.runs, one.structures) == (1, 5, 80)
    # 1 of 5: beta quantiles B(.025; 1, 5) and B(.975; 2, 4)
    assert (one.diverged_low, one.diverged_high) == pytest.approx((0.00505076, 0.71641794), abs=1e-7)
    assert one.diverged_p == pytest.approx(1.0)
    assert (found["y"].diverged_low, found["y"].diverged_high) == pytest.approx((0, 0.52182376), abs=1e-7)
    assert math.isnan(found[CONTROL].diverged_p)
    # 5 of 5 against 0 of 5: 2 of the 252 tables
    assert failures(diverged=range(5))["x"].diverged_p == pytest.approx(2 / 252)


def test_the_difference_of_missed_shares_is_judged_over_patients_and_runs():
    found = failures(missed=0.3)
    one = found["x"]
    assert (one.missed, one.structures, one.missed_share) == (30, 100, 0.3)
    assert one.difference.value == pytest.approx(0.3)
    # 6 of 20 patients in every run: the mean of 20 shares of 0 or 1 has this standard error
    assert one.difference.se == pytest.approx(math.sqrt(0.3 * 0.7 / 19), rel=1e-6)
    assert 0 < one.difference.low < 0.3 < one.difference.high
    assert one.difference.p < 0.05
    assert found["y"].difference.p == 1
    assert found[CONTROL].difference is None
    few = failures(missed=0.05)["x"].difference
    assert few.low <= 0 < few.high
    assert few.p > 0.05
