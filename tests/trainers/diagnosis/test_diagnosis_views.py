"""Losses by place and class, and distances between domains, on made-up arrays."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from medsweep.trainers.diagnosis.features import (
    Moments,
    domain_aucs,
    linear_cka,
    mean_shift,
    normalised_moments,
    running_moments,
)
from medsweep.trainers.diagnosis.losses import loss_rows

CLASSES = ("background", "organ")


def square(first, last):
    mask = np.zeros((16, 16), np.uint8)
    mask[first:last, first:last] = 1
    return mask


def losses(predicted, mask, sure=20.0):
    """Of a network that draws ``predicted``."""
    logits = torch.from_numpy(np.stack([np.where(predicted == label, sure, 0.0) for label in range(2)])[None])
    return {(name, group): value for name, group, value in loss_rows([logits], [mask[None]], CLASSES)}


def test_a_mask_drawn_a_pixel_too_large_has_its_error_at_the_boundary_and_its_sign():
    mask = square(4, 12)
    found = losses(square(3, 13), mask)
    ring = 10 * 10 - 8 * 8
    assert found["signed_residual_px", "all"] == pytest.approx(ring / (8 * 8 - 6 * 6), rel=1e-3)
    assert losses(square(5, 11), mask)["signed_residual_px", "all"] == pytest.approx(-1, rel=1e-3)
    assert abs(losses(mask, mask)["signed_residual_px", "all"]) < 1e-6
    assert found["cross_entropy", "all"] == pytest.approx(20 * ring / 256, rel=1e-6)
    assert found["cross_entropy", "rest"] < 1e-6 < found["cross_entropy", "boundary"]
    assert found["cross_entropy", "organ"] < 1e-6
    assert found["cross_entropy", "background"] == pytest.approx(20 * ring / (256 - 64), rel=1e-6)
    assert found["soft_dice_loss", "organ"] == pytest.approx(1 - 2 * 64 / 164, rel=1e-6)


def test_without_foreground_there_is_no_boundary_to_tell_of():
    found = losses(square(0, 0), square(0, 0))
    assert math.isnan(found["signed_residual_px", "all"])
    assert math.isnan(found["cross_entropy", "boundary"])


def grouped(rng, groups, shift=0.0, patient_sd=0.0):
    """Features (8 per group, 6) and their groups."""
    numbers = np.repeat(np.arange(groups), 8)
    own = patient_sd * rng.standard_normal((groups, 6))[numbers]
    return rng.standard_normal((len(numbers), 6)) + own + shift, numbers


def test_one_domain_has_an_auc_near_a_half_and_two_have_one():
    rng = np.random.default_rng(0)
    same = [domain_aucs(*grouped(rng, 8), *grouped(rng, 8), rng) for _ in range(20)]
    assert all(len(aucs) == 5 for aucs in same)
    assert np.mean(same) == pytest.approx(0.5, abs=0.04)
    assert domain_aucs(*grouped(rng, 8), *grouped(rng, 8, shift=3.0), rng).min() > 0.99


def test_slices_of_a_patient_stay_in_one_fold():
    """Patients far apart would be told by their own slices."""
    rng = np.random.default_rng(1)
    apart = [domain_aucs(*grouped(rng, 8, patient_sd=5), *grouped(rng, 8, patient_sd=5), rng) for _ in range(30)]
    assert np.mean(apart) == pytest.approx(0.5, abs=0.1)
    x, y = grouped(rng, 8, patient_sd=5)[0], grouped(rng, 8, patient_sd=5)[0]
    loose = domain_aucs(x, np.arange(len(x)), y, np.arange(len(y)), rng)
    assert loose.mean() > 0.65
    assert np.isnan(domain_aucs(*grouped(rng, 1), *grouped(rng, 8), rng)).all()


def test_shift_and_cka():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((500, 4))
    assert mean_shift(x, x + 2 * x.std(axis=0)) == pytest.approx(4)
    turned = x @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert linear_cka(x, 3 * turned + 1) == pytest.approx(1)
    assert linear_cka(x, rng.standard_normal((500, 4))) < 0.1


def test_divergence_of_what_a_normalisation_gets():
    one, other = Moments(np.array([0.0]), np.array([1.0])), Moments(np.array([2.0]), np.array([1.0]))
    assert one.divergence(one) == 0
    assert one.divergence(other) == pytest.approx(2, rel=1e-3)
    model = nn.Sequential(nn.Identity(), nn.BatchNorm2d(1)).eval()
    images = torch.full((3, 1, 4, 4), 5.0)
    found = normalised_moments(model, images)["1"]
    assert (found.mean.item(), found.variance.item()) == (5.0, 0.0)
    assert running_moments(model)["1"].variance.item() == 1.0
