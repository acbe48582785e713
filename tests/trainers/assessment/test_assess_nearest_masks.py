"""Distance of masks to their nearest real one: position does not count, shape does, patients do."""

import numpy as np
import pytest

from medsweep.trainers.assessment.masks import centre, mean_hd95_between, mean_hd95_to


def ellipses(rng, count, size=40, growth=0.0):
    """Ellipses of random place and half axes, (count, size, size)."""
    at = np.arange(size) + 0.5
    masks = []
    for _ in range(count):
        row, column = rng.uniform(15, 25, 2)
        high, wide = rng.uniform(4, 9, 2) + growth
        masks.append(np.square((at[:, None] - row) / high) + np.square((at - column) / wide) <= 1)
    return np.array(masks).astype(np.uint8)


@pytest.fixture(scope="module")
def real():
    """30 masks of six patients."""
    masks = ellipses(np.random.default_rng(0), 30)
    return masks, np.repeat([f"p{number}" for number in range(6)], 5).astype(object)


def gap(real, masks):
    return mean_hd95_to(masks, real[0]) - mean_hd95_between(*real)


def test_a_centred_mask_keeps_its_shape_wherever_it_lay():
    mask = np.zeros((12, 12), np.uint8)
    mask[0:3, 0:5] = 2
    (plane,) = centre(mask[None])
    assert plane.shape == (24, 24)
    assert plane[11:14, 10:15].all()
    assert plane.sum() == 15
    assert np.array_equal(plane, centre(np.roll(mask, (9, 7), axis=(0, 1))[None])[0])


def test_moved_copies_are_at_zero_and_below_what_other_patients_are(real):
    assert mean_hd95_to(np.roll(real[0], 3, axis=2), real[0]) == 0
    assert mean_hd95_between(*real) > 0


def test_the_distance_of_two_discs_is_the_difference_of_their_radii():
    at = np.arange(41) - 20
    small, large = (np.square(at[:, None]) + np.square(at) <= radius**2 for radius in (6, 10))
    far = np.zeros_like(small)
    far[18:23, 1:40] = True
    real = np.array([far, small]).astype(np.uint8)
    assert mean_hd95_to(large[None].astype(np.uint8), real) == pytest.approx(4, abs=0.3)


def test_masks_of_the_same_law_lie_as_far_as_other_patients_and_damage_adds(real):
    rng = np.random.default_rng(1)
    fresh = ellipses(rng, 40)
    assert abs(gap(real, fresh)) < 0.4
    grown = [gap(real, ellipses(np.random.default_rng(2), 40, growth=more)) for more in (0, 3, 5, 8)]
    assert np.all(np.diff(grown) > 0.3)


def test_a_patient_is_compared_with_the_others_alone():
    masks = ellipses(np.random.default_rng(3), 4)
    twice = np.concatenate([masks, masks])
    own, strange = (np.array(names, object) for names in (list("abcdabcd"), list("abcdefgh")))
    assert mean_hd95_between(twice, strange) == 0
    assert mean_hd95_between(twice, own) > 0


def test_empty_masks_do_not_count_and_one_patient_has_no_law(real):
    masks, owners = real
    padded = np.concatenate([np.zeros_like(masks[:2]), masks])
    names = np.concatenate([np.array(["q", "q"], object), owners])
    assert mean_hd95_between(padded, names) == mean_hd95_between(masks, owners)
    assert mean_hd95_to(padded, padded) == mean_hd95_to(masks, masks)
    assert mean_hd95_between(masks[:5], owners[:5]) is None
    assert mean_hd95_to(np.zeros_like(masks), masks) is None
