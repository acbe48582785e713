"""Principal components fitted on the real side, and the Fréchet distance on them."""

import numpy as np
import pytest

from medsweep.trainers.assessment.evidence import FeatureSets, principal_components
from medsweep.trainers.assessment.metrics import frechet_and_floor
from medsweep.trainers.measures.frechet import frechet


def sides(real, pool, patients=8):
    """Real samples of ``patients`` patients, with four halves of patients that share none."""
    owner = np.arange(len(real)) % patients
    rng = np.random.default_rng(0)
    halves = []
    for _ in range(4):
        first = np.isin(owner, rng.permutation(patients)[: patients // 2])
        halves.append((np.flatnonzero(first), np.flatnonzero(~first)))
    return FeatureSets(real=real, owners=owner.astype(str).astype(object), pool=pool, halves=halves)


def correlated(seed, count, width=12):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)) @ np.random.default_rng(99).standard_normal((width, width)) + 3


def test_real_components_are_uncorrelated_and_hold_all_standardised_variance():
    found = principal_components(sides(correlated(0, 200), correlated(1, 50)))
    assert found.real.shape == (200, 12)
    covariance = np.cov(found.real.T, bias=True)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    assert np.trace(covariance) == pytest.approx(12)
    assert np.all(np.diff(np.diag(covariance)) <= 1e-9)


def test_with_all_components_the_distance_is_that_of_the_standardised_features():
    real, pool = correlated(0, 200), correlated(1, 60) + 1
    found = principal_components(sides(real, pool))
    scaled = [(x - real.mean(axis=0)) / real.std(axis=0) for x in (real, pool)]
    assert frechet(found.real, found.pool) == pytest.approx(frechet(*scaled), rel=1e-8)


def test_the_pool_and_the_unit_of_a_feature_have_no_say_in_the_components():
    real, pool = correlated(0, 200), correlated(1, 60)
    alone, beside = principal_components(sides(real, pool[:1])), principal_components(sides(real, pool * 7))
    assert np.array_equal(alone.real, beside.real)
    units = np.logspace(-3, 3, 12)
    scaled = principal_components(sides(real * units, pool * units))
    np.testing.assert_allclose(
        np.abs(scaled.pool), np.abs(principal_components(sides(real, pool)).pool), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize(("count", "width", "expected"), [(20, 30, 5), (400, 80, 64), (200, 12, 12)])
def test_components_are_64_or_a_quarter_of_the_samples_or_the_rank(count, width, expected):
    rng = np.random.default_rng(0)
    assert (
        principal_components(sides(rng.standard_normal((count, width)), np.zeros((2, width)))).real.shape[1] == expected
    )


def test_copies_and_constants_of_features_add_no_component():
    real = correlated(0, 200, width=4)
    wide = np.concatenate([real, real, np.full((200, 2), 0.1)], axis=1).astype(np.float32)
    assert principal_components(sides(wide, wide)).real.shape[1] == 4
    assert principal_components(sides(np.full((20, 3), 0.1, np.float32), wide[:, :3])) is None
    assert principal_components(sides(real[:3], real)) is None


def test_the_distance_is_at_its_floor_for_the_same_law_and_grows_with_damage():
    real = correlated(0, 400)

    def distance(seed, shift=0):
        return frechet_and_floor(principal_components(sides(real, correlated(seed, 200) + shift)), "frechet_decoder")

    fresh = [distance(seed) for seed in range(1, 9)]
    assert len({each["frechet_decoder_floor"] for each in fresh}) == 1
    floor = fresh[0]["frechet_decoder_floor"]
    assert np.mean([each["frechet_decoder"] for each in fresh]) == pytest.approx(floor, rel=0.4)
    damaged = [distance(1, shift)["frechet_decoder"] for shift in (0, 0.5, 1, 2, 4)]
    assert np.all(np.diff(damaged) > 0)
    assert damaged[2] > 3 * floor
