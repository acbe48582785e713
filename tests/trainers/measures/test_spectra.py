"""Texture measures: monotone under blur and noise, exact for spectra that are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medsweep.trainers.measures.spectra import Spectra, laplacian_ratio, laplacian_variance, radial_psd


@pytest.fixture(scope="module")
def images():
    """20 images of two modalities, smooth with some noise."""
    rng = np.random.default_rng(0)
    smooth = 4 * gaussian_filter(rng.standard_normal((20, 2, 32, 32)), (0, 0, 2, 2), mode="wrap")
    return (smooth + 0.2 * rng.standard_normal(smooth.shape)).astype(np.float32)


def measures(real, synthetic):
    differences = Spectra(radial_psd(real), radial_psd(synthetic)).spectral_differences()
    ratio = laplacian_ratio(laplacian_variance(real), laplacian_variance(synthetic))
    return differences["high_frequency_log_error"], differences["spectral_slope_difference"], ratio


def test_equal_images_are_at_zero_zero_and_one(images):
    assert measures(images, images[::-1]) == pytest.approx((0, 0, 1), abs=1e-6)


def test_blur_lowers_all_three_and_noise_raises_them(images):
    blurred = [measures(images, gaussian_filter(images, (0, 0, s, s), mode="wrap")) for s in (1.5, 1.0, 0.5)]
    noise = np.random.default_rng(1).standard_normal(images.shape).astype(np.float32)
    noisy = [measures(images, images + sigma * noise) for sigma in (0, 0.2, 0.5, 2)]
    assert np.all(np.diff(np.array([*blurred, *noisy]), axis=0) > 0)


def test_a_power_law_has_its_slope():
    f = np.arange(17)
    real, synthetic = (np.maximum(f, 1)[None] ** -beta for beta in (2.0, 3.5))
    assert Spectra(real, synthetic).spectral_differences()["spectral_slope_difference"] == pytest.approx(-1.5)


def test_the_laplacian_of_a_plane_wave_is_known():
    """Each row is an eigenvector of the second difference, with 2 cos(2 pi f / R) - 2."""
    wave = np.cos(2 * np.pi * 4 * np.arange(34) / 32)[None, None, None].repeat(34, axis=2).astype(np.float32)
    expected = (2 * np.cos(2 * np.pi * 4 / 32) - 2) ** 2 / 2
    assert laplacian_variance(wave) == pytest.approx([expected], rel=1e-5)


def test_a_flat_modality_has_no_ratio():
    assert laplacian_ratio(np.array([1.0, 0.0]), np.array([1.0, 1.0])) is None
