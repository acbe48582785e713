"""Variance components, and tests that keep their level when retraining moves the scores."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from simulated_results import CONTROL, arm, simulate
from statsmodels.stats.anova import anova_lm

from analysis.checks import complete
from analysis.tables import AnalysisPlan, reduce
from analysis.variance import components, mean_squares, method_test, nadeau_bengio, run_means, two_way

ARMS = [arm(CONTROL, 0), arm("x", 8)]
NAMES = [one.name for one in ARMS]


def reduced(**settings):
    table = simulate(ARMS, settings.pop("shifts", {}), **settings)
    return reduce(complete(table, NAMES, "dice"), AnalysisPlan(), NAMES, "dice")


def test_mean_squares_are_those_of_an_anova():
    y = np.random.default_rng(0).normal(size=(6, 4)) + np.arange(6)[:, None]
    long = pd.DataFrame({"y": y.ravel(), "p": np.repeat(range(6), 4), "r": np.tile(range(4), 6)})
    oracle = anova_lm(smf.ols("y ~ C(p) + C(r)", long).fit())["mean_sq"]
    found = mean_squares(y)
    assert [found.patients, found.runs, found.residual] == pytest.approx(oracle.tolist())


def test_components_find_the_simulated_spread():
    found = components(reduced(patients=80, seeds=40, run_sd=0.01, residual_sd=0.02, classes=("1",)), CONTROL)
    assert found.run == pytest.approx(0.01, rel=0.3)
    assert found.residual == pytest.approx(0.02, rel=0.1)
    assert found.patient == pytest.approx(0.06, rel=0.3)
    assert found.between_seeds == pytest.approx(math.hypot(0.01, 0.02 / math.sqrt(80)), rel=0.3)


def test_one_seed_has_no_components_and_no_method_test():
    one = reduced(seeds=1)
    assert math.isnan(components(one, CONTROL).run)
    assert method_test(one, "x", CONTROL, 0.95) is None


def test_run_means_are_plain_means():
    found = reduced(seeds=2, folds=2, patients=6)
    runs = run_means(found)
    cells = found.cells
    assert len(runs) == 2 * 2 * 2
    for run in runs:
        mine = cells[(cells["arm"] == run.arm) & (cells["fold"] == run.fold) & (cells["seed"] == run.seed)]
        assert (run.n, run.value) == (3, pytest.approx(mine["value"].mean()))


def test_folds_are_tested_by_their_means():
    found = reduced(folds=4, seeds=2, patients=16, shifts={"x": 0.02})
    test = method_test(found, "x", CONTROL, 0.95)
    fold = found.cells.groupby("patient")["fold"].first()
    means = (found.wide["x"] - found.wide[CONTROL]).groupby(fold).mean()
    oracle = stats.ttest_1samp(means, 0)
    assert test.units == 4
    assert test.estimate.p == pytest.approx(oracle.pvalue)
    # variance factor 1/J + n_test/n_train = 1/4 + 1/3 in place of 1/4
    assert test.nadeau_bengio.se == pytest.approx(test.estimate.se * math.sqrt((1 / 4 + 1 / 3) / (1 / 4)))


def test_nadeau_bengio_by_hand():
    d = np.array([0.01, 0.03, 0.02, 0.04, 0.0])
    t = d.mean() / math.sqrt(d.var(ddof=1) * (1 / 5 + 1 / 4))
    found = nadeau_bengio(d, 1 / 4, 0.95)
    assert found.p == pytest.approx(2 * stats.t.sf(t, 4))


def test_two_way_by_hand():
    d = np.random.default_rng(1).normal(0.01, 0.02, (7, 3))
    ms = mean_squares(d)
    spread = ms.runs + max(ms.patients - ms.residual, 0)
    found = two_way(d, 0.95)
    assert found.se == pytest.approx(math.sqrt(spread / 21))
    assert found.df == pytest.approx(spread**2 / (ms.runs**2 / 2))
    assert two_way(np.full((4, 2), 0.01), 0.95).p == 0
    assert two_way(np.zeros((4, 2)), 0.95).p == 1


def test_two_way_keeps_its_level_where_patients_as_blocks_do_not():
    rng = np.random.default_rng(2)
    method = patients = 0
    for _ in range(400):
        runs = rng.normal(0, 0.006, (2, 1, 5))
        y = rng.normal(0, 0.01, (2, 30, 1)) + runs + rng.normal(0, 0.02, (2, 30, 5))
        d = y[0] - y[1]
        method += two_way(d, 0.95).p < 0.05
        patients += stats.ttest_1samp(d.mean(axis=1), 0).pvalue < 0.05
    assert 0.02 <= method / 400 <= 0.09
    assert patients / 400 > 0.12


def test_fold_means_keep_their_level():
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(400):
        patients = rng.normal(0, 0.015, (5, 8)).mean(axis=1)
        folds = rng.normal(0, 0.006 * math.sqrt(2 / 3), 5) + patients
        rejected += stats.ttest_1samp(folds, 0).pvalue < 0.05
    assert 0.02 <= rejected / 400 <= 0.09
