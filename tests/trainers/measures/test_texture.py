"""Local SD: its value on known fields, classes apart."""

import numpy as np
import pytest

from medsweep.trainers.measures.texture import class_local_sd, local_moments, local_sd_log_ratio

RNG = np.random.default_rng(0)


def test_local_moments_are_those_of_the_window():
    images = RNG.standard_normal((2, 1, 16, 16)).astype(np.float32) + 1000
    mean, sd = local_moments(images)
    window = images[1, 0, 4:9, 6:11].astype(np.float64)
    assert (mean[1, 0, 6, 8], sd[1, 0, 6, 8]) == pytest.approx((window.mean(), window.std()))


def test_each_class_and_modality_has_its_own():
    images = RNG.standard_normal((8, 2, 64, 64)).astype(np.float32)
    masks = np.zeros((8, 64, 64), np.uint8)
    masks[:, :, 32:] = 2
    images[:, 1] *= 3
    images[..., 37:] *= 2
    images[..., 27:37] = 0
    inner = np.full((8, 64, 64), 1, np.uint8)
    inner[..., 3:24], inner[..., 40:61] = 0, 2
    sd = class_local_sd(images, inner, 3)
    assert sd[2] / sd[0] == pytest.approx([2, 2], rel=0.03)
    assert sd[0, 1] / sd[0, 0] == pytest.approx(3, rel=0.03)
    assert sd[0, 0] == pytest.approx(np.sqrt(24 / 25), rel=0.03)
    assert np.isnan(class_local_sd(images, masks, 3)[1]).all()


def test_the_log_ratio_counts_too_rough_and_too_smooth_alike_and_passes_over_absent_classes():
    real = np.array([[1.0, 2.0], [np.nan, np.nan]])
    assert local_sd_log_ratio(np.array([[2.0, 1.0], [1.0, 1.0]]), real) == pytest.approx(np.log(2))
    assert local_sd_log_ratio(real[1:], real[1:]) == 0
