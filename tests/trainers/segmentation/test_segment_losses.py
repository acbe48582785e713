"""Losses of a segmenter against their formulas, and class weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from medsweep.data.folds import Fold
from medsweep.data.ignored import IGNORED
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.optimisation import cross_entropy_by_source, inverse_frequency, make_loss

LOGITS = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 3, (4, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
PIXELS = np.array([900, 90, 10])


def loss_of(loss, class_weights="none", pixels=PIXELS, ignores=False):
    given = SegmentSettings(loss=loss, class_weights=class_weights)
    fold = Fold(index=0, of=4)
    asked = resolve(given, fold=fold, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    return make_loss(asked, pixels, torch.device("cpu"), ignores=ignores)


def dice_per_class(logits):
    chance = logits.softmax(dim=1)
    truth = functional.one_hot(LABELS.long(), 3).permute(0, 3, 1, 2)
    overlap, total = (chance * truth).sum(dim=(0, 2, 3)), (chance + truth).sum(dim=(0, 2, 3))
    return 1 - 2 * overlap[1:] / total[1:]


def test_dice_is_taken_over_the_batch_and_the_foreground():
    torch.testing.assert_close(loss_of("dice")(LOGITS, LABELS), dice_per_class(LOGITS).mean())


def test_cross_entropy_is_added_with_its_weights():
    dice, weights = dice_per_class(LOGITS), torch.tensor(inverse_frequency(PIXELS), dtype=torch.float32)
    plain = dice.mean() + functional.cross_entropy(LOGITS, LABELS.long())
    torch.testing.assert_close(loss_of("dice-ce")(LOGITS, LABELS), plain)
    weighted = (weights[1:] * dice).mean() + functional.cross_entropy(LOGITS, LABELS.long(), weight=weights)
    torch.testing.assert_close(loss_of("dice-ce", "inverse-frequency")(LOGITS, LABELS), weighted)


def test_focal_loss_looks_at_the_background_too():
    log_true = LOGITS.log_softmax(dim=1).gather(1, LABELS[:, None].long())
    focal = -((1 - log_true.exp()) ** 2 * log_true).mean() / 3  # MONAI's mean is over classes as well
    found = loss_of("dice-focal")(LOGITS, LABELS)
    torch.testing.assert_close(found, dice_per_class(LOGITS).mean() + focal)


def test_with_two_classes_the_focal_part_still_teaches():
    logits, labels = LOGITS[:, :2].clone().requires_grad_(), LABELS.clamp(max=1)
    beside = loss_of("dice-focal")(logits, labels) - loss_of("dice")(logits, labels)
    assert torch.autograd.grad(beside, logits)[0].abs().min() > 0


def test_weights_are_inverse_to_frequency_with_mean_one():
    found = inverse_frequency(PIXELS)
    assert found.mean() == pytest.approx(1)
    assert (found * PIXELS).tolist() == pytest.approx([(found * PIXELS)[0]] * 3)


def test_a_class_that_never_occurs_weighs_one_and_leaves_the_others_alone():
    found = inverse_frequency(np.array([900, 0, 100]))
    assert found.tolist() == pytest.approx([0.2, 1.0, 1.8])


def test_the_cross_entropy_of_real_and_synthetic_samples_is_told_apart():
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 8, 8, generator=draws)
    labels = torch.randint(0, 3, (5, 8, 8), generator=draws).to(torch.uint8)
    synthetic = np.array([False, True, True, False, True])
    parts = cross_entropy_by_source(logits, labels, synthetic)
    for name, rows in {"real": [0, 3], "synthetic": [1, 2, 4]}.items():
        alone = functional.cross_entropy(logits[rows], labels[rows].long())
        torch.testing.assert_close(parts[f"cross_entropy_{name}"], alone)
    assert set(cross_entropy_by_source(logits, labels, synthetic & False)) == {"cross_entropy_real"}
    assert set(cross_entropy_by_source(logits, labels, synthetic | True)) == {"cross_entropy_synthetic"}


@pytest.mark.parametrize("loss", ["dice", "dice-ce", "dice-focal"])
@pytest.mark.parametrize("weights", ["none", "inverse-frequency"])
def test_a_loss_with_ignored_pixels_is_that_of_the_others(loss, weights):
    labels = LABELS.clone()
    labels[:, :, 10:] = IGNORED
    logits = LOGITS.clone().requires_grad_()
    found = loss_of(loss, weights, ignores=True)(logits, labels)
    torch.testing.assert_close(found, loss_of(loss, weights)(LOGITS[..., :10], LABELS[..., :10]))
    found.backward()
    assert not logits.grad[..., 10:].any()
    assert logits.grad[..., :10].any()
    torch.testing.assert_close(
        loss_of(loss, weights, ignores=True)(LOGITS, LABELS), loss_of(loss, weights)(LOGITS, LABELS)
    )


def test_a_batch_of_ignored_pixels_alone_moves_nothing():
    logits = LOGITS.clone().requires_grad_()
    found = loss_of("dice-ce", ignores=True)(logits, torch.full_like(LABELS, IGNORED))
    found.backward()
    assert (found.item(), logits.grad.abs().max().item()) == (0, 0)


def test_cross_entropy_by_source_leaves_ignored_pixels_out():
    labels, synthetic = LABELS.clone(), np.array([False, False, True, True])
    labels[:, :, 10:] = IGNORED
    found = cross_entropy_by_source(LOGITS, labels, synthetic, ignores=True)
    cropped = cross_entropy_by_source(LOGITS[..., :10], LABELS[..., :10], synthetic)
    torch.testing.assert_close(found, cropped)
    labels[1] = IGNORED
    half = functional.cross_entropy(LOGITS[:1, ..., :10], LABELS[:1, :, :10].long()) / 2
    torch.testing.assert_close(
        cross_entropy_by_source(LOGITS, labels, synthetic, ignores=True)["cross_entropy_real"], half
    )
