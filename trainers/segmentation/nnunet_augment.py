"""The augmentation of nnU-Net for 2D patches (Isensee et al. 2021, supplement, section 4), on a whole batch at once.

Shapes: N images, C modalities, R resolution in pixels. Intensities are z-scores, as nnU-Net's are. Resampling is linear
for images and nearest for masks, where nnU-Net takes cubic splines and linear class maps; all else is as published.
"""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.training.transfer import upload

ROTATED, SCALED, NOISY, BLURRED, BRIGHTER, CONTRASTED, COARSER, BENT, INVERTED = (
    0.2, 0.2, 0.15, 0.2, 0.15, 0.15, 0.25, 0.15, 0.15,
)  # fmt: skip
"""Chance of each change for one image; ``INVERTED`` is that of gamma on the negative, among the images that get it."""
OF_MODALITY: Final = 0.5
"""Chance that blur, and coarser sampling, reach a modality of an image that gets them."""
MAX_ANGLE: Final = math.pi
SCALES, VARIANCES, SIGMAS = (0.7, 1.4), (0.0, 0.1), (0.5, 1.5)
BRIGHTNESS, CONTRAST, COARSENESS, GAMMA = (0.7, 1.3), (0.65, 1.5), (1.0, 2.0), (0.7, 1.5)
REACH: Final = 5
"""Pixels to either side that blur looks at: more than three times the largest width."""


def turned(count: int, generator: torch.Generator) -> Tensor:
    """Affine maps from output to input, float32 (count, 2, 3): rotation, scale, and mirrors along both axes."""
    angle = _sometimes(generator, ROTATED, count) * MAX_ANGLE * (2 * torch.rand(count, generator=generator) - 1)
    scale = _uniform_or(generator, 1.0, SCALED, SCALES, count)
    mirrors = 1.0 - 2.0 * (torch.rand(count, 2, generator=generator) < 0.5)
    rotation = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()], dim=1), torch.stack([angle.sin(), angle.cos()], dim=1)], dim=1
    )
    linear = scale[:, None, None] * rotation * mirrors[:, None, :]
    return torch.cat([linear, torch.zeros(count, 2, 1)], dim=2)


def intensities(images_NCRR: Tensor, generator: torch.Generator) -> Tensor:
    """Noise, blur, brightness, contrast, coarser sampling and gamma, in this order."""
    images = _coarsened(_scaled(_smoothed(_noisy(images_NCRR, generator), generator), generator), generator)
    return _bent(images, generator)


def _noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    variance_N = _uniform_or(generator, 0.0, NOISY, VARIANCES, len(images))
    seed = int(torch.randint(2**62, (1,), generator=generator))
    if not variance_N.any():
        return images
    grain = torch.randn(images.shape, generator=torch.Generator(images.device).manual_seed(seed), device=images.device)
    return images + _wide(variance_N.sqrt(), images) * grain


def _smoothed(images: Tensor, generator: torch.Generator) -> Tensor:
    count, modalities = images.shape[:2]
    reached_NC = _reached(generator, BLURRED, count, modalities)
    sigma_NC = _uniform(generator, SIGMAS, count, modalities)
    if not reached_NC.any():
        return images
    # so narrow a kernel is 1 in its centre and 0 elsewhere
    sigma_K = torch.where(reached_NC, sigma_NC, torch.tensor(1e-3)).flatten()
    places = torch.arange(-REACH, REACH + 1)
    taps_KT = torch.exp(-(places**2) / (2 * sigma_K[:, None] ** 2))
    taps_KT = upload(taps_KT / taps_KT.sum(dim=1, keepdim=True), images.device)
    planes = images.reshape(1, count * modalities, *images.shape[2:])
    planes = functional.pad(planes, (REACH,) * 4, mode="reflect")
    planes = functional.conv2d(planes, taps_KT[:, None, :, None], groups=len(taps_KT))
    return functional.conv2d(planes, taps_KT[:, None, None, :], groups=len(taps_KT)).reshape(images.shape)


def _scaled(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness multiplies; contrast spreads values about their mean and keeps them in their range."""
    count, modalities = images.shape[:2]
    factor_N = _uniform_or(generator, 1.0, BRIGHTER, BRIGHTNESS, count)
    spread_N1 = _sometimes(generator, CONTRASTED, count)[:, None]
    spread_NC = torch.where(spread_N1, _uniform(generator, CONTRAST, count, modalities), torch.tensor(1.0))
    images = images * _wide(factor_N, images)
    mean, low, high = images.mean(dim=(2, 3), keepdim=True), *_range(images)
    spread = (images - mean) * upload(spread_NC, images.device)[:, :, None, None] + mean
    return torch.minimum(torch.maximum(spread, low), high)


def _coarsened(images: Tensor, generator: torch.Generator) -> Tensor:
    """Fewer pixels by nearest neighbour, and back to R by bicubic interpolation."""
    count, modalities, side = images.shape[:3]
    reached_NC = _reached(generator, COARSER, count, modalities)
    factor_NC = _uniform(generator, COARSENESS, count, modalities)
    if not reached_NC.any():
        return images
    images = images.clone()
    for image, modality in reached_NC.nonzero().tolist():
        fewer = max(1, round(side / float(factor_NC[image, modality])))
        plane = images[image : image + 1, modality : modality + 1]
        coarse = functional.interpolate(plane, (fewer, fewer), mode="nearest-exact")
        plane.copy_(functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=False))
    return images


def _bent(images: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma on values scaled to [0, 1] and back, or on their negative."""
    count, modalities = images.shape[:2]
    bent_N1 = _sometimes(generator, BENT, count)[:, None]
    inverted_N = _sometimes(generator, INVERTED, count)
    gamma_NC = torch.where(bent_N1, _uniform(generator, GAMMA, count, modalities), torch.tensor(1.0))
    if not bent_N1.any():
        return images
    sign = _wide(1.0 - 2.0 * inverted_N, images)
    signed = images * sign
    low, high = _range(signed)
    width = (high - low).clamp(min=1e-6)
    gamma = upload(gamma_NC, images.device)[:, :, None, None]
    return (low + width * ((signed - low) / width).clamp(0, 1) ** gamma) * sign


def _range(images: Tensor) -> tuple[Tensor, Tensor]:
    return images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)


def _wide(values_N: Tensor, images: Tensor) -> Tensor:
    return upload(values_N, images.device)[:, None, None, None]


def _sometimes(generator: torch.Generator, chance: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator) < chance


def _reached(generator: torch.Generator, chance: float, count: int, modalities: int) -> Tensor:
    """Whether a change reaches each modality of each image, (N, C)."""
    return _sometimes(generator, chance, count)[:, None] & _sometimes(generator, OF_MODALITY, count, modalities)


def _uniform(generator: torch.Generator, ends: tuple[float, float], *shape: int) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * torch.rand(*shape, generator=generator)


def _uniform_or(
    generator: torch.Generator, otherwise: float, chance: float, ends: tuple[float, float], count: int
) -> Tensor:
    """A value between ``ends`` with this chance, (count,)."""
    drawn = _sometimes(generator, chance, count)
    return torch.where(drawn, _uniform(generator, ends, count), torch.tensor(otherwise))
