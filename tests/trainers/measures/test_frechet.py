"""Fréchet distance and spectra against closed forms and against a matrix root."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from medsweep.trainers.measures.frechet import frechet
from medsweep.trainers.measures.spectra import Spectra, radial_psd


def exact_gaussian(mean, covariance, count, seed):
    """Samples whose mean and covariance are exactly the ones asked for."""
    x = np.random.default_rng(seed).standard_normal((count, len(mean)))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def test_diagonal_gaussians_have_a_closed_form():
    """Squared distance of the means plus squared distance of the deviations."""
    a = exact_gaussian([0, 1, 2], np.diag([1.0, 4.0, 9.0]), 50, 0)
    b = exact_gaussian([3, 1, 0], np.diag([4.0, 4.0, 1.0]), 80, 1)
    assert frechet(a, b) == pytest.approx(9 + 4 + 1 + 0 + 4)


def test_agrees_with_the_matrix_root_at_full_rank():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((200, 12)) @ rng.standard_normal((12, 12))
    b = rng.standard_normal((150, 12)) @ rng.standard_normal((12, 12)) + 1
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(cov_a @ cov_b).real
    expected = np.square(a.mean(axis=0) - b.mean(axis=0)).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [5, 200])
def test_equal_sets_are_zero_apart_and_shifted_ones_the_shift(count):
    a = np.random.default_rng(3).standard_normal((count, 20))
    assert frechet(a, a[::-1]) == pytest.approx(0, abs=1e-12)
    assert frechet(a, a + 0.5) == pytest.approx(20 * 0.25)


def test_one_sample_has_no_covariance():
    with pytest.raises(ValueError, match="got 1 and 3"):
        frechet(np.zeros((1, 2)), np.zeros((3, 2)))


def test_a_plane_wave_lands_in_its_bin():
    columns = np.arange(32)
    wave = np.cos(2 * np.pi * 5 * columns / 32)[None, None, None].repeat(32, axis=2).astype(np.float32)
    spectrum = radial_psd(wave)
    assert spectrum.shape == (1, 17)
    assert spectrum[0].argmax() == 5
    assert spectrum[0, 5] > 1e6 * np.delete(spectrum[0], 5).max()


def test_white_noise_has_a_flat_spectrum_of_its_variance():
    noise = np.random.default_rng(4).normal(0, 3, (60, 2, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(radial_psd(noise)[:, 1:] / 32**2, 9, rtol=0.12)


def radial_psd_log_error(real, synthetic):
    return Spectra(real, synthetic).spectral_differences()["radial_psd_log_error"]


def test_log_error_sees_high_frequencies_only():
    noise = np.random.default_rng(5).standard_normal((30, 1, 32, 32)).astype(np.float32)
    real = radial_psd(noise)
    assert radial_psd_log_error(real, real) == 0
    assert radial_psd_log_error(real, radial_psd(2 * noise)) == pytest.approx(np.log(4), rel=1e-5)
    slow = 7 * np.cos(2 * np.pi * 4 * np.arange(32) / 32).astype(np.float32)
    assert radial_psd_log_error(real, radial_psd(noise + slow)) == pytest.approx(0, abs=1e-4)
    assert radial_psd_log_error(real, radial_psd(gaussian_filter(noise, (0, 0, 1, 1)))) > 1
    assert np.isfinite(radial_psd_log_error(real, np.zeros_like(real)))
