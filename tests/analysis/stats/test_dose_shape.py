"""Every shape of a dose response on simulated truth, and where harm begins."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from medsweep.analysis.records import mean_estimate
from medsweep.analysis.stats.dose_response import DosePoint, Doses, Shape, contrasts, harm_onset, shape_of

COUNTS = (0, 8, 16, 32, 64)


def doses_of(values, *, margin=0.01, higher_is_better=True, counts=COUNTS):
    """Patients x doses as the rules read it."""
    weights = contrasts(counts, 16)
    return Doses(
        contrast=lambda weight: mean_estimate((values @ weight).round(12), 0.95),
        linear=weights["linear"],
        quadratic=weights["quadratic"],
        counts=counts[1:],
        margin=margin,
        alpha=0.05,
        higher_is_better=higher_is_better,
    )


def scores(rng, truth, *, patients=20, sd=0.01):
    """Patient + dose + residual."""
    return rng.normal(0.8, 0.05, (patients, 1)) + np.array(truth) + rng.normal(0, sd, (patients, len(truth)))


SHAPES = {
    Shape.UMBRELLA: (0, 0.02, 0.03, 0.01, -0.02),
    Shape.DIP: (0, -0.02, -0.03, -0.01, 0.02),
    Shape.RISING: (0, 0.01, 0.02, 0.03, 0.04),
    Shape.FALLING: (0, -0.01, -0.02, -0.03, -0.04),
    Shape.FLAT: (0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("higher", [True, False])
def test_every_shape_is_named_on_simulated_truth(shape, higher):
    rng = np.random.default_rng(3)
    toward = 1 if higher else -1
    truth = toward * np.array(SHAPES[shape])
    found = [shape_of(doses_of(scores(rng, truth, patients=40), higher_is_better=higher)) for _ in range(40)]
    assert found.count(shape) >= 38


@pytest.mark.parametrize(
    ("truth", "shape"), [((0, 0, 0, 0, -0.04), Shape.FALLING), ((0, 0.03, 0.03, 0.03, 0.03), Shape.RISING)]
)
def test_a_plateau_is_no_umbrella(truth, shape):
    rng = np.random.default_rng(4)
    found = [shape_of(doses_of(scores(rng, truth))) for _ in range(100)]
    assert found.count(Shape.UMBRELLA) <= 5
    assert found.count(shape) >= 90


@pytest.mark.parametrize("patients", [8, 20])
def test_false_umbrellas_under_a_flat_truth_are_rare(patients):
    rng = np.random.default_rng(5)
    found = [shape_of(doses_of(scores(rng, (0,) * 5, patients=patients, sd=0.03))) for _ in range(300)]
    assert found.count(Shape.UMBRELLA) <= 0.05 * 300
    assert found.count(Shape.DIP) <= 0.05 * 300
    assert Shape.FLAT not in found
    assert found.count(Shape.UNCLEAR) >= 0.9 * 300


def test_each_condition_of_the_umbrella_is_needed():
    rng = np.random.default_rng(6)
    noise = rng.normal(0, 0.002, (12, 5))

    def named(*truth, **settings):
        return shape_of(doses_of(0.8 + np.array(truth) + noise, **settings))

    assert named(0, 0.03, 0.04, 0.03, 0.0) == Shape.UMBRELLA
    assert named(0, 0.03, 0.04, 0.045, 0.05) == Shape.RISING  # bent, the best at the end
    assert named(0, -0.001, 0.0, -0.02, -0.05) == Shape.FALLING  # bent, no rise
    assert named(0, -0.05, 0.02, -0.05, 0.0) == Shape.DIP  # the best inside and above both ends, but bent upwards
    assert named(0, 0.03, 0.04, 0.03, 0.0, margin=0.06) == Shape.FLAT  # none of it matters


def test_one_count_is_flat_or_unclear():
    values = np.random.default_rng(0).normal(0.8, 0.001, (10, 2))
    line, square = np.array([-1.0, 1.0]), np.zeros(2)
    for shift, shape in ((0.0, Shape.FLAT), (0.05, Shape.UNCLEAR)):
        shifted = values + np.array([0, shift])
        contrast = partial(lambda v, w: mean_estimate(v @ w, 0.95), shifted)
        assert shape_of(Doses(contrast, line, square, (8,), 0.01, 0.05, True)) == shape


def test_what_two_levels_support_is_what_both_show():
    rng = np.random.default_rng(7)
    sharp = doses_of(scores(rng, (0, 0.02, 0.02, 0.0, -0.04), sd=0.005))
    falling = doses_of(scores(rng, (0, 0.0, 0.0, -0.01, -0.04), sd=0.005))
    blurred = doses_of(scores(rng, (0, 0.0, 0.0, 0.0, 0.0), sd=0.2))
    assert (shape_of(sharp), shape_of(falling), shape_of(blurred)) == (Shape.UMBRELLA, Shape.FALLING, Shape.UNCLEAR)
    assert shape_of(sharp, falling) == Shape.FALLING
    assert shape_of(sharp, blurred) == Shape.UNCLEAR


def points_of(values):
    """Each count's differences from dose 0 with a plain t interval."""
    differences = (values[:, 1:] - values[:, :1]).T
    return [
        DosePoint(str(count), count, tuple(delta.tolist()), mean_estimate(delta, 0.95))
        for count, delta in zip(COUNTS[1:], differences, strict=True)
    ]


def test_harm_begins_where_the_quoted_interval_leaves_zero_and_the_margin():
    base = np.random.default_rng(8).normal(0, 0.004, (16, 1))
    noise = np.random.default_rng(9).normal(0, 0.002, (16, 5))
    values = base + np.array([0, 0.002, -0.004, -0.009, -0.03]) + noise
    found = harm_onset(points_of(values), 0.01, higher_is_better=True)
    assert (found.zero.count, found.zero.counts) == (16, (16, 32, 64))
    assert (found.margin.count, found.margin.counts) == (64, (64,))
    assert found.zero.text == "from 16"
    for i, count in enumerate(COUNTS[1:], start=1):
        ci = stats.ttest_1samp(values[:, i] - values[:, 0], 0).confidence_interval(0.95)
        assert (count in found.zero.counts) == (ci.high < 0)
        assert (count in found.margin.counts) == (ci.high < -0.01)
    mirrored = harm_onset(points_of(-values), 0.01, higher_is_better=False)
    assert (mirrored.zero, mirrored.margin.counts) == (found.zero, found.margin.counts)


def test_no_harm_is_said_up_to_the_largest_count():
    rising = 0.8 + np.arange(5) * 0.01 + np.random.default_rng(0).normal(0, 0.001, (6, 5))
    found = harm_onset(points_of(rising), 0.01, higher_is_better=True)
    assert {one.text for one in (found.zero, found.margin)} == {"none up to 64"}
