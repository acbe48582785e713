"""Dose response: known contrasts, Page against published numbers, and what a series of arms says at both levels."""

import dataclasses
import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from hypothesis import given as randomly
from hypothesis import settings
from hypothesis.extra.numpy import arrays
from scipy import stats

from helpers.published import expected, given
from helpers.score_arrays import method_test
from helpers.simulated_results import CONTROL, arm, simulate
from medsweep.analysis.records import mean_estimate, plain
from medsweep.analysis.stats.arm_family import arm_tests
from medsweep.analysis.stats.dose_response import (
    DoseRules,
    Shape,
    contrasts,
    dose_series,
    page_test,
    run_contrast,
    trend,
)
from medsweep.analysis.table.reduction import AnalysisRules, reduce
from medsweep.analysis.table.validation import validated


def reduced_of(arms, shifts, **settings):
    names = [one.name for one in arms]
    return reduce(validated(simulate(arms, shifts, **settings), names, "dice"), AnalysisRules(), names, "dice")


def rules_of(reduced, scale=16.0):
    rules = AnalysisRules()
    tests = arm_tests(reduced, CONTROL, rules)
    deltas = {str(name): reduced.differences(str(name), CONTROL) for name in reduced.wide if name != CONTROL}
    quoted = {name: mean_estimate(delta, 0.95) for name, delta in deltas.items()}
    quoted |= {test.arm: test.whole.quoted for test in tests if test is not None}
    return DoseRules(CONTROL, 0.95, scale, rules.margin, quoted)


def test_folds_that_overlap_widen_the_slope():
    arms = [arm(CONTROL, 0), arm("8", 8, "a"), arm("16", 16, "a")]
    reduced = reduced_of(arms, {}, patients=12, folds=3, seeds=2)
    apart = run_contrast(reduced, [one.name for one in arms], 0.95)
    everybody = pd.concat([reduced.cells.assign(fold=fold) for fold in range(3)])
    wobble = np.random.default_rng(0).normal(0, 0.01, len(everybody))
    overlapping = dataclasses.replace(reduced, cells=everybody.assign(value=everybody["value"] + wobble))
    weights = np.array([-1.0, 0, 1])
    plain = run_contrast(overlapping, [one.name for one in arms], 0.95, test_over_train=0.0)(weights)
    widened = run_contrast(overlapping, [one.name for one in arms], 0.95, test_over_train=0.5)(weights)
    assert widened.se == pytest.approx(plain.se * math.sqrt(1 + 3 * 0.5))
    assert apart(weights).df == 2


@pytest.mark.parametrize("case", ["page_tutors", "page_cultevo"])
def test_page_published(case):
    values = np.array(given(case, "data"), dtype=float)
    found = page_test(values)
    assert found.statistic == pytest.approx(expected(case, "L"), abs=1e-9)
    assert found.method == "exact"
    if found.tied:  # the published table is for untied ranks, so that it is too large
        assert found.p < expected(case, "p_exact")
    else:
        assert found.p == pytest.approx(expected(case, "p_exact"), rel=1e-9)


def test_page_of_published_ranks_is_exact():
    ranks = np.array(given("page_ranked", "ranks"), dtype=float)
    assert page_test(ranks).statistic == expected("page_ranked", "L")
    assert page_test(ranks).p == pytest.approx(expected("page_ranked", "p_exact"), rel=1e-9)


def test_page_is_normal_for_many_patients_as_published_for_the_tutors():
    values = np.array(given("page_tutors", "data"), dtype=float)
    untied = values + np.random.default_rng(0).normal(0, 1e-6, values.shape)
    many = np.tile(untied, (40, 1))
    assert (page_test(many).method, page_test(many).tied) == ("normal", 0)
    oracle = stats.page_trend_test(many, method="asymptotic").pvalue
    assert page_test(many).p == pytest.approx(oracle, rel=1e-9)


def test_page_counts_ties_out():
    """All orders of each patient's own ranks: what the tables for untied ranks do not hold."""
    ranks = np.array([[1.5, 1.5, 3], [1, 2.5, 2.5], [1, 2, 3]])
    orders = [list(itertools.permutations(row)) for row in ranks]
    sums = [sum(np.dot(row, (1, 2, 3)) for row in choice) for choice in itertools.product(*orders)]
    observed = float(ranks.sum(axis=0) @ np.arange(1, 4))
    assert page_test(ranks).p == pytest.approx(np.mean(np.array(sums) >= observed - 1e-9), rel=1e-12)
    many = np.tile(ranks, (70, 1))
    exact = page_test(many[:198])
    normal = page_test(many)
    assert (exact.method, normal.method) == ("exact", "normal")


@randomly(arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(3, 5)), elements=st.integers(0, 50).map(float)))
@settings(deadline=None, max_examples=40)
def test_page_is_scipys_exact_one_without_ties_and_sees_ranks_alone(values):
    found = page_test(values)
    oracle = stats.page_trend_test(values, method="exact")
    if found.tied == 0:
        assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert found.statistic == oracle.statistic
    assert page_test(np.exp(values / 10)) == found
    reversed_patients = page_test(values[::-1])
    assert (reversed_patients.statistic, reversed_patients.method) == (found.statistic, found.method)
    assert reversed_patients.p == pytest.approx(found.p, rel=1e-9)


def test_page_of_constant_patients_is_one():
    assert page_test(np.ones((4, 3))).p == 1.0
    assert page_test(np.ones((4, 3))).method == "constant"


def test_page_is_symmetric_where_scikit_posthocs_is_not():
    perfect = np.tile([0.1, 0.2, 0.3, 0.4], (5, 1))
    up, down = (scikit_posthocs.test_page(pd.DataFrame(table))[1] for table in (perfect, perfect[:, ::-1]))
    # its continuity correction is subtracted whatever the sign of the trend
    assert (round(up, 3), round(down, 3)) == (3.796, -3.950)
    rising, falling = (trend(table, (0, 1, 2, 3), 1, 0.95) for table in (perfect, perfect[:, ::-1]))
    assert rising.page_rising == falling.page_falling
    assert rising.page_falling == falling.page_rising
    assert rising.page_rising.p == pytest.approx(24.0**-5, rel=1e-9)


@pytest.mark.parametrize("counts", [(0, 8, 16, 32), (0, 20, 50, 100, 200, 500), (0, 1, 2)])
def test_contrasts_read_off_the_coefficients(counts):
    x = np.log2(1 + np.array(counts) / 16)
    weights = contrasts(counts, 16)
    line = 0.7 + 0.03 * x
    assert weights["linear"] @ line == pytest.approx(0.03)
    assert weights["quadratic"] @ line == pytest.approx(0, abs=1e-12)
    assert weights["quadratic"] @ (line - 0.02 * x**2) == pytest.approx(-0.02)
    assert np.corrcoef(weights["linear"], weights["quadratic"])[0, 1] == pytest.approx(0, abs=1e-9)


def test_up_then_down_is_an_umbrella():
    rng = np.random.default_rng(0)
    values = 0.8 + np.array([0.0, 0.03, 0.03, 0.0]) + rng.normal(0, 0.005, (12, 4))
    found = trend(values, (0, 8, 16, 32), 16, 0.95)
    assert found.quadratic.high < 0
    assert found.linear.low < 0.01


def test_page_sees_both_directions():
    rising = np.tile([0.1, 0.2, 0.3, 0.4], (8, 1)) + np.random.default_rng(0).normal(0, 0.01, (8, 4))
    found = trend(rising, (0, 1, 2, 3), 1, 0.95)
    assert found.page_rising.p < 0.001
    assert found.page_falling.p > 0.99


def test_series_share_the_control_and_keep_to_themselves():
    arms = [arm(CONTROL, 0), arm("a 16", 16, "a"), arm("a 8", 8, "a"), arm("b 8", 8, "b"), arm("lone", 8)]
    table = simulate(arms, {"a 16": -0.05}, patients=10)
    names = [one.name for one in arms]
    reduced = reduce(validated(table, names, "dice"), AnalysisRules(), names, "dice")
    a, b = dose_series(reduced, arms, rules_of(reduced, 1.0))
    assert [point.count for point in a.points] == [8, 16]
    assert a.points[1].mean.value == pytest.approx(reduced.differences("a 16", CONTROL).mean())
    assert a.trend.linear.high < 0
    assert (b.name, b.trend) == ("b", None)


def test_one_patient_has_points_but_no_trend():
    arms = [arm(CONTROL, 0), arm("x", 8, "a"), arm("y", 16, "a")]
    names = [one.name for one in arms]
    reduced = reduce(validated(simulate(arms, {}, patients=1), names, "dice"), AnalysisRules(), names, "dice")
    (series,) = dose_series(reduced, arms, rules_of(reduced, 1.0))
    assert series.trend is None
    assert math.isnan(series.points[0].mean.low)


@pytest.mark.filterwarnings("error")
def test_a_series_of_one_count_has_harm_but_no_trend():
    arms = [arm(CONTROL, 0), arm("8", 8, "a")]
    reduced = reduced_of(arms, {"8": -0.05}, patients=10, seeds=3)
    (series,) = dose_series(reduced, arms, rules_of(reduced))
    assert (series.trend, series.shape) == (None, Shape.UNCLEAR)
    assert series.harm.margin.count == 8


@pytest.mark.parametrize("folds", [1, 3])
def test_runs_as_random_agree_with_the_test_of_a_pair(folds):
    arms = [arm(CONTROL, 0), arm("8", 8, "a"), arm("16", 16, "a"), arm("32", 32, "a")]
    reduced = reduced_of(arms, {"32": -0.06}, patients=12, folds=folds, seeds=3)
    contrast = run_contrast(reduced, [one.name for one in arms], 0.95)
    found, pair = contrast(np.array([-1.0, 0, 0, 1])), method_test(reduced, "32", CONTROL, 0.95).estimate
    assert [found.value, found.se, found.df] == pytest.approx([pair.value, pair.se, pair.df], rel=1e-9)
    (series,) = dose_series(reduced, arms, rules_of(reduced))
    assert series.trend.linear_runs == contrast(contrasts((0, 8, 16, 32), 16)["linear"])
    assert series.harm.margin.count == 32


def test_the_series_says_what_both_levels_support():
    arms = [arm(CONTROL, 0), *(arm(f"{count}", count, "a") for count in (8, 16, 32, 64))]
    shifts = {"8": 0.03, "16": 0.04, "32": 0.0, "64": -0.05}
    reduced = reduced_of(arms, shifts, patients=20, seeds=6, run_sd=0.003)
    (series,) = dose_series(reduced, arms, rules_of(reduced))
    assert (series.shape, series.shape_patients, series.shape_runs) == (Shape.UMBRELLA,) * 3
    assert plain(series)["shape"] == "umbrella"
    single = reduced_of(arms, shifts, seeds=1)
    (alone,) = dose_series(single, arms, rules_of(single))
    assert (alone.shape_runs, alone.shape) == (None, alone.shape_patients)


def test_retraining_alone_makes_no_umbrella_for_the_method():
    arms = [arm(CONTROL, 0), *(arm(f"{count}", count, "a") for count in (8, 16, 32, 64))]
    found = []
    for seed in range(12):
        reduced = reduced_of(arms, {}, patients=30, seeds=3, classes=("1",), run_sd=0.02, residual_sd=0.005, seed=seed)
        found += dose_series(reduced, arms, rules_of(reduced))
    assert sum(one.shape_patients in (Shape.UMBRELLA, Shape.DIP) for one in found) >= 3
    assert sum(one.shape in (Shape.UMBRELLA, Shape.DIP) for one in found) <= 2
