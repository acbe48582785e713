"""The augmentation of nnU-Net: each change as often and as strong as published, alone, and on the image alone."""

import math

import pytest
import torch
from torch import Tensor

from medsweep.trainers.segmentation import nnunet_augment
from medsweep.trainers.segmentation.augment import augment

CHANCES = ("NOISY", "BLURRED", "BRIGHTER", "CONTRASTED", "COARSER", "BENT")


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 64) -> Tensor:
    return torch.randn(count, 2, 16, 16, generator=draws(1))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    """Every change of intensity off but one, which is sure."""

    def sure(name: str | None) -> None:
        for chance in CHANCES:
            monkeypatch.setattr(nnunet_augment, chance, float(chance == name))

    return sure


def test_image_and_mask_move_alike_and_what_comes_from_outside_is_background(only) -> None:
    only(None)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    mask = (((y - 14) ** 2 + (x - 20) ** 2) < 36).to(torch.uint8).expand(40, 32, 32)
    moved, masks = augment(mask[:, None].float(), mask, draws(), "nnunet")
    assert masks.dtype == torch.uint8
    assert ((moved[:, 0] > 0.5) == (masks == 1)).float().mean() > 0.99
    assert (masks != mask).any()


def test_maps_turn_any_way_mirror_both_axes_and_scale_within_the_bounds() -> None:
    maps = nnunet_augment.turned(4000, draws())
    linear = maps[:, :, :2]
    scale = torch.linalg.det(linear).abs().sqrt()
    torch.testing.assert_close(
        linear @ linear.transpose(1, 2), scale[:, None, None] ** 2 * torch.eye(2).expand(4000, 2, 2)
    )
    assert 0.7 <= scale.min() < 0.75
    assert 1.35 < scale.max() <= 1.4
    assert float((scale != 1).float().mean()) == pytest.approx(0.2, abs=0.03)
    turned = (linear[:, 0, 1].abs() > 1e-6) & (linear[:, 0, 0].abs() > 1e-6)
    assert float(turned.float().mean()) == pytest.approx(0.2, abs=0.03)
    still = linear[~turned]
    for column in (0, 1):
        assert float((still[:, column, column] < 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert (maps[:, :, 2] == 0).all()


def test_without_any_change_images_stay_as_they_are(only) -> None:
    only(None)
    torch.testing.assert_close(nnunet_augment.intensities(images(), draws()), images())


@pytest.mark.parametrize("name", CHANCES)
def test_each_change_comes_as_often_as_published(only, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    chance = getattr(nnunet_augment, name)
    only(None)
    monkeypatch.setattr(nnunet_augment, name, chance)
    before = images(2000)
    changed = (nnunet_augment.intensities(before, draws()) - before).abs().amax(dim=(2, 3)) > 1e-3
    either = changed.any(dim=1).float().mean()
    reach = 0.75 if name in ("BLURRED", "COARSER") else 1.0
    assert float(either) == pytest.approx(chance * reach, abs=0.03)
    if reach < 1:
        both = changed.all(dim=1).float().mean()
        assert float(both) == pytest.approx(chance * 0.25, abs=0.03)


def test_noise_has_the_variance_that_was_drawn(only) -> None:
    only("NOISY")
    grain = nnunet_augment.intensities(torch.zeros(500, 1, 32, 32), draws())
    variance = grain.var(dim=(1, 2, 3))
    assert 0.08 < variance.max() < 0.12
    assert float(variance.mean()) == pytest.approx(0.05, abs=0.01)


def test_blur_is_a_gaussian_of_the_widths_drawn(only, monkeypatch: pytest.MonkeyPatch) -> None:
    only("BLURRED")
    monkeypatch.setattr(nnunet_augment, "OF_MODALITY", 1.0)
    point = torch.zeros(200, 1, 17, 17)
    point[:, :, 8, 8] = 1.0
    blurred = nnunet_augment.intensities(point, draws())
    torch.testing.assert_close(blurred.sum(dim=(2, 3)), torch.ones(200, 1))
    place = torch.arange(17.0) - 8
    width = (blurred.sum(dim=2)[:, 0] * place**2).sum(dim=1).sqrt()
    assert 0.4 < width.min() < 0.6
    assert 1.4 < width.max() < 1.6


def test_contrast_stays_in_the_range_and_gamma_keeps_its_ends(only) -> None:
    for name in ("CONTRASTED", "BENT"):
        only(name)
        before, after = images(), nnunet_augment.intensities(images(), draws())
        assert (after.amax(dim=(2, 3)) <= before.amax(dim=(2, 3)) + 1e-4).all()
        assert (after.amin(dim=(2, 3)) >= before.amin(dim=(2, 3)) - 1e-4).all()
        if name == "BENT":
            torch.testing.assert_close(after.amax(dim=(2, 3)), before.amax(dim=(2, 3)))


def test_coarser_sampling_leaves_fewer_frequencies(only) -> None:
    only("COARSER")
    before, after = images(), nnunet_augment.intensities(images(), draws())
    changed = (after - before).abs().amax(dim=(2, 3)) > 1e-3
    steps = [(x[..., 1:] - x[..., :-1]).square().mean(dim=(2, 3))[changed] for x in (before, after)]
    assert steps[1].mean() < 0.7 * steps[0].mean()


def test_the_generator_decides() -> None:
    masks = torch.zeros(64, 16, 16, dtype=torch.uint8)
    first, again = (augment(images(), masks, draws(3), "nnunet")[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(images(), masks, draws(4), "nnunet")[0])
    assert math.isfinite(float(first.sum()))
