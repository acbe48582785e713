"""Kernel distance and effective modes against sums over pairs and sets with a known number of modes."""

import numpy as np
import pytest

from medsweep.trainers.measures.kernels import gaussian_similarity, kid, vendi


def samples(count, seed, shift=0.0):
    return np.random.default_rng(seed).standard_normal((count, 8)) + shift


def test_the_distance_is_the_sum_over_pairs():
    a, b = samples(7, 0), samples(5, 1, 0.5)

    def k(x, y):
        return (x @ y / 8 + 1) ** 3

    within_a = np.mean([k(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    within_b = np.mean([k(b[i], b[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([k(x, y) for x in a for y in b])
    found, _ = kid(a, b, 20, np.random.default_rng(0))
    assert found == pytest.approx(within_a + within_b - 2 * between)


def test_it_is_unbiased_and_its_p_is_uniform_where_nothing_differs():
    found = np.array(
        [kid(samples(20, 2 * n), samples(20, 2 * n + 1), 99, np.random.default_rng(n)) for n in range(200)]
    )
    values, p = found.T
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(200)
    assert (p <= 0.1).mean() == pytest.approx(0.1, abs=0.07)
    assert p.mean() == pytest.approx(0.5, abs=0.07)


def test_it_grows_with_the_shift_and_its_p_falls_from_20_samples():
    found = [kid(samples(20, 3), samples(20, 4, shift), 199, np.random.default_rng(0)) for shift in (0, 0.5, 1, 2)]
    distances = [distance for distance, _ in found]
    assert distances == sorted(distances)
    assert found[0][1] > 0.05
    assert found[-1][1] == 1 / 200


@pytest.mark.parametrize("modes", [1, 4, 20])
def test_as_many_modes_as_distinct_samples(modes):
    kinds = np.arange(20) % modes
    assert vendi((kinds[:, None] == kinds).astype(float)) == pytest.approx(modes)


def test_dropped_modes_lower_the_number_of_modes():
    rng = np.random.default_rng(5)
    centres = 20 * rng.standard_normal((8, 6))
    real = np.repeat(centres, 20, axis=0) + rng.standard_normal((160, 6))

    def modes(kept):
        pool = np.repeat(centres[:kept], 20, axis=0) + np.random.default_rng(6).standard_normal((20 * kept, 6))
        return vendi(gaussian_similarity(real, pool, 5))

    found = [modes(kept) for kept in (1, 2, 4, 8)]
    np.testing.assert_allclose(np.diff(np.log2(found)), 1, atol=0.15)
    assert found[-1] == pytest.approx(vendi(gaussian_similarity(real, real, 5)), rel=0.15)


def test_likeness_has_no_scale_where_real_samples_coincide():
    assert gaussian_similarity(np.zeros((10, 3)), samples(4, 0)[:, :3], 5) is None
