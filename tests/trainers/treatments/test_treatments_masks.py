"""Treatments of masks: boundaries move by the pixels asked for, classes are flipped as often as asked for."""

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from medsweep.errors import UserError
from medsweep.trainers.measures.structures import signed_distance
from medsweep.trainers.treatments import TreatSettings
from medsweep.trainers.treatments.base import Pairs
from medsweep.trainers.treatments.boundaries import displaced, shifted
from medsweep.trainers.treatments.config import KINDS
from medsweep.trainers.treatments.masks import boundary_shift, class_indices

NESTED = np.zeros((64, 64), np.uint8)
NESTED[12:52, 12:52] = 1
NESTED[24:40, 24:40] = 2
"""A lesion inside an organ."""


def treated(masks, seed, kind, names=("background", "organ", "lesion"), **fields):
    """New masks by a treatment of the ``kind``, in data with the classes ``names``."""
    context = SimpleNamespace(data=SimpleNamespace(classes=names))
    return KINDS[kind](kind=kind, **fields).new_masks(Pairs(np.zeros(0, np.float32), masks), context, seed)


def test_the_signed_distance_counts_from_the_boundary_of_pixels():
    region = np.zeros((1, 8), bool)
    region[0, 3:] = True
    assert signed_distance(region).tolist() == [[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5]]
    assert np.isneginf(signed_distance(region & False)).all()


@pytest.mark.parametrize("shift", [-3, -1, 2, 4])
def test_a_whole_shift_moves_straight_boundaries_by_as_many_pixels_and_no_boundary_inside(shift):
    new = shifted(NESTED, [1, 2], shift)
    assert np.flatnonzero(new[32] > 0)[[0, -1]].tolist() == [12 - shift, 51 + shift]
    np.testing.assert_array_equal(new == 2, NESTED == 2)
    told = boundary_shift(NESTED[None], new[None], [1, 2])
    assert told["boundary_bias_px"] == pytest.approx(shift, abs=0.15)
    assert told["vanished"] == 0


@pytest.mark.parametrize("shift", [-2, 3])
def test_one_class_moves_against_what_surrounds_it(shift):
    new = shifted(NESTED, [2], shift)
    assert np.flatnonzero(new[32] == 2)[[0, -1]].tolist() == [24 - shift, 39 + shift]
    np.testing.assert_array_equal(new > 0, NESTED > 0)
    assert boundary_shift(NESTED[None], new[None], [2])["boundary_bias_px"] == pytest.approx(shift, abs=0.2)
    assert boundary_shift(NESTED[None], new[None], [1, 2])["boundary_bias_px"] == 0


def test_a_broken_shift_holds_in_the_mean():
    masks = NESTED[None].repeat(200, axis=0)
    new = treated(masks, 0, "corrupt-labels", bias_px=-0.7)
    assert boundary_shift(masks, new, [1, 2])["boundary_bias_px"] == pytest.approx(-0.7, abs=0.1)
    assert set(np.unique([np.count_nonzero(mask[32]) for mask in new])) == {38, 40}


def test_random_displacement_has_the_deviation_asked_for_and_no_bias():
    masks = NESTED[None].repeat(60, axis=0)
    rng = np.random.default_rng(0)
    new = np.stack([displaced(mask, 3, 2.0, 6.0, rng) for mask in masks])
    for region in ([1, 2], [2]):
        told = boundary_shift(masks, new, region)
        assert told["boundary_sd_px"] == pytest.approx(2.0, rel=0.12)
        assert abs(told["boundary_bias_px"]) < 0.3
    np.testing.assert_array_equal(displaced(NESTED, 3, 0.0, 6.0, rng), NESTED)


def test_a_region_that_shrinks_away_is_counted():
    new = shifted(NESTED, [2], -9)
    assert not (new == 2).any()
    assert boundary_shift(NESTED[None], new[None], [2]) == {"vanished": 1}
    empty = np.zeros_like(NESTED)
    np.testing.assert_array_equal(shifted(empty, [1, 2], 3), empty)


def test_two_classes_are_exchanged_in_the_share_asked_for_and_in_whole_samples():
    masks = NESTED[None].repeat(300, axis=0)
    new = treated(masks, 1, "flip-classes", share=0.3, classes=("organ", "lesion"))
    changed = (new != masks).any(axis=(1, 2))
    assert changed.mean() == pytest.approx(0.3, abs=0.08)
    assert (new[changed] == np.array([0, 2, 1], np.uint8)[NESTED]).all()


def test_components_take_another_foreground_class_each_on_its_own():
    mask = np.zeros((16, 16), np.uint8)
    mask[1:4, 1:4] = mask[8:12, 8:12] = 1
    masks = mask[None].repeat(200, axis=0)
    new = treated(masks, 1, "flip-classes", ("background", "organ", "lesion", "cyst"), share=1.0)
    np.testing.assert_array_equal(new > 0, masks > 0)
    pairs = {(int(one[2, 2]), int(one[9, 9])) for one in new}
    assert pairs == {(2, 2), (2, 3), (3, 2), (3, 3)}
    assert all(len(np.unique(one[8:12, 8:12])) == 1 for one in new)


def test_a_share_of_the_masks_is_corrupted_as_all_of_them_would_be():
    masks = NESTED[None, ::2, ::2].repeat(150, axis=0)
    whole = treated(masks, 0, "corrupt-labels", bias_px=0.5, random_px=1.0)
    changed = {}
    for share in (0.3, 0.6):
        new = treated(masks, 0, "corrupt-labels", bias_px=0.5, random_px=1.0, share=share)
        changed[share] = (new != masks).any(axis=(1, 2))
        assert changed[share].mean() == pytest.approx(share, abs=0.08)
        np.testing.assert_array_equal(new[changed[share]], whole[changed[share]])
    assert (changed[0.3] <= changed[0.6]).all()


def test_a_mismatched_mask_is_that_of_an_earlier_sample_any_of_them():
    masks = np.zeros((300, 16, 16), np.uint8)
    for number, mask in enumerate(masks):
        mask.flat[number % 256], mask[0, 0] = 1, number // 256 + 1
    every = treated(masks, 1, "mismatch", share=1.0)
    donors = [int(np.flatnonzero((masks == mask).all(axis=(1, 2)))[0]) for mask in every]
    assert donors[0] == 0
    assert all(donor < sample for sample, donor in enumerate(donors) if sample)
    assert np.mean([donor / sample for sample, donor in enumerate(donors) if sample > 20]) == pytest.approx(
        0.5, abs=0.07
    )
    part = treated(masks, 1, "mismatch", share=0.4)
    changed = (part != masks).any(axis=(1, 2))
    assert changed.mean() == pytest.approx(0.4, abs=0.08)
    np.testing.assert_array_equal(part[changed], every[changed])
    np.testing.assert_array_equal(treated(masks[:50], 1, "mismatch", share=0.4), part[:50])


def test_an_unknown_class_is_refused_with_the_nearest():
    assert class_indices([], ["background", "organ", "lesion"]) == [1, 2]
    with pytest.raises(UserError, match="did you mean 'lesion'"):
        class_indices(["leson"], ["background", "organ", "lesion"])
    with pytest.raises(UserError, match="twice"):
        class_indices(["organ", "organ"], ["background", "organ", "lesion"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "corrupt-label", "bias_px": 1.0}, "did you mean 'corrupt-labels'"),
        ({"kind": "corrupt-labels", "bias": 1.0}, "did you mean 'bias_px'"),
        ({"kind": "corrupt-labels"}, "changes nothing"),
        ({"kind": "corrupt-labels", "bias_px": 1.0, "smooth_px": 3.0}, "random_px above 0 alone"),
        ({"kind": "corrupt-labels", "random_px": 1.0, "classes": ["organ"]}, "bias_px alone"),
        ({"kind": "flip-classes", "share": 1.5}, "less than or equal to 1"),
        ({"kind": "corrupt-labels", "bias_px": 1.0, "share": 0.0}, "greater than 0"),
        ({"kind": "mismatch", "share": 1.5}, "less than or equal to 1"),
        ({"kind": "mismatch", "shar": 0.5}, "did you mean 'share'"),
        ({"kind": "postprocess", "steps": ["fill-hole"]}, "did you mean 'fill-holes'"),
        ({"kind": "postprocess", "steps": ["fill-holes"], "min_area_px": 3}, "min-area alone"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        TreatSettings.model_validate({"treatments": [wrong]})


def test_a_measured_law_is_read_again_as_it_was_written_and_takes_no_amounts_beside_it():
    law = {"kind": "corrupt-labels", "law": "measured"}
    found = TreatSettings(treatments=[{"kind": "fresh-real"}, law])
    # a trial's config is stored in full and read again where it runs
    assert TreatSettings.model_validate_json(found.model_dump_json()) == found
    with pytest.raises(ValidationError, match="law: measured says all of how masks are corrupted; remove bias_px"):
        TreatSettings(treatments=[{"kind": "fresh-real"}, law | {"bias_px": 1.0}])
