"""Spatial augmentation: bounded, the same for image and mask, and what it is at rest."""

import math

import pytest
import torch

from medsweep.trainers.segmentation import augment


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


@pytest.fixture
def textured():
    """Smooth random images (16, 2, 48, 48) and a disc as mask (16, 48, 48)."""
    noise = torch.randn(16, 2, 6, 6, generator=generator(3))
    images = torch.nn.functional.interpolate(noise, (48, 48), mode="bilinear")
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    return images, (((y - 24) ** 2 + (x - 24) ** 2) < 100).to(torch.uint8).expand(16, 48, 48)


def test_presets_do_what_they_say(textured):
    images, masks = textured
    assert augment.augment(images, masks, generator(), "none")[0] is images
    for preset, flip in (("rigid", False), ("spatial", True)):
        expected = augment.spatial(images, masks, generator(4), flip=flip)
        found = augment.augment(images, masks, generator(4), preset)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_full_is_decided_by_the_generator_and_leaves_labels_labels(textured):
    first, again, other = (augment.augment(*textured, generator(seed), "full") for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[1].dtype == torch.uint8
    assert set(first[1].unique().tolist()) == {0, 1}
    assert torch.isfinite(first[0]).all()


def test_full_moves_image_and_mask_alike_and_changes_sizes(disc, monkeypatch):
    monkeypatch.setattr(augment, "intensity", lambda images, _generator: images)
    images, masks = augment.augment(*disc, generator(1), "full")
    assert ((images[:, 0] > 0.5) == (masks == 1)).float().mean() > 0.98
    areas = masks.flatten(start_dim=1).sum(dim=1) / int(disc[1][0].sum())
    assert areas.max() > 1.15
    assert areas.min() < 0.87


def test_full_bends_what_it_moves(textured, monkeypatch):
    bent = augment.augment(*textured, generator(5), "full")[1]
    monkeypatch.setattr(augment, "MAX_DISPLACEMENT", 0.0)
    assert not torch.equal(augment.augment(*textured, generator(5), "full")[1], bent)


def test_elastic_deformation_is_bounded_hits_some_images_and_never_folds():
    bend = augment.elastic(200, 64, generator(2), torch.device("cpu"))
    hit = bend.flatten(start_dim=1).abs().amax(dim=1) > 0
    assert 0.2 < hit.float().mean() < 0.4
    assert 0.05 < bend.abs().max() < 2 * 1.5 * augment.MAX_DISPLACEMENT
    per_column, per_row = bend.diff(dim=2)[:, :-1] * 32, bend.diff(dim=1)[:, :, :-1] * 32
    jacobian = (1 + per_column[..., 0]) * (1 + per_row[..., 1]) - per_column[..., 1] * per_row[..., 0]
    assert jacobian.min() > 0.1


def test_intensity_changes_some_images_within_bounds_and_leaves_others_alone(textured):
    images = textured[0].repeat(10, 1, 1, 1)
    found = augment.intensity(images, generator(7))
    change = (found - images).flatten(start_dim=1).abs().amax(dim=1) / images.flatten(start_dim=1).std(dim=1)
    untouched = (change < 1e-4).float().mean()
    assert 0.7**5 / 2 < untouched < 0.7**5 * 2  # five changes, each missing 7 of 10 images
    assert 0.1 < change.max() < 2
    flat = augment.intensity(torch.full((40, 1, 8, 8), 3.0), generator(7))
    torch.testing.assert_close(flat, torch.full((40, 1, 8, 8), 3.0))


@pytest.mark.parametrize("strength", ["MAX_BRIGHTNESS", "MAX_CONTRAST", "MAX_LOG_GAMMA", "MAX_NOISE"])
def test_each_change_of_intensity_does_something_of_its_own(textured, monkeypatch, strength):
    whole = augment.intensity(textured[0], generator(8))
    monkeypatch.setattr(augment, strength, 0.0)
    assert not torch.allclose(augment.intensity(textured[0], generator(8)), whole)


def test_blur_takes_the_finest_pattern_away_and_keeps_what_is_flat():
    checks = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float().expand(1, 2, 16, 16)
    torch.testing.assert_close(augment._blurred(checks)[:, :, 2:-2, 2:-2], torch.full((1, 2, 12, 12), 0.5))
