"""Spatial augmentation: bounded, the same for image and mask, and what it is at rest."""

import math

import pytest
import torch

from trainers.segmentation import augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def disc():
    """A bright disc off the centre, as image (8, 1, 32, 32) and mask (8, 32, 32)."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    mask = (((y - 14) ** 2 + (x - 19) ** 2) < 36).to(torch.uint8)
    return mask.float().expand(8, 1, 32, 32), mask.expand(8, 32, 32)


def test_image_and_mask_move_alike_and_do_move(disc):
    images, masks = augment.spatial(*disc, generator(), flip=True)
    assert masks.dtype == torch.uint8
    assert ((images[:, 0] > 0.5) == (masks == 1)).float().mean() > 0.99
    assert (masks != disc[1]).flatten(start_dim=1).any(dim=1).all()
    assert masks.flatten(start_dim=1).sum(dim=1).float().mean() == pytest.approx(int(disc[1][0].sum()), rel=0.05)


def test_without_rotation_and_shift_only_flips_are_left(disc, monkeypatch):
    monkeypatch.setattr(augment, "MAX_ROTATION", 0.0)
    monkeypatch.setattr(augment, "MAX_SHIFT", 0.0)
    images, _ = augment.spatial(*disc, generator(), flip=True)
    same = torch.isclose(images, disc[0], atol=1e-5).flatten(start_dim=1).all(dim=1)
    flipped = torch.isclose(images, disc[0].flip(-1), atol=1e-5).flatten(start_dim=1).all(dim=1)
    assert (same ^ flipped).all()
    assert same.any()
    assert flipped.any()


def test_maps_are_rigid_and_stay_within_the_bounds():
    maps = augment.random_maps(500, generator(1), flip=True)
    square = maps[:, :, :2]
    torch.testing.assert_close(square @ square.transpose(1, 2), torch.eye(2).expand(500, 2, 2))
    angles = torch.atan2(-square[:, 0, 1], square[:, 1, 1])
    assert math.radians(14) < angles.abs().max() <= math.radians(15)
    assert 0.19 < maps[:, :, 2].abs().max() <= 0.2
    assert 0.4 < (torch.linalg.det(square) < 0).float().mean() < 0.6


def test_without_flips_the_maps_are_else_the_same():
    plain, mirrored = (augment.random_maps(500, generator(1), flip=flip) for flip in (False, True))
    assert (torch.linalg.det(plain[:, :, :2]) > 0).all()
    torch.testing.assert_close(plain[:, :, 1:], mirrored[:, :, 1:])


def test_the_generator_decides(disc):
    first, again = (augment.spatial(*disc, generator(5), flip=True)[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment.spatial(*disc, generator(6), flip=True)[0])
