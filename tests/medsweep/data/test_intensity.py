"""Intensity scales: what they keep, what they cut off, and that no volume becomes NaN."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from medsweep.data.dataset import Intensity
from medsweep.data.intensity import Constants, fit, normalise, sample
from medsweep.errors import UserError

ALL = Intensity(inside="all")
CT = Intensity(scale="window", window=(-100.0, 300.0))
COHORT = Intensity(scale="cohort", percentiles=(0.5, 99.5))


def noise(*shape, mean=0.0, sd=1.0):
    return np.random.default_rng(0).normal(mean, sd, shape).astype(np.float32)


def test_masked_background_stays_zero_and_stands_for_outside():
    volume = np.zeros((10, 10, 10), np.float32)
    volume[:5] = inside = noise(5, 10, 10, mean=-3, sd=2)
    scaled, outside = normalise(volume, Intensity(inside="nonzero"))
    assert not scaled[5:].any()
    assert outside == 0
    np.testing.assert_allclose(scaled[:5], (inside - inside.mean()) / inside.std(), atol=1e-4)


def test_zeros_are_measured_values_unless_the_recipe_says_otherwise():
    volume = noise(10, 10, 10)
    volume[0, 0, :5] = 0
    scaled, outside = normalise(volume, ALL)
    np.testing.assert_allclose(scaled, (volume - volume.mean()) / volume.std(), atol=1e-4)
    assert outside == scaled.min()
    assert not normalise(volume, Intensity(inside="nonzero"))[0][0, 0, :5].any()
    half = np.where(volume > 0, volume, 0)
    assert normalise(half, Intensity(inside="all"))[0][half == 0].max() < 0


@pytest.mark.parametrize(
    "recipe", [ALL, CT, COHORT, Intensity(percentiles=(1, 99), inside="all"), Intensity(inside="nonzero")]
)
@settings(max_examples=20, deadline=None)
@given(value=st.floats(-(2.0**99), 2.0**99, width=32))
def test_a_constant_volume_is_never_nan(recipe, value):
    constants = Constants(low=-10, high=10, mean=0, sd=2)
    scaled, outside = normalise(np.full((5, 6, 7), value, np.float32), recipe, constants)
    assert np.isfinite(scaled).all()
    assert np.isfinite(outside)
    assert scaled.min() == scaled.max()


def test_what_is_inside_is_not_decided_volume_by_volume():
    with pytest.raises(ValueError, match="decided for the whole cohort"):
        normalise(noise(4, 4, 4), Intensity())


@pytest.mark.parametrize(
    "recipe", [ALL, Intensity(inside="nonzero"), Intensity(scale="window", window=(2.0**30, 2.0**30 + 200))]
)
def test_grey_values_on_a_large_offset_are_kept(recipe):
    volume = 2.0**30 + np.arange(1, 157, dtype=np.float64).reshape(13, 12)
    scaled, _ = normalise(volume, recipe)
    assert scaled.dtype == np.float32
    assert len(np.unique(scaled)) == 156
    assert len(np.unique(normalise(volume.astype(np.float32), recipe)[0])) < 5


def test_outliers_are_cut_off():
    volume = noise(20, 20, 20, mean=50)
    volume[0, 0, 0] = 1e6
    assert normalise(volume, ALL)[0].max() == 5
    trimmed, _ = normalise(volume, Intensity(percentiles=(0.5, 99.5), inside="all"))
    assert trimmed.std() == pytest.approx(1, abs=1e-3)
    assert trimmed.max() == trimmed[0, 0, 0] < 3


def test_a_window_keeps_negative_hounsfield_units():
    scaled, outside = normalise(np.float32([-1000, -100, 0, 100, 300, 2000]), CT)
    assert scaled.tolist() == [-1, -1, -0.5, 0, 1, 1]
    assert outside == -1


def test_cohort_constants_are_those_of_the_labelled_voxels():
    volume, labels = noise(30, 30, 30, mean=80, sd=10), np.zeros((30, 30, 30), np.uint8)
    labels[5:25] = 1
    volume[labels == 0] = -1000
    found = fit([sample(volume, labels)], COHORT, "CT")
    inside = volume[labels > 0]
    assert (found.mean, found.sd) == pytest.approx((inside.mean(), inside.std()), rel=1e-4)
    assert (found.low, found.high) == pytest.approx(np.percentile(inside, (0.5, 99.5)), rel=1e-4)
    scaled, outside = normalise(volume, COHORT, found)
    assert scaled[labels == 0].max() == pytest.approx(outside)
    assert scaled[labels > 0].mean() == pytest.approx(0, abs=0.05)


def test_a_large_volume_is_sampled_evenly():
    volume = np.linspace(0, 1, 300_000, dtype=np.float32).reshape(300, 1000)
    drawn = sample(volume, np.ones((300, 1000), np.uint8))
    assert len(drawn) == 100_000
    assert (drawn.min(), np.median(drawn), drawn.max()) == pytest.approx((0, 0.5, 1), abs=1e-4)


@pytest.mark.parametrize("samples", [[], [np.float32([])], [np.float32([3, 3])]])
def test_nothing_to_fit_on_is_refused(samples):
    with pytest.raises(UserError, match=r"labelled voxels in CT.*use data\.intensity"):
        fit(samples, COHORT, "CT")
    with pytest.raises(ValueError, match="constants of the fold's training patients"):
        normalise(noise(3), COHORT)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"scale": "window"}, "a window goes with 'window'"),
        ({"window": (0.0, 1.0)}, "a window goes with 'window'"),
        ({"scale": "window", "window": (5.0, 1.0)}, "must rise"),
        ({"scale": "cohort"}, "needs percentiles"),
        ({"percentiles": (90.0, 10.0)}, "must rise within 0 to 100"),
        ({"scale": "window", "window": (0.0, 1.0), "percentiles": (1.0, 9.0)}, "no meaning with a window"),
    ],
)
def test_contradictory_recipes_are_refused(given, what):
    with pytest.raises(ValidationError, match=what):
        Intensity(**given)
