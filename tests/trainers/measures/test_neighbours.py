"""Fidelity, diversity and copies against loops over pairs, dropped modes and copied samples."""

import numpy as np
import pytest

from medsweep.trainers.measures.neighbours import (
    authenticity,
    between_owners,
    nearest,
    nearest_other,
    prdc,
    squared_distances,
)


def samples(count, seed, shift=0.0, features=4):
    return np.random.default_rng(seed).standard_normal((count, features)) + shift


def patients(count, slices, seed):
    """Slices close around their patients, and whose they are."""
    centres = np.repeat(samples(count, seed, features=8), slices, axis=0)
    owners = np.repeat([f"p{number}" for number in range(count)], slices).astype(object)
    return centres + 0.2 * samples(len(centres), seed + 1, features=8), owners


def test_distances_keep_their_digits_far_from_the_origin():
    a, b = samples(5, 0, 1e6), samples(7, 1, 1e6)
    expected = [[np.square(x - y).sum() for y in b] for x in a]
    np.testing.assert_allclose(squared_distances(a, b), expected, rtol=1e-6)


def test_prdc_are_the_definitions():
    real, synthetic = samples(20, 2), samples(20, 3, 0.7)

    def ball(x, group, k):
        return sorted(np.linalg.norm(x - y) for y in group)[k]

    def within(x, y, group, k):
        return np.linalg.norm(x - y) <= ball(x, group, k)

    assert prdc(real, synthetic) == {
        "precision": np.mean([any(within(r, s, real, 3) for r in real) for s in synthetic]),
        "recall": np.mean([any(within(s, r, synthetic, 3) for s in synthetic) for r in real]),
        "density": pytest.approx(np.mean([sum(within(r, s, real, 5) for r in real) for s in synthetic]) / 5),
        "coverage": np.mean([any(within(r, s, real, 5) for s in synthetic) for r in real]),
    }


def test_equal_sets_score_one_and_far_ones_zero():
    real = samples(40, 4)
    same, far = prdc(real, real), prdc(real, real + 100)
    assert same["precision"] == same["recall"] == same["coverage"] == 1
    # ties aside, k + 1 samples lie in every ball, its centre among them
    assert same["density"] == pytest.approx(6 / 5)
    assert set(far.values()) == {0.0}


def test_noise_lowers_density_and_dropped_modes_lower_recall_and_coverage():
    centres = 20 * samples(8, 5)
    real, fresh = (np.repeat(centres, 20, axis=0) + samples(160, seed) for seed in (6, 7))
    noisy = [prdc(real, fresh + sigma * samples(160, 8)) for sigma in (0, 1, 3)]
    assert [each["density"] for each in noisy] == sorted((each["density"] for each in noisy), reverse=True)
    assert noisy[2]["precision"] < 0.5 < noisy[0]["precision"]
    dropped = [prdc(real, np.repeat(centres[:kept], 160 // kept, axis=0) + samples(160, 9)) for kept in (8, 4, 1)]
    for name in ("recall", "coverage"):
        assert dropped[0][name] > 0.8
        assert dropped[1][name] == pytest.approx(0.5, abs=0.1)
        assert dropped[2][name] == pytest.approx(1 / 8, abs=0.05)
        assert all(each["precision"] > 0.8 for each in dropped)


def test_the_nearest_is_found_in_blocks_and_across_groups():
    x, train = samples(1100, 10), samples(30, 11)
    distance, index = nearest(x, train)
    expected = np.linalg.norm(x[:, None] - train, axis=2)
    np.testing.assert_array_equal(index, expected.argmin(axis=1))
    np.testing.assert_allclose(distance, expected.min(axis=1))
    first, second = np.arange(1100) % 3, np.arange(30) % 3
    distance, _ = nearest(x, train, (first, second))
    np.testing.assert_allclose(distance, np.where(first[:, None] == second, np.inf, expected).min(axis=1))
    assert np.isinf(nearest(x[:1], train, (np.zeros(1, int), np.zeros(30, int)))[0]).all()


@pytest.mark.parametrize("count", [20, 200])
def test_copies_are_not_authentic_and_unseen_samples_mostly_are(count):
    train, unseen = samples(count, 12, features=8), samples(count, 13, features=8)
    copies = train + 1e-3 * samples(count, 14, features=8)
    half = np.concatenate([copies[: count // 2], unseen[: count // 2]])
    own = nearest_other(train)
    assert authenticity(train, own, copies) == 0
    assert authenticity(train, own, unseen) > 0.45
    assert authenticity(train, own, half) == pytest.approx(authenticity(train, own, unseen[: count // 2]) / 2)


def test_unseen_patients_lie_at_ratio_one_and_copies_at_zero():
    train, owners = patients(40, 10, 15)
    unseen, _ = patients(40, 10, 17)
    copies = train + 1e-4 * samples(len(train), 19, features=8)
    between = between_owners(train, owners)
    ratios = [np.median(nearest(x, train)[0]) / between for x in (unseen, copies, 10 + unseen)]
    assert ratios[0] == pytest.approx(1, abs=0.1)
    assert ratios[1] < 0.01
    assert ratios[2] > 3
    assert between_owners(train[:10], owners[:10]) is None
