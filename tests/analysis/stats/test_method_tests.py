"""Variance components, and tests that keep their level when retraining moves the scores."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import anova_lm

from helpers.score_arrays import crossed, cut, method_test, overlapping, reduced_of
from helpers.simulated_results import CONTROL, arm, simulate
from medsweep.analysis.records import mean_estimate
from medsweep.analysis.stats.method_tests import (
    all_components,
    mean_squares,
    nadeau_bengio,
    run_means,
    run_omnibus,
    two_way,
)
from medsweep.analysis.table.reduction import AnalysisRules, reduce
from medsweep.analysis.table.score_array import Replication, scores_of
from medsweep.analysis.table.validation import validated

ARMS = [arm(CONTROL, 0), arm("x", 8)]
NAMES = [one.name for one in ARMS]


def reduced(**settings):
    table = simulate(ARMS, settings.pop("shifts", {}), **settings)
    return reduce(validated(table, NAMES, "dice"), AnalysisRules(), NAMES, "dice")


def test_mean_squares_are_those_of_an_anova():
    y = np.random.default_rng(0).normal(size=(6, 4)) + np.arange(6)[:, None]
    long = pd.DataFrame({"y": y.ravel(), "p": np.repeat(range(6), 4), "r": np.tile(range(4), 6)})
    oracle = anova_lm(smf.ols("y ~ C(p) + C(r)", long).fit())["mean_sq"]
    found = mean_squares(y)
    assert [found.patients, found.runs, found.residual] == pytest.approx(oracle.tolist())


def test_components_find_the_simulated_spread():
    found = all_components(reduced(patients=80, seeds=40, run_sd=0.01, residual_sd=0.02, classes=("1",)))[0]
    assert found.run == pytest.approx(0.01, rel=0.3)
    assert found.residual == pytest.approx(0.02, rel=0.1)
    assert found.patient == pytest.approx(0.06, rel=0.3)
    assert found.between_seeds == pytest.approx(math.hypot(0.01, 0.02 / math.sqrt(80)), rel=0.3)


def test_one_seed_has_no_components_and_no_method_test():
    one = reduced(seeds=1)
    assert math.isnan(all_components(one)[0].run)
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
    assert found.df == pytest.approx(spread**2 / (ms.runs**2 / 2 + ms.patients**2 / 6 + ms.residual**2 / 12))
    assert two_way(np.full((4, 2), 0.01), 0.95).p == 0
    assert two_way(np.zeros((4, 2)), 0.95).p == 1


def test_the_df_of_a_pair_are_never_below_those_of_its_runs():
    """Without a patient x arm effect Satterthwaite's formula alone gives next to none with two runs."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        found = two_way(rng.normal(0, 0.003, 2) + rng.normal(0, 0.02, (40, 2)), 0.95)
        assert found.df >= 1


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


def test_scores_hold_every_cell_in_order():
    y = crossed(np.random.default_rng(0), 3, 5, 2)
    scores = scores_of(reduced_of(y))
    assert scores.values.tolist() == y.reshape(3, -1).tolist()
    folds = cut(np.random.default_rng(0), 2, 7, 2, folds=3)
    parts = scores_of(reduced_of(folds))
    assert [parts.values[:, part].tolist() for part in parts.fold_cells()] == [
        y.reshape(2, -1).tolist() for y, _ in folds
    ]
    assert [parts.patient[part][::2].tolist() for part in parts.fold_cells()] == [patients for _, patients in folds]


def test_components_come_in_the_order_of_the_arms():
    for source in (crossed(np.random.default_rng(1)), cut(np.random.default_rng(1))):
        found = reduced_of(source)
        assert [one.arm for one in all_components(found)] == [f"arm {i}" for i in range(4)]


def test_method_tests_do_not_depend_on_row_order_or_names():
    found = reduced_of(cut(np.random.default_rng(2)))
    shuffled = dataclasses.replace(found, cells=found.cells.sample(frac=1, random_state=0))
    assert method_test(shuffled, "arm 1", "arm 0", 0.95) == method_test(found, "arm 1", "arm 0", 0.95)
    assert run_omnibus(shuffled) == run_omnibus(found)
    y = crossed(np.random.default_rng(2))
    turned = run_omnibus(reduced_of(y[[2, 0, 3, 1]]))
    straight = run_omnibus(reduced_of(y))
    assert (turned.test.f, turned.test.df2) == pytest.approx((straight.test.f, straight.test.df2))


def test_a_patient_missed_by_one_arm_is_left_out_of_its_tests_alone():
    y = crossed(np.random.default_rng(3), 3, 12, 3)
    y[2, 4, 1] = math.inf
    found = reduced_of(y, metric="hd95_mm")
    first, second = (method_test(found, name, "arm 0", 0.95) for name in ("arm 1", "arm 2"))
    assert (first.patients, second.patients) == (12, 11)
    kept = np.delete(y, 4, axis=1)
    assert second.estimate == method_test(reduced_of(kept), "arm 2", "arm 0", 0.95).estimate
    omnibus = run_omnibus(found)
    assert (omnibus.n, omnibus.left_out) == (11, 1)
    assert omnibus.test == run_omnibus(reduced_of(kept)).test


def test_overlapping_test_sets_are_judged_by_nadeau_and_bengio():
    folds = overlapping(np.random.default_rng(9))
    found = method_test(reduced_of(folds), "arm 1", "arm 0", 0.95, 0.5)
    means = np.array([(y[1] - y[0]).mean() for y, _ in folds])
    assert (found.design, found.kind) == (Replication.REPEATED_HOLD_OUT, "corrected t test of overlapping folds")
    assert found.estimate == found.nadeau_bengio
    assert found.estimate.se == pytest.approx(math.sqrt(means.var(ddof=1) * (1 / 6 + 0.5)))
    k_fold = method_test(reduced_of(cut(np.random.default_rng(9))), "arm 1", "arm 0", 0.95)
    assert k_fold.kind == "paired t test of fold means"
    assert k_fold.estimate.se < k_fold.nadeau_bengio.se


def test_without_the_ratio_the_table_tells_how_many_trained():
    folds = overlapping(np.random.default_rng(10), patients=12, tested=4, folds=8)
    found = method_test(reduced_of(folds), "arm 1", "arm 0", 0.95)
    assert found.test_over_train == pytest.approx(4 / 8)
    same = [(y, list(range(4))) for y, _ in folds]
    hidden = method_test(reduced_of(same), "arm 1", "arm 0", 0.95)
    assert math.isinf(hidden.estimate.se)
    assert hidden.estimate.p == 1


def test_repeated_hold_out_keeps_its_level_only_when_corrected():
    rng = np.random.default_rng(12)
    plain_rejects = corrected_rejects = 0
    for _ in range(400):
        own = rng.normal(0, 0.01, 30)
        means = np.array([own[rng.choice(30, 10, replace=False)].mean() for _ in range(6)])
        plain_rejects += mean_estimate(means, 0.95).p < 0.05
        corrected_rejects += nadeau_bengio(means, 10 / 20, 0.95).p < 0.05
    assert plain_rejects / 400 > 0.2
    assert corrected_rejects / 400 <= 0.08
