"""Dose response: known contrasts, Page against published numbers."""

import math

import numpy as np
import pytest
from published import expected, given
from simulated_results import CONTROL, arm, simulate

from analysis.checks import complete
from analysis.dose import contrasts, dose_series, page, trend
from analysis.tables import AnalysisPlan, reduce


def test_page_published():
    assert page(np.array(given("page_tutors", "data"), dtype=float)) == pytest.approx(
        expected("page_tutors", "p_exact"), rel=1e-9
    )
    assert page(np.array(given("page_cultevo", "data"), dtype=float)) == pytest.approx(
        expected("page_cultevo", "p_exact"), rel=1e-9
    )
    assert page(np.ones((4, 3))) == 1.0


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
    assert found.page_p_rising < 0.001
    assert found.page_p_falling > 0.99


def test_series_share_the_control_and_keep_to_themselves():
    arms = [arm(CONTROL, 0), arm("a 16", 16, "a"), arm("a 8", 8, "a"), arm("b 8", 8, "b"), arm("lone", 8)]
    table = simulate(arms, {"a 16": -0.05}, patients=10)
    names = [one.name for one in arms]
    reduced = reduce(complete(table, names, "dice"), AnalysisPlan(), names, "dice")
    a, b = dose_series(reduced, arms, CONTROL, 0.95, 1.0)
    assert [point.count for point in a.points] == [8, 16]
    assert a.points[1].mean.value == pytest.approx(reduced.differences("a 16", CONTROL).mean())
    assert a.trend.linear.high < 0
    assert (b.name, b.trend) == ("b", None)


def test_a_series_with_one_count_twice_is_refused():
    arms = [arm(CONTROL, 0), arm("x", 8, "a"), arm("y", 8, "a")]
    table = simulate(arms, {}, patients=4)
    names = [one.name for one in arms]
    reduced = reduce(complete(table, names, "dice"), AnalysisPlan(), names, "dice")
    with pytest.raises(ValueError, match="one count twice"):
        dose_series(reduced, arms, CONTROL, 0.95, 1.0)


def test_one_patient_has_points_but_no_trend():
    arms = [arm(CONTROL, 0), arm("x", 8, "a"), arm("y", 16, "a")]
    names = [one.name for one in arms]
    reduced = reduce(complete(simulate(arms, {}, patients=1), names, "dice"), AnalysisPlan(), names, "dice")
    (series,) = dose_series(reduced, arms, CONTROL, 0.95, 1.0)
    assert series.trend is None
    assert math.isnan(series.points[0].mean.low)
