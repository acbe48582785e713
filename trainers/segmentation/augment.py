"""Spatial augmentation of a whole batch at once, on the device where it lies."""

import math

import torch
from torch import Tensor
from torch.nn import functional

MAX_ROTATION = math.radians(15)
MAX_SHIFT = 0.1
"""Fraction of the side."""


def spatial(images_NCRR: Tensor, masks_NRR: Tensor, generator: torch.Generator, *, flip: bool) -> tuple[Tensor, Tensor]:
    """Rotate and shift each image and its mask alike; with ``flip``, also swap left and right of every other one.

    Images are interpolated linearly, masks by nearest neighbour; what comes in from outside is 0 in both, as in the
    padding of prepared slices. ``generator`` lives on the CPU.
    """
    theta_N23 = random_maps(len(images_NCRR), generator, flip=flip).to(images_NCRR.device)
    grid = functional.affine_grid(theta_N23, list(images_NCRR.shape), align_corners=False)
    images = functional.grid_sample(images_NCRR, grid, mode="bilinear", align_corners=False)
    masks = functional.grid_sample(masks_NRR[:, None].float(), grid, mode="nearest", align_corners=False)
    return images, masks[:, 0].to(masks_NRR.dtype)


def random_maps(count: int, generator: torch.Generator, *, flip: bool) -> Tensor:
    """Affine maps from output to input, float32 (count, 2, 3), in units of half a side, columns before rows.

    Rotations and shifts are the same with and without ``flip``, which mirrors with probability 1/2.
    """
    angle = MAX_ROTATION * (2 * torch.rand(count, generator=generator) - 1)
    shift = 2 * MAX_SHIFT * (2 * torch.rand(count, 2, generator=generator) - 1)
    sign = 1.0 - 2.0 * (torch.rand(count, generator=generator) < 0.5) if flip else torch.ones(count)
    columns = torch.stack([sign * angle.cos(), -angle.sin(), shift[:, 0]], dim=1)
    rows = torch.stack([sign * angle.sin(), angle.cos(), shift[:, 1]], dim=1)
    return torch.stack([columns, rows], dim=1)
