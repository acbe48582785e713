"""Edges of images beside their masks without a segmenter, and labels that a judge is sure are wrong."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from medsweep.trainers.assessment.confident import confident_errors, confident_joint, sure_from
from medsweep.trainers.assessment.edge_profile import CENTRES, edge_fit, edge_sums, profiles

SHAPES = np.random.default_rng(0).uniform((9, 9, 24, 24), (11, 13, 26, 28), (12, 4))


def discs(grown=0.0, blur=0.0):
    """Images of bright ellipses with soft edges, and masks of them that are ``grown`` pixels too large."""
    rows, columns = np.indices((50, 50))
    images, masks = [], []
    for a, b, row, column in SHAPES:
        r = np.hypot((rows - row) / a, (columns - column) / b)
        d = (1 - r) * np.sqrt(a * b)
        image = 1 / (1 + np.exp(-2 * d))
        images.append([ndimage.gaussian_filter(image, blur) if blur else image, -2 * image])
        masks.append(d > -grown)
    return np.array(images, np.float32), np.array(masks, np.uint8)


def profile(**planted):
    return profiles(edge_sums(*discs(**planted)).sum(axis=0))[None]


@pytest.mark.parametrize(("planted", "offset"), [({}, 0.0), ({"grown": 1.0}, 1.0), ({"grown": -0.5}, -0.5)])
def test_the_offset_of_an_edge_is_how_much_its_mask_is_too_large(planted, offset):
    fit = edge_fit(profile(**planted), profile())
    assert fit.offset_px == pytest.approx(offset, abs=0.25)
    assert fit.width_ratio == pytest.approx(1, abs=0.1)


def test_blur_and_intensity_widen_an_edge_and_do_not_move_it():
    fit = edge_fit(3 * profile(blur=1.5) + 7, profile())
    assert fit.offset_px == pytest.approx(0, abs=0.15)
    assert fit.width_ratio[0] > 1.2


def test_too_thin_a_structure_has_no_edge_to_compare():
    images, masks = discs()
    masks[:] = 0
    masks[:, 25, 10:40] = 1
    assert edge_fit(profiles(edge_sums(images, masks).sum(axis=0))[None], profile()) is None
    assert np.isnan(profiles(edge_sums(images, masks).sum(axis=0))[:, CENTRES > 1]).all()


def judge():
    """Sees each class where the image of that class is bright."""
    network = nn.Conv2d(2, 2, 1)
    nn.init.dirac_(network.weight)
    nn.init.zeros_(network.bias)
    return network


def pairs(grown):
    _, masks = discs(grown)
    _, true = discs()
    images = np.stack([true == 0, true == 1], axis=1).astype(np.float32) * 4
    return images, masks


def joint(grown):
    sure = sure_from(judge(), *pairs(0.0), 2)
    assert sure == pytest.approx([torch.sigmoid(torch.tensor(4.0)).item()] * 2)
    # what the judge gives every true pixel is exactly the mean, so all are sure
    return confident_joint(judge(), *pairs(grown), 0.99 * sure)


@pytest.mark.parametrize("grown", [1.0, -1.0])
def test_confident_errors_have_the_sign_of_the_bias_and_lie_at_the_boundary(grown):
    owners = np.repeat(np.array(["a", "b", "c"], object), 4)
    found = confident_errors(joint(grown), joint(0.0), owners, 50, np.random.default_rng(0))
    larger = found["confident_larger"]
    assert np.sign(larger.low) == np.sign(larger.high) == np.sign(larger.value) == grown
    if grown > 0:
        assert found["class_1/confident_boundary"].value > 0.3
        assert found["class_1/confident_inside"].value == 0


def test_pixels_of_which_the_judge_is_not_sure_do_not_count():
    unsure = confident_joint(judge(), *pairs(1.0), np.array([0.999, 0.999]))
    assert not unsure.any()
    found = confident_errors(
        unsure, joint(0.0), np.repeat(np.array(["a", "b"], object), 6), 20, np.random.default_rng(0)
    )
    assert "confident_larger" not in found
