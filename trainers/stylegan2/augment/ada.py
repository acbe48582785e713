"""The distortions of ADA (Karras et al. 2020b, arXiv 2006.06676, appendix B) for pairs of images and masks.

Pixel blitting, one affine warp and intensity, each applied to each sample with probability p: the pipeline "bgc" less
what has no meaning here. Luma flip would invert CT and MRI, hue and saturation need colours. Geometry moves all
channels of a sample together, so a true pair stays aligned; intensity changes image channels only.
N samples, C channels, R pixels, F = 2 R + 10 pixels of the oversampled grid; (row, column) order throughout.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.stylegan2.augment.pixels import take
from medsweep.trainers.stylegan2.layers import strided_filter
from medsweep.trainers.training.accumulation import Random, normal, uniform

MAX_BLIT = 1 / 8
"""Largest shift by whole pixels as a share of the side."""
SCALE_SD = 0.2
"""SD of log2 of the isotropic scale, and of the anisotropic one."""
SHIFT_SD = 1 / 8
"""SD of the shift by fractions of a pixel as a share of the side."""
BRIGHTNESS_SD = 0.2
"""SD of what is added to images whose values run from about -1 to 1."""
CONTRAST_SD = 0.5
"""SD of log2 of what images are multiplied by."""
UNIFORMS, NORMALS = 16, 6
"""Random numbers drawn per sample, whatever p is."""
LOBES = 3
"""Reach of the low-pass on either side in pixels."""


@dataclass(frozen=True)
class Distortions:
    """What happens to each of N samples; neutral values where an operation is not applied."""

    turn: Tensor
    """Flips and quarter turns: from a place in the result, before the jump, to its source; int64 (N, 2, 2)."""
    jump: Tensor
    """Shift by whole pixels, int64 (N, 2)."""
    warped: Tensor
    """Whether the affine warp is applied, bool (N,)."""
    affine: Tensor
    """From a place in the result, before the shift, to its source, (N, 2, 2)."""
    shift: Tensor
    """Shift in pixels, (N, 2)."""
    brightness: Tensor
    contrast: Tensor
    """Added to images, and what they are multiplied by, (N,)."""


@dataclass(frozen=True)
class Ada:
    """Distorts each sample by each operation with one probability p; at p = 0 the result is bit-equal to the input."""

    image_channels: int
    """The first channels are intensities, the others belong to the mask."""
    fill: Tensor
    """Value of each channel outside the slice, (C, 1, 1).

    The published warp mirrors the picture at its border. A mirrored organ is a wrong anatomy and a wrong mask, so here
    a slice is surrounded by the air and the background class that do surround it.
    """

    def __call__(self, x_NCRR: Tensor, random: Random, p: Tensor) -> Tensor:
        """Distorted copy of float32 ``x`` (N, C, R, R), twice differentiable; p is 0-dimensional, on its device.

        22 numbers per sample come from ``random``. A sample that draws no operation is passed on as it is.
        """
        distortions = draw(len(x_NCRR), x_NCRR.shape[-1], random, p)
        moved_NCRR, inside_N1RR = blit(x_NCRR, distortions.turn, distortions.jump)
        x_NCRR = torch.where(inside_N1RR, moved_NCRR, self.fill)
        warped_NCRR = warp(x_NCRR - self.fill, distortions.affine, distortions.shift) + self.fill
        x_NCRR = torch.where(distortions.warped[:, None, None, None], warped_NCRR, x_NCRR)
        image_NCRR, mask_NCRR = x_NCRR[:, : self.image_channels], x_NCRR[:, self.image_channels :]
        bright_NCRR = image_NCRR + distortions.brightness[:, None, None, None]
        return torch.cat([bright_NCRR * distortions.contrast[:, None, None, None], mask_NCRR], dim=1)


def draw(samples: int, side: int, random: Random, p: Tensor) -> Distortions:
    """Random distortions of ``samples`` pictures of ``side`` pixels.

    Each operation is on with probability p. The rotation is split into one before and one after the anisotropic scale,
    each with probability 1 - sqrt(1 - p), so that one of them at least is on with probability p.
    """
    u = uniform((UNIFORMS, samples), random, p.device, dim=1)
    n = normal((NORMALS, samples), random, p.device, dim=1)
    flip, quarter, jump, scale, stretch, shift, brightness, contrast = u[:8] < p
    before, after = u[8:10] < 1 - (1 - p).sqrt()
    quarters_N = (u[10] * 4 * quarter).long()
    cos_N, sin_N = (1 - quarters_N) * (1 - quarters_N % 2), (2 - quarters_N) * (quarters_N % 2)
    mirror_N = 1 - 2 * (flip & (u[11] < 0.5)).long()
    reach = int(side * MAX_BLIT + 0.5)
    jump_2N = ((u[12:14] * (2 * reach + 1)).long() - reach) * jump
    half_turn_2N = (u[14:16] * 2 - 1) * math.pi
    scale_N = (n[0] * SCALE_SD * scale).exp2()
    stretch_N = (n[1] * SCALE_SD * stretch).exp2()
    turns_N22 = rotation(half_turn_2N[0] * before), rotation(half_turn_2N[1] * after)
    stretch_N2 = torch.stack([1 / stretch_N, stretch_N], dim=1)
    return Distortions(
        turn=matrix(cos_N, sin_N, -sin_N * mirror_N, cos_N * mirror_N),
        jump=jump_2N.T,
        warped=scale | stretch | shift | before | after,
        affine=(turns_N22[0] * stretch_N2[:, None]) @ turns_N22[1] / scale_N[:, None, None],
        shift=(n[2:4] * (SHIFT_SD * side) * shift).T,
        brightness=n[4] * BRIGHTNESS_SD * brightness,
        contrast=(n[5] * CONTRAST_SD * contrast).exp2(),
    )


def rotation(angle_N: Tensor) -> Tensor:
    """Rotation matrices (N, 2, 2) by angles in radians."""
    cos_N, sin_N = angle_N.cos(), angle_N.sin()
    return matrix(cos_N, -sin_N, sin_N, cos_N)


def matrix(a_N: Tensor, b_N: Tensor, c_N: Tensor, d_N: Tensor) -> Tensor:
    """((a, b), (c, d)) per sample, (N, 2, 2)."""
    return torch.stack([a_N, b_N, c_N, d_N], dim=1).view(-1, 2, 2)


def blit(x_NCRR: Tensor, source_N22: Tensor, shift_N2: Tensor) -> tuple[Tensor, Tensor]:
    """Flip, turn by quarters and shift by whole pixels: an exchange of pixels, without interpolation.

    Returns the result (N, C, R, R) and where it is known (N, 1, R, R); elsewhere the source lies outside.
    """
    R = x_NCRR.shape[-1]
    # Twice the distance to the centre is a whole number.
    place_2NR = (2 * (torch.arange(R, device=x_NCRR.device) - shift_N2.T[:, :, None])) - (R - 1)
    row_NR1, column_N1R = place_2NR[0][:, :, None], place_2NR[1][:, None, :]
    m = source_N22[:, :, :, None, None]
    source = [(m[:, axis, 0] * row_NR1 + m[:, axis, 1] * column_N1R + (R - 1)) // 2 for axis in (0, 1)]
    return take(x_NCRR, source[0], source[1])


def warp(x_NCRR: Tensor, source_N22: Tensor, shift_N2: Tensor) -> Tensor:
    """Affine warp about the centre at twice the resolution, with a low-pass before and after; outside x is 0.

    A place v in the result shows ``source (v - shift)``, in pixels from the centre. Both filters are the Lanczos window
    of three lobes (12 taps; the published ones are the 12 taps of the sym6 wavelet), the warp itself is bilinear. The
    oversampled grid has five half pixels more on each side, all that the filters reach.
    """
    N, C, R, _ = x_NCRR.shape
    M = N * C
    taps = low_pass(x_NCRR.device)
    row, column = taps.expand(M, 1, 1, -1), taps[:, None].expand(M, 1, -1, 1)
    # One map per group: on CPUs ten times as fast as one map per sample.
    fine = strided_filter(x_NCRR.reshape(1, M, R, R), column * 2, (2, 1), 0, True)
    fine = strided_filter(fine, row * 2, (1, 2), 0, True)
    F = fine.shape[-1]
    grid_NFF2 = sampling_grid(source_N22, shift_N2, F)
    fine = functional.grid_sample(fine.view(N, C, F, F), grid_NFF2, "bilinear", "zeros", align_corners=False)
    fine = strided_filter(fine.view(1, M, F, F), row, (1, 2), 0, False)
    return strided_filter(fine, column, (2, 1), 0, False).view(N, C, R, R)


def sampling_grid(source_N22: Tensor, shift_N2: Tensor, side: int) -> Tensor:
    """What ``grid_sample`` wants of an oversampled grid of F = ``side`` half pixels: (column, row) from -1 to 1."""
    place_F = (torch.arange(side, device=source_N22.device) - (side - 1) / 2) / 2
    y_NF1 = (place_F - shift_N2[:, 0, None])[:, :, None]
    x_N1F = (place_F - shift_N2[:, 1, None])[:, None, :]
    m = source_N22[:, :, :, None, None] * (4 / side)
    return torch.stack([m[:, axis, 0] * y_NF1 + m[:, axis, 1] * x_N1F for axis in (1, 0)], dim=3)


def low_pass(device: torch.device) -> Tensor:
    """sinc(t) sinc(t / 3) at the 12 half-pixel places t = -2.75, -2.25, ..., 2.75, with sum 1."""
    t = (torch.arange(4 * LOBES, device=device) + 0.5) / 2 - LOBES
    taps = torch.sinc(t) * torch.sinc(t / LOBES)
    return taps / taps.sum()
