"""DiffAugment (Zhao et al. 2020, arXiv 2006.10738): D sees the same random distortions of real and generated pairs.

Geometry moves image and mask channels together, so a true pair stays aligned; intensity changes image channels only.
Every operation is differentiable twice, as R1 needs. N samples, C channels, R pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from medsweep.trainers.stylegan2.augment.pixels import take
from medsweep.trainers.training.accumulation import Random, uniform

MAX_SHIFT = 1 / 8
"""Largest translation as a share of the side."""

CUT_OUT = 1 / 2
"""Side of the cut-out square as a share of the side."""


@dataclass(frozen=True)
class DiffAugment:
    """Translation, cut-out, brightness and contrast."""

    image_channels: int
    """The first channels are intensities, the others belong to the mask."""
    fill: Tensor
    """Value of each channel outside the picture, (C, 1, 1): 0 for an image, background for a mask."""

    def __call__(self, x_NCRR: Tensor, random: Random, p: Tensor | None = None) -> Tensor:
        """Distorted copy of ``x``; all randomness comes from ``random``, six numbers per sample.

        ``p`` is there for the common signature of augmentations and is not read: every sample is distorted.
        """
        draws = uniform((6, len(x_NCRR)), random, x_NCRR.device, dim=1)
        if self.image_channels:
            image_NCRR, mask_NCRR = x_NCRR[:, : self.image_channels], x_NCRR[:, self.image_channels :]
            x_NCRR = torch.cat([intensity(image_NCRR, draws[4], draws[5]), mask_NCRR], dim=1)
        return geometry(x_NCRR - self.fill, draws[:4]) + self.fill


def intensity(image_NCRR: Tensor, brightness_N: Tensor, contrast_N: Tensor) -> Tensor:
    """Add a number from [-0.5, 0.5), then scale the distance to the mean by one from [0.5, 1.5)."""
    bright = image_NCRR + (brightness_N - 0.5)[:, None, None, None]
    mean_N111 = bright.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean_N111, bright, (contrast_N + 0.5)[:, None, None, None])


def geometry(x_NCRR: Tensor, draws_4N: Tensor) -> Tensor:
    """Translate by whole pixels and cut out a square; what is moved in or cut out becomes 0."""
    side = x_NCRR.shape[-1]
    pixel_R = torch.arange(side, device=x_NCRR.device)
    reach = int(side * MAX_SHIFT + 0.5)
    shift_2N11 = ((draws_4N[:2] * (2 * reach + 1)).long() - reach)[:, :, None, None]
    row_NRR, column_NRR = torch.broadcast_tensors(pixel_R[:, None] - shift_2N11[0], pixel_R - shift_2N11[1])
    moved_NCRR, inside_N1RR = take(x_NCRR, row_NRR, column_NRR)
    centre_2N1 = (draws_4N[2:] * side)[:, :, None]
    cut_2NR = (pixel_R + 0.5 - centre_2N1).abs() < side * CUT_OUT / 2
    cut_NRR = cut_2NR[0, :, :, None] & cut_2NR[1, :, None, :]
    return moved_NCRR * (inside_N1RR & ~cut_NRR[:, None])
