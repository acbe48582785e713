"""FactorTrend and continuous factors, searches, and the records of a factor study."""

import math

import numpy as np
import pytest

from helpers.factor_cases import TWO, cells, effect, grid, shifted, study
from helpers.score_arrays import crossed, reduced_of
from medsweep.analysis.factors.dependence import Course, trend_weights
from medsweep.analysis.factors.design import CROSS, MINUS, effect_name, layout
from medsweep.analysis.factors.effects import FactorStudy
from medsweep.analysis.factors.least_squares import factor_contrasts, scale_of, scaled
from medsweep.analysis.records import plain
from medsweep.analysis.stats.effects import paired_differences


def test_rise_and_bend_are_in_units_of_the_metric():
    rise, bend = trend_weights(np.array([0.0, 1.0, 2.0]))
    assert rise.tolist() == pytest.approx([-1, 0, 1])
    assert bend.tolist() == pytest.approx([0.5, -1, 0.5])
    x = np.array([0.0, 0.5, 0.7, 0.9])
    rise, bend = trend_weights(x)
    assert rise @ (3 + 0.2 * x) == pytest.approx(0.2 * 0.9)
    assert bend @ (3 + 0.2 * x) == pytest.approx(0)
    assert bend @ (0.1 * x**2) == pytest.approx(0.1 * 0.45**2)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((20, 50, 100, 200, 500), "log2"),
        ((8, 16, 32), "log2"),
        ((0.0, 0.5, 0.7), "linear"),
        ((0.3, 0.5, 0.7), "linear"),
        ((1e-4, 1e-3, 1e-2), "log2"),
        ((0, 8, 16, 32), "linear"),
    ],
)
def test_the_scale_is_the_one_on_which_levels_lie_evenly(values, scale):
    assert scale_of(values) == scale
    assert scaled(values).tolist() == (np.log2(values) if scale == "log2" else np.array(values)).tolist()


def test_counts_up_then_down_bend_and_are_not_monotone():
    arms = grid(["x", "y"], [20, 50, 100, 200])
    found = study(arms, shifted(arms, lambda a, b: {20: 0, 50: 0.03, 100: 0.03, 200: 0.0}[b], arm_sd=0.004))
    (trend,), (curve,) = found.ordered, found.dependence
    assert (trend.factor, trend.scale, trend.values) == ("b", "log2", (20, 50, 100, 200))
    assert trend.bend.patients.high < 0
    assert curve.course == Course.TURNING
    assert curve.points[1].centred.patients.value == pytest.approx(0.015, abs=0.005)


@pytest.mark.parametrize(("slope", "course"), [(0.05, Course.RISING), (-0.05, Course.FALLING), (0.0, Course.UNCLEAR)])
def test_a_threshold_rises_falls_or_does_not_tell(slope, course):
    arms = grid(["x", "y"], [0.0, 0.5, 0.7])
    found = study(arms, shifted(arms, lambda a, b: slope * b, seed=4))
    assert found.dependence[0].course == course
    assert len(found.dependence[0].p_steps) == len(found.dependence[0].steps) == 2


def test_a_search_is_read_by_an_additive_parabola():
    rng = np.random.default_rng(1)
    rows = [(float(10 ** rng.uniform(-4, -2)), float(rng.uniform()), "uv"[i % 2]) for i in range(16)]
    arms = cells(rows)

    def rule(rate, share, name):
        return 0.02 * math.log2(rate / 1e-3) + 0.1 * share - 0.1 * share**2 + 0.03 * (name == "v")

    y = np.array([0.0 if arm.control else rule(*arm.levels.values()) for arm in arms])
    y = 0.8 + y[:, None, None] + rng.normal(0, 0.06, (1, 10, 1)) + np.zeros((len(arms), 10, 3))
    found = study(arms, y)
    assert found.design == "scattered arms"
    assert effect(found, "c").terms[0].patients.value == pytest.approx(0.03)
    rate, share = found.dependence
    x = scaled([point.value for point in rate.points])
    trend = found.ordered[0]
    assert (trend.factor, trend.scale, trend.method) == (rate.factor, scale_of([row[0] for row in rows]), "polynomial")
    if trend.scale == "log2":
        assert np.ptp([p.mean.patients.value for p in rate.points]) == pytest.approx(0.02 * np.ptp(x))
    at = np.array([point.value for point in share.points])
    truth = 0.1 * at - 0.1 * at**2
    assert [p.centred.patients.value for p in share.points] == pytest.approx((truth - truth.mean()).tolist(), abs=0.02)
    assert {one.reason for one in found.not_estimable} == {"a field whose levels no arm repeats is taken as additive"}


def test_a_search_of_few_arms_is_read_by_lines():
    rng = np.random.default_rng(2)
    arms = cells([(float(x), float(z)) for x, z in rng.uniform(0, 1, (6, 2))])
    found = study(arms, shifted(arms, lambda a, b: 0.1 * a))
    assert {one.bend for one in found.ordered} == {None}
    assert all(one.method == "polynomial" for one in found.effects)


def test_numbers_ascend_no_comes_before_yes_and_names_keep_their_order():
    design = layout(cells([(50, True, "z"), (8, False, "a"), (16.0, True, "z")]))
    assert [factor.levels for factor in design.factors] == [("8", "16", "50"), ("no", "yes"), ("z", "a")]
    assert design.factors[0].values == (8, 16, 50)
    assert design.codes.tolist() == [[2, 1, 0], [0, 0, 1], [1, 1, 0]]


def test_level_sets_prefer_more_arms():
    rows = [("x", i) for i in range(5)] + [("y", i) for i in range(4)] + [("z", 0)]
    design = layout(cells(rows))
    found, failed = factor_contrasts(design)
    assert {effect_name(design, one.factors): (one.levels, one.contexts) for one in found} == {
        "a": (((0, 1),), 4),
        "b": (((0, 1, 2, 3),), 2),
        f"a {CROSS} b": (((0, 1), (0, 1, 2, 3)), 1),
    }
    assert failed == []


def test_paired_differences_are_sorted_and_name_no_patient():
    y = crossed(np.random.default_rng(3), 2, 12, 2)
    y[1, 5] += 1
    reduced = reduced_of(y)
    (found,) = paired_differences(reduced, "arm 0", ["arm 1"], 0.95)
    assert list(found.differences) == sorted(reduced.differences("arm 1", "arm 0"))
    assert found.outliers == (11,)
    assert found.better + found.worse + found.ties == 12
    (lower,) = paired_differences(reduced_of(y, metric="hd95_mm"), "arm 0", ["arm 1"], 0.95)
    assert (lower.better, lower.worse) == (found.worse, found.better)


def test_every_record_has_a_json_form():
    found = study(TWO, shifted(TWO, lambda a, b: 0.0))
    assert isinstance(found, FactorStudy)
    assert plain(found)["effects"][0]["terms"][0]["label"] == f"mc-sg {MINUS} b-sg"
