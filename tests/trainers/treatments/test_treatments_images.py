"""Treatments of images: the promised effect, to a number, and samples that know nothing of each other."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from medsweep.trainers.measures.spectra import mean_power, ring_power, rings
from medsweep.trainers.treatments import TreatSettings
from medsweep.trainers.treatments.base import Pairs
from medsweep.trainers.treatments.images import (
    PaintGaussian,
    Unsharp,
    add_noise,
    class_moments,
    class_quantiles,
    match_class_histograms,
    match_spectrum,
    mean_quantiles,
    paint_gaussian,
    smooth_field,
)

RNG = np.random.default_rng(0)
WHITE = RNG.standard_normal((6, 2, 32, 32)).astype(np.float32)
MASKS = np.zeros((6, 32, 32), np.uint8)
MASKS[:, 8:24, 8:24] = 1
MASKS[:, 12:18, 12:18] = 2


def test_noise_may_differ_between_modalities():
    noise = add_noise(WHITE, [0.1, 1.0], seed=1) - WHITE
    assert noise.std(axis=(0, 2, 3)) == pytest.approx([0.1, 1.0], rel=0.05)


def test_rician_noise_has_the_moments_of_its_law_with_and_without_signal():
    flat = np.full((4, 1, 64, 64), 100.0, np.float32)
    flat[:, :, :32] = -3.0
    noisy = add_noise(flat, 2.0, seed=1, law="rician") + 3.0
    rayleigh, strong = noisy[:, :, :32], noisy[:, :, 32:]
    assert rayleigh.min() >= 0
    assert rayleigh.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.02)
    assert rayleigh.std() == pytest.approx(2 * np.sqrt(2 - np.pi / 2), rel=0.03)
    assert (strong.mean(), strong.std()) == pytest.approx((103 + 4 / 206, 2), rel=0.03)


def unsharp(images, sigma_px, amount):
    treatment = Unsharp(kind="unsharp", sigma_px=sigma_px, amount=amount)
    return treatment.new_images(Pairs(images, np.zeros(0, np.uint8)), None, seed=0)


def test_unsharp_amplifies_a_wave_by_what_the_blur_takes_from_it():
    wave = np.cos(2 * np.pi * np.arange(64) / 8)[None, None, None, :].repeat(64, axis=2).astype(np.float32)
    gain = unsharp(wave, 1.5, 2.0)[0, 0, 32, 32] / wave[0, 0, 32, 32]
    assert gain == pytest.approx(1 + 2 * (1 - np.exp(-0.5 * (2 * np.pi * 1.5 / 8) ** 2)), rel=0.01)
    assert unsharp(np.full((1, 1, 8, 8), 3, np.float32), 1.0, 2.0) == pytest.approx(3, rel=1e-5)


def test_white_noise_has_a_flat_spectrum_and_parseval_holds():
    power = mean_power(RNG.standard_normal((40, 1, 32, 32)).astype(np.float32) * 3)
    assert power[0, 4:20] == pytest.approx(9, rel=0.2)
    image = WHITE[0]
    total = (ring_power(image) * rings(32)[1]).sum(axis=1)
    assert total == pytest.approx((image.astype(float) ** 2).sum(axis=(1, 2)), rel=1e-6)


def test_a_matched_spectrum_is_the_target_where_gains_allow_and_phases_and_means_stay():
    target = mean_power(gaussian_filter(WHITE, (0, 0, 0.5, 0.5), mode="wrap"))
    start = WHITE + np.float32(2)
    matched = match_spectrum(start, target)
    assert matched.dtype == np.float32
    for old, new in zip(start, matched, strict=True):
        ratio = np.sqrt(target / ring_power(old))[:, 1:]
        gain = np.sqrt(ring_power(new) / ring_power(old))[:, 1:]
        assert gain == pytest.approx(np.clip(ratio, 0.5, 3.0), rel=1e-3)
        assert ((ratio > 0.5) & (ratio < 3)).mean() > 0.3
        assert (ratio < 0.5).any()
    np.testing.assert_allclose(matched.mean(axis=(2, 3)), start.mean(axis=(2, 3)), rtol=1e-5)
    phase = np.angle(np.fft.fft2(start.astype(float)) * np.conj(np.fft.fft2(matched.astype(float))))
    assert np.abs(phase).max() < 0.02
    np.testing.assert_allclose(match_spectrum(WHITE[:1], ring_power(WHITE[0])), WHITE[:1], atol=1e-5)
    np.testing.assert_allclose(
        match_spectrum(WHITE[:1], 100 * ring_power(WHITE[0])).std(), 3 * WHITE[:1].std(), rtol=0.01
    )


def test_histograms_by_class_match_every_class_and_keep_order_inside():
    real = WHITE + 5 * MASKS[:, None] + 1
    start = np.exp(RNG.standard_normal(WHITE.shape)).astype(np.float32)
    matched = match_class_histograms(start, MASKS, class_quantiles(real, MASKS, 3))
    for index in range(3):
        new, wanted = matched.transpose(1, 0, 2, 3)[:, index == MASKS], real.transpose(1, 0, 2, 3)[:, index == MASKS]
        assert new.mean(axis=1) == pytest.approx(wanted.mean(axis=1), abs=0.02)
        # the mean of quantiles over few pixels lacks the rarest values
        assert new.std(axis=1) == pytest.approx(wanted.std(axis=1), rel=0.12)
    inside = MASKS[3] == 1
    order = np.argsort(start[3, 1][inside])
    assert (np.diff(matched[3, 1][inside][order]) >= 0).all()


def test_one_class_over_the_whole_plane_is_the_global_histogram():
    whole = np.zeros((6, 32, 32), np.uint8)
    start = np.exp(RNG.standard_normal(WHITE.shape)).astype(np.float32)
    by_class = match_class_histograms(start, whole, class_quantiles(WHITE, whole, 1))
    quantiles = mean_quantiles(WHITE)
    np.testing.assert_allclose(np.sort(by_class[0, 1].ravel())[20:-20], quantiles[1][20:-20], atol=0.03)


def test_moments_and_quantiles_of_a_class_are_those_of_its_pixels_and_nan_where_it_never_shows():
    mean, sd = class_moments(WHITE, MASKS, 4)
    pixels = WHITE.transpose(1, 0, 2, 3)[:, MASKS == 2]
    np.testing.assert_allclose(mean[2], pixels.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(sd[2], pixels.std(axis=1), rtol=1e-4)
    assert np.isnan(mean[3]).all()
    assert np.isnan(class_quantiles(WHITE, MASKS, 4)[3]).all()


def test_painted_images_have_the_moments_asked_for():
    mean, sd = np.array([[0.0, 1.0], [4.0, -2.0], [9.0, 3.0]]), np.array([[0.5, 1.0], [0.1, 0.2], [1.0, 2.0]])
    plain = paint_gaussian(MASKS, mean, sd, PaintGaussian(kind="paint-gaussian"), seed=3)
    got_mean, got_sd = class_moments(plain, MASKS, 3)
    assert got_mean == pytest.approx(mean, abs=0.3)
    assert got_sd == pytest.approx(sd, rel=0.15)
    first, second = (plain[sample, 1][MASKS[sample] == 0] for sample in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_painting_with_blur_and_bias():
    mean, sd = np.zeros((3, 1)), np.ones((3, 1))
    many = MASKS[:1].repeat(40, axis=0)
    blurred = paint_gaussian(many, mean, sd, PaintGaussian(kind="paint-gaussian", blur_px=1.0), seed=3)
    assert blurred.std() == pytest.approx(1 / (2 * np.sqrt(np.pi)), rel=0.1)
    biased = paint_gaussian(many, mean, 0 * sd, PaintGaussian(kind="paint-gaussian", bias_sd=0.5), seed=3)
    assert np.sqrt((biased**2).mean()) == pytest.approx(0.5, rel=0.35)
    assert np.abs(np.diff(biased)).max() < 0.2


def test_a_smooth_field_has_unit_deviation_and_the_width_asked_for():
    rng = np.random.default_rng(2)
    fields = np.stack([smooth_field(64, 3.0, rng) for _ in range(60)])
    assert fields.std() == pytest.approx(1, rel=0.05)
    neighbours = (fields * np.roll(fields, 3, axis=2)).mean()
    assert neighbours == pytest.approx(np.exp(-(3**2) / (4 * 3.0**2)), abs=0.06)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "unsharpen", "sigma_px": 1.0}, "did you mean 'unsharp'"),
        ({"kind": "noise", "sd": 1.0, "laws": "rician"}, "did you mean 'law'"),
        ({"kind": "noise", "sd": 1.0, "law": "poisson"}, "rician"),
        ({"kind": "histogram", "measured": 8}, "target: pool alone"),
        ({"kind": "paint-gaussian", "bias_px": 3.0}, "bias_sd above 0 alone"),
        ({"kind": "unsharp", "sigma_px": 1.0, "amount": -1.0}, "greater than 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        TreatSettings.model_validate({"treatments": [wrong]})
