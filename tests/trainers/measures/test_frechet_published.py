"""Interval and extrapolation of the Fréchet distance, against Gaussians whose distance is known."""

import numpy as np
import pytest

from medsweep.trainers.measures.frechet import (
    _covariance_root,
    _products,
    _weighted,
    frechet,
    frechet_infinity,
    frechet_spread,
)


def cohort(patients, slices, seed, spread=1.0):
    """Features of slices around their patients, (patients x slices, 6), and whose they are."""
    rng = np.random.default_rng(seed)
    centres = spread * rng.standard_normal((patients, 1, 6))
    features = (centres + 0.3 * rng.standard_normal((patients, slices, 6))).reshape(-1, 6)
    return features, np.repeat([f"p{number}" for number in range(patients)], slices).astype(object)


@pytest.mark.parametrize(("features", "samples"), [(5, 40), (60, 20)])
def test_a_weight_is_a_repetition(features, samples):
    rng = np.random.default_rng(0)
    real, synthetic = rng.standard_normal((samples, features)) + 1, 2 * rng.standard_normal((30, features))
    patient, repeats = rng.integers(0, 19, samples), rng.integers(0, 3, 19)
    weights = repeats[patient]
    mean = synthetic.mean(axis=0)
    root, x = _covariance_root(synthetic, mean), real - mean
    (products,) = _products(x @ root.T, patient, repeats[None])
    value = _weighted(x, x @ root.T, np.square(x).sum(axis=1), weights, products) + np.square(root).sum()
    assert value == pytest.approx(frechet(np.repeat(real, weights, axis=0), synthetic), rel=1e-6)


def test_the_spread_narrows_with_more_patients_and_not_with_more_slices():
    synthetic = 2 + np.random.default_rng(1).standard_normal((200, 6))
    widths = [
        np.diff(frechet_spread(*cohort(patients, slices, 2), synthetic, 300, np.random.default_rng(3)))[0]
        for patients, slices in ((8, 10), (8, 60), (80, 10))
    ]
    assert widths[1] > 0.7 * widths[0]
    assert widths[2] < 0.6 * widths[0]


def test_the_spread_is_that_of_new_cohorts():
    synthetic = 2 + np.random.default_rng(4).standard_normal((400, 6))
    low, high = frechet_spread(*cohort(40, 5, 5), synthetic, 400, np.random.default_rng(6))
    new = [frechet(cohort(40, 5, 100 + number)[0], synthetic) for number in range(200)]
    assert low < 0 < high
    assert high - low == pytest.approx(np.diff(np.quantile(new, (0.025, 0.975)))[0], rel=0.4)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_extrapolation_removes_most_of_the_bias(shift):
    """Gaussians with the same covariance lie as far apart as their means."""
    scale = np.arange(1, 33) ** -0.5
    rng = np.random.default_rng(8)
    errors = []
    for _ in range(4):
        a, b = (rng.standard_normal((400, 32)) * scale for _ in range(2))
        b += shift / np.sqrt(32)
        errors.append([frechet(a, b) - shift**2, frechet_infinity(a, b, rng) - shift**2])
    plain, extrapolated = np.mean(errors, axis=0)
    assert plain > 0.05
    assert abs(extrapolated) < 0.35 * plain
