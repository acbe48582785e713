"""The loss on four images of one mask, and the map of texture against loss, where the cause is planted."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from medsweep.trainers.diagnosis.bands import band_effects, band_rows, four_images
from medsweep.trainers.diagnosis.probes import Aligned, Slices
from medsweep.trainers.diagnosis.texture_map import TextureMap, strata_of, texture_error, texture_rows

CLASSES = ("background", "organ")
SIDE, SAMPLES = 32, 24


class Rule(nn.Module):
    """A network that learned a rule; it has a weight, by which others find its device."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class ByLevel(Rule):
    """Draws the organ where a pixel is above 0.5; is the surer, the farther it is."""

    def forward(self, x_NCRR):
        odds = 4 * (x_NCRR[:, :1] - 0.5)
        return torch.cat([-odds, odds], dim=1)


class ByMask(Rule):
    """Knows where the organ is, and doubts it where ``doubt`` says so."""

    def forward(self, x_NCRR):
        sure = 4 * (2 * torch.from_numpy(masks()[0]).float() - 1)
        odds = torch.where(self.doubt(x_NCRR), 0.0, sure)
        return torch.cat([-odds, odds], dim=1)


class ByRoughness(ByMask):
    """Stumbles where a pixel differs much from its neighbours."""

    @staticmethod
    def doubt(x_NCRR):
        return (x_NCRR - nn.functional.avg_pool2d(x_NCRR, 3, 1, 1, count_include_pad=False)).abs() > 0.3


class ByBrightness(ByMask):
    """Stumbles over bright samples."""

    @staticmethod
    def doubt(x_NCRR):
        return (x_NCRR.mean(dim=(1, 2, 3), keepdim=True) > 0.5).expand_as(x_NCRR)


def masks():
    mask = np.zeros((SAMPLES, SIDE, SIDE), np.uint8)
    mask[:, 8:24, 8:24] = 1
    return mask


def reals(seed=0, noise=0.1):
    fine = np.random.default_rng(seed).standard_normal((SAMPLES, 1, SIDE, SIDE))
    return (gaussian_filter(masks()[:, None] * 1.0, (0, 0, 2, 2)) + noise * fine).astype(np.float32)


def pairs(synthetic):
    return Aligned(reals(), synthetic.astype(np.float32), masks(), np.arange(SAMPLES) // 3)


def told(rows):
    return {(name, group): value for name, group, value in rows}


def bands(synthetic):
    return told(band_rows(ByLevel(), pairs(synthetic), CLASSES, np.random.default_rng(0), draws=200))


def test_effects_of_bands_are_those_of_a_two_by_two():
    loss = {"real real": 1.0, "real synthetic": 4.0, "synthetic real": 2.0, "synthetic synthetic": 9.0}
    found = band_effects({name: np.array(value) for name, value in loss.items()})
    assert {name: float(value) for name, value in found.items()} == {
        "high_band_effect": (3 + 7) / 2,
        "low_band_effect": (1 + 5) / 2,
        "band_interaction": 7 - 3,
        "band_gap": 8.0,
        "high_band_share": 5 / 8,
    }


def test_bands_of_a_pair_add_up_to_both_images():
    real, synthetic = reals(), reals(1) + 0.3
    four = four_images(real, synthetic)
    np.testing.assert_allclose(four["real synthetic"] + four["synthetic real"], real + synthetic, rtol=0, atol=1e-5)


def test_noise_is_laid_to_the_high_band_and_a_coarse_shift_to_the_low_one():
    rough = reals() + 0.6 * np.random.default_rng(5).standard_normal((SAMPLES, 1, SIDE, SIDE))
    found = bands(rough)
    assert found["band_gap_low", "all"] > 0.1
    assert found["high_band_share", "all"] == pytest.approx(1, abs=0.1)
    assert found["high_band_share_low", "all"] < found["high_band_share", "all"] < found["high_band_share_high", "all"]
    assert found["high_band_effect_low", "boundary"] > 0
    shifted = bands(reals() - 0.4)
    assert shifted["band_gap_low", "organ"] > 0.1
    assert shifted["high_band_share", "organ"] == pytest.approx(0, abs=0.05)
    assert shifted["low_band_effect", "organ"] == pytest.approx(shifted["band_gap", "organ"], rel=0.05)


def test_equal_images_have_no_gap_and_no_share_of_it():
    found = bands(reals(0))
    assert found["band_gap", "all"] == 0
    assert np.isnan(found["high_band_share", "all"])


def test_one_patient_alone_has_no_interval():
    alone = Aligned(reals(), reals(1), masks(), np.zeros(SAMPLES, np.int64))
    found = told(band_rows(ByLevel(), alone, CLASSES, np.random.default_rng(0), draws=50))
    assert np.isfinite(found["band_gap", "all"])
    assert np.isnan(found["band_gap_low", "all"])


def test_strata_go_from_the_boundary_outwards_class_by_class():
    strata = strata_of(masks(), 2)[0]
    assert (strata[8, 8], strata[12, 16], strata[16, 16]) == (5, 5 + 2, 5 + 3)
    assert (strata[7, 16], strata[5, 16], strata[0, 0]) == (0, 1, 2 + 1)


def test_texture_error_counts_interquartile_ranges_from_the_median_of_reals():
    real = Slices(reals(), masks(), np.arange(SAMPLES))
    strata = strata_of(masks(), 2)
    own = texture_error(reals(7), strata, real, 2)
    # half of all values lie within the quartiles, which are about half a range away
    assert np.median(own) == pytest.approx(0.5, abs=0.05)
    deep = strata[0] == 5 + 3
    assert np.median(texture_error(2 * reals(7), strata, real, 2)[:, deep]) > 2


def rough_patches():
    """Samples with a rough patch each, every other of them bright."""
    rng = np.random.default_rng(3)
    images = reals(7, noise=0.05) + (np.arange(SAMPLES, dtype=np.float32) % 2)[:, None, None, None]
    for image in images:
        row, column = rng.integers(0, SIDE - 10, 2)
        image[0, row : row + 10, column : column + 10] += rng.standard_normal((10, 10)).astype(np.float32)
    return Slices(images, masks(), np.arange(SAMPLES))


def slopes(network):
    real = Slices(reals(noise=0.05), masks(), np.arange(SAMPLES))
    texture = TextureMap.of(rough_patches(), real, len(CLASSES))
    return told(texture_rows(network, texture, CLASSES, np.random.default_rng(0)))


@pytest.mark.parametrize("group", ["all", "boundary", "rest", "background", "organ"])
def test_loss_goes_with_texture_where_the_network_stumbles_over_it(group):
    found = slopes(ByRoughness())
    assert found["texture_slope_null_low", group] < 0 < found["texture_slope_null_high", group]
    assert found["texture_slope", group] > 3 * found["texture_slope_null_high", group]
    assert found["texture_slope_p", group] == pytest.approx(1 / 201)


def test_loss_that_comes_from_elsewhere_stays_within_the_null():
    found = slopes(ByBrightness())
    low, high = (found[f"texture_slope_null_{end}", "all"] for end in ("low", "high"))
    assert low < found["texture_slope", "all"] < high
    assert found["texture_slope_p", "all"] > 0.05


def test_images_without_texture_have_no_slope():
    flat = Slices(np.zeros((SAMPLES, 1, SIDE, SIDE), np.float32), masks(), np.arange(SAMPLES))
    texture = TextureMap.of(flat, flat, len(CLASSES))
    assert texture_rows(ByLevel(), texture, CLASSES, np.random.default_rng(0)) == []
