"""Measures of fine texture against values worked out by hand, and against what was done to images."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medsweep.trainers.measures.patterns import (
    LEVELS,
    Patterns,
    detail_energy,
    glcm_features,
    grey_levels,
    grey_window,
    neighbour_shares,
    pattern_shares,
)


def image(rows):
    return np.array(rows, np.float32)[None, None]


def test_co_occurrences_of_a_small_image_are_those_counted_by_hand():
    levels = np.array([[0, 0, 1], [0, 2, 1], [3, 2, 1]])[None, None]
    shares = neighbour_shares(levels)[0]
    counts = np.zeros((4, 4))
    right = [(0, 0), (0, 1), (0, 2), (2, 1), (3, 2), (2, 1)]
    down = [(0, 0), (0, 3), (0, 2), (2, 2), (1, 1), (1, 1)]
    diagonal = [(0, 2), (0, 1), (0, 2), (2, 1)]
    anti = [(0, 0), (1, 2), (2, 3), (1, 2)]
    for i, j in [*right, *down, *diagonal, *anti]:
        counts[i, j] += 1
        counts[j, i] += 1
    np.testing.assert_allclose(shares[0, :4, :4], counts / counts.sum())
    assert shares[0, 4:].sum() == shares[0, :, 4:].sum() == 0
    # two pixels apart: (0, 1), (0, 1), (3, 1); (0, 3), (0, 2), (1, 1); (0, 1); (1, 3)
    assert shares[1, 0, 1] == pytest.approx(3 / 16)
    assert shares[1, 1, 3] == pytest.approx(2 / 16)
    assert shares[1, 1, 1] == pytest.approx(2 / 16)


def test_features_of_a_checkerboard():
    """Levels 0 and 2 in turn: neighbours along a row always differ, diagonal ones and those two away never do."""
    board = 2 * (np.indices((8, 8)).sum(axis=0) % 2)[None, None]
    found = {name: value[0] for name, value in glcm_features(neighbour_shares(board)).items()}
    straight, oblique = 2 * 8 * 7, 2 * 7 * 7
    share = straight / (straight + oblique)
    assert found["contrast"] == pytest.approx([4 * share, 0])
    assert found["homogeneity"] == pytest.approx([share / 5 + 1 - share, 1])
    assert found["correlation"] == pytest.approx([1 - 2 * share, 1])


def test_one_level_has_no_correlation():
    assert np.isnan(glcm_features(neighbour_shares(np.zeros((1, 1, 8, 8), np.int64)))["correlation"]).all()


def test_grey_levels_lie_between_the_percentiles():
    ramp = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(1, 1, 100, 100)
    window = grey_window(ramp)
    assert window == pytest.approx(np.array([[0.01, 0.99]]), abs=1e-3)
    levels = grey_levels(image([[-5, 0.0101, 0.5001, 0.9899, 7]]), np.array([[0.01, 0.99]]))
    assert levels.ravel().tolist() == [0, 0, 8, 15, 15]
    assert grey_window(np.full((1, 1, 4, 4), 3, np.float32)).tolist() == [[3, 4]]
    assert grey_levels(ramp, window).max() == LEVELS - 1


def test_a_pattern_has_a_bit_for_each_neighbour_that_is_no_darker():
    shares = pattern_shares(image([[9, 1, 9], [1, 5, 5], [1, 9, 1]]))[0]
    # clockwise from the upper left: 9 1 9 5 1 9 1 1
    assert np.flatnonzero(shares).tolist() == [0b00101101]
    assert shares.sum() == 1
    flat = pattern_shares(np.zeros((2, 1, 6, 6), np.float32))[0]
    assert flat[255] == 1


def test_haar_details_of_a_block_are_those_worked_out_by_hand():
    block = image([[4, 2], [2, 0]])
    # (4 - 2 + 2 - 0)/2 = 2, (4 + 2 - 2 - 0)/2 = 2, (4 - 2 - 2 + 0)/2 = 0
    fine = detail_energy(np.tile(block, (1, 1, 4, 4)))[0]
    assert fine[0] == pytest.approx((4 + 4 + 0) / 3)
    assert fine[1:] == pytest.approx([0, 0])


def test_white_noise_has_its_variance_in_every_scale():
    noise = 3 * np.random.default_rng(0).standard_normal((40, 1, 64, 64)).astype(np.float32)
    assert detail_energy(noise)[0] == pytest.approx([9, 9, 9], rel=0.05)


def reals(seed=0):
    return gaussian_filter(np.random.default_rng(seed).standard_normal((20, 2, 32, 32)), (0, 0, 0.7, 0.7)).astype(
        np.float32
    )


def differences(synthetic):
    window = grey_window(reals())
    return Patterns.of(reals(), window).differences(Patterns.of(synthetic, window))


def test_blur_lowers_contrast_and_energy_and_changes_patterns():
    same, blurred = differences(reals(1)), differences(gaussian_filter(reals(1), (0, 0, 1, 1)))
    assert all(abs(value) < 0.15 for value in same.values())
    assert blurred["glcm_contrast_log_ratio"] < -0.5
    assert blurred["glcm_homogeneity_difference"] > 0.1
    assert blurred["glcm_correlation_difference"] > 0.1
    assert blurred["lbp_divergence"] > 0.02
    assert blurred["haar_log_ratio_1"] < blurred["haar_log_ratio_2"] < blurred["haar_log_ratio_3"] < 0


def test_twice_the_contrast_has_four_times_the_energy_and_the_same_patterns():
    found = differences(2 * reals())
    assert [found[f"haar_log_ratio_{scale}"] for scale in (1, 2, 3)] == pytest.approx([np.log(4)] * 3)
    assert found["lbp_divergence"] == pytest.approx(0, abs=1e-12)


def test_the_same_images_differ_in_nothing():
    assert differences(reals()) == pytest.approx(dict.fromkeys(differences(reals(1)), 0.0), abs=1e-12)


def test_flat_images_have_no_ratios():
    found = differences(np.zeros_like(reals()))
    assert "haar_log_ratio_1" not in found
    assert "glcm_correlation_difference" not in found
    assert found["lbp_divergence"] > 0.5


def test_patterns_of_two_sets_together_are_their_weighted_mean():
    window, both = grey_window(reals()), np.concatenate([reals(), reals(1)[:10]])
    parts = [Patterns.of(part, window) for part in (reals(), reals(1)[:10])]
    whole, mean = Patterns.of(both, window), Patterns.mean(parts, [20, 10])
    for name in ("neighbours", "local", "energy"):
        np.testing.assert_allclose(getattr(mean, name), getattr(whole, name), rtol=1e-10, atol=1e-12)


def test_divergence_of_patterns_is_in_bits():
    """Of (1, 0) and (1/2, 1/2), whose mean is (3/4, 1/4): H(mean) - H(second) / 2."""
    neighbours, energy = np.eye(LEVELS)[None, None].repeat(2, 1) / LEVELS, np.ones((1, 3))
    one, other = (Patterns(neighbours, np.array([shares]), energy) for shares in ([1.0, 0.0], [0.5, 0.5]))
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert one.differences(other)["lbp_divergence"] == pytest.approx(entropy - 0.5)
