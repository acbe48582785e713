"""Real masks to be painted: their order, and perturbations of the size asked for."""

import numpy as np
import pytest
from pydantic import ValidationError

from medsweep.data.slices import SliceSet
from medsweep.trainers.synthesis.real_masks import Perturbation, RealMasks, deformed

ALL = Perturbation(bias_px=-0.5, random_px=1.0, smooth_px=4.0, elastic_px=1.5, elastic_smooth_px=6.0)


def masks_of(folder, how, seed=3):
    data = SliceSet.open(folder)
    return RealMasks(data, data.rows(data.patients, foreground_only=True), seed, how)


def test_pixels_move_by_the_deviation_asked_for_along_both_axes_and_smoothly():
    rows, columns = np.indices((128, 128)).astype(np.uint8)
    for plane, axis in ((rows, 0), (columns, 1)):
        moves = [deformed(plane, 3.0, 6.0, np.random.default_rng(seed)).astype(int) - plane for seed in range(8)]
        inner = np.stack(moves)[:, 20:-20, 20:-20]
        assert inner.std() == pytest.approx(3.0, rel=0.1)
        assert abs(inner.mean()) < 0.4
        # neighbours of a field of smoothness s differ by sd / (s sqrt 2), and rounding adds its own
        assert np.diff(inner, axis=1 + axis).std() < 3.0 / 4


def test_a_mask_depends_on_the_seed_and_its_place_alone(slices):
    real = masks_of(slices, ALL)
    many = real(range(40))
    assert many.dtype == np.uint8
    np.testing.assert_array_equal(real([17, 3]), many[[17, 3]])
    assert not np.array_equal(masks_of(slices, ALL, seed=4)(range(4)), many[:4])


def test_a_mask_is_perturbed_in_another_way_each_time_round(slices):
    data = SliceSet.open(slices)
    largest = data.index["foreground"].to_numpy().argmax()
    real = RealMasks(data, np.array([largest]), 3, ALL)
    assert (real.drawn(0) == real.drawn(1)).all()
    assert not np.array_equal(*real(range(2)))


@pytest.mark.parametrize("how", [Perturbation(), ALL])
def test_only_an_amount_changes_masks(slices, how):
    real = masks_of(slices, how)
    before = np.stack([real.drawn(index) for index in range(12)])
    assert np.array_equal(real(range(12)), before) == (how == Perturbation())


@pytest.mark.parametrize(
    ("how", "bias", "sd"),
    [
        (Perturbation(), 0, 0),
        (Perturbation(bias_px=2.0), 2, 0),
        (Perturbation(random_px=0.7, smooth_px=6.0), 0, 0.7),
        (Perturbation(elastic_px=1.5, elastic_smooth_px=8.0), 0, 1.5),
    ],
)
def test_the_boundary_goes_as_far_as_asked_for(slices, how, bias, sd):
    real = masks_of(slices, how)
    told = real.effect(real(range(60)))
    assert told["boundary_bias_px"] == pytest.approx(bias, abs=0.3)
    assert told["boundary_sd_px"] == pytest.approx(sd, abs=0.25)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"smooth_px": 4.0}, "random_px above 0 alone"),
        ({"elastic_smooth_px": 4.0, "random_px": 1.0}, "elastic_px above 0 alone"),
        ({"random_px": -1.0}, "greater than or equal to 0"),
        ({"elastic_px": -1.0}, "greater than or equal to 0"),
    ],
)
def test_amounts_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Perturbation(**wrong)
