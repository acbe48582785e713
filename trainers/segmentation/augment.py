"""Augmentation of a whole batch at once, on the device where it lies.

Shapes: N images, C modalities, R resolution in pixels. Every draw comes from one generator on the CPU, so that what a
batch becomes depends on that generator's seed alone.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from medsweep.trainers.segmentation import nnunet_augment
from medsweep.trainers.training.transfer import upload

MAX_ROTATION = math.radians(15)
MAX_SHIFT = 0.1
"""Fraction of the side."""
MAX_SCALE = 1.25
"""Images grow or shrink by up to this factor, either way equally often."""
ELASTIC_POINTS = 5
"""Control points of the elastic deformation along each side."""
MAX_DISPLACEMENT = 0.035
"""Of a control point, as a fraction of the side; so little that no place is passed twice."""
CHANCE = 0.3
"""Of each change of intensity, and of the elastic deformation, for one image."""
MAX_BRIGHTNESS, MAX_CONTRAST, MAX_LOG_GAMMA, MAX_NOISE = 0.25, 0.25, 0.4, 0.1
"""Brightness and noise are in standard deviations of the image, contrast is relative to 1."""
BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def augment(images_NCRR: Tensor, masks_NRR: Tensor, generator: torch.Generator, preset: str) -> tuple[Tensor, Tensor]:
    """The batch under a preset of ``segment.augment``."""
    if preset == "none":
        return images_NCRR, masks_NRR
    if preset == "nnunet":
        images, masks = _resample(images_NCRR, masks_NRR, nnunet_augment.turned(len(images_NCRR), generator))
        return nnunet_augment.intensities(images, generator), masks
    if preset != "full":
        return spatial(images_NCRR, masks_NRR, generator, flip=preset == "spatial")
    count, device = len(images_NCRR), images_NCRR.device
    theta_N23 = random_maps(count, generator, flip=True)
    zoom_N = MAX_SCALE ** _symmetric(generator, count)
    theta_N23[:, :, :2] *= zoom_N[:, None, None]
    bend_NRR2 = elastic(count, images_NCRR.shape[-1], generator, device)
    images, masks = _resample(images_NCRR, masks_NRR, theta_N23, bend_NRR2)
    return intensity(images, generator), masks


def spatial(images_NCRR: Tensor, masks_NRR: Tensor, generator: torch.Generator, *, flip: bool) -> tuple[Tensor, Tensor]:
    """Rotate and shift each image and its mask alike; with ``flip``, also swap left and right of every other one.

    Images are interpolated linearly, masks by nearest neighbour; what comes in from outside is 0 in both, as in the
    padding of prepared slices. ``generator`` lives on the CPU.
    """
    return _resample(images_NCRR, masks_NRR, random_maps(len(images_NCRR), generator, flip=flip))


def _resample(
    images_NCRR: Tensor, masks_NRR: Tensor, theta_N23: Tensor, bend_NRR2: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    theta_N23 = upload(theta_N23, images_NCRR.device)
    grid = functional.affine_grid(theta_N23, list(images_NCRR.shape), align_corners=False)
    if bend_NRR2 is not None:
        grid = grid + bend_NRR2
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


def elastic(count: int, side: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Smooth displacements of where to sample, (count, side, side, 2), in units of half a side, columns before rows.

    Control points are drawn on a coarse grid and bicubic interpolation fills what lies between (Ronneberger 2015).
    """
    drawn = _sometimes(generator, count) * _symmetric(generator, count, 2, ELASTIC_POINTS, ELASTIC_POINTS)
    points = upload(2 * MAX_DISPLACEMENT * drawn, device)
    return functional.interpolate(points, (side, side), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


def intensity(images_NCRR: Tensor, generator: torch.Generator) -> Tensor:
    """Blur, noise, brightness and contrast, and gamma, each on some of the images, alike in all their modalities.

    Gamma bends the range between the smallest and the largest value of each modality and leaves both where they are.
    """
    count, device = len(images_NCRR), images_NCRR.device
    shifts = [_sometimes(generator, count) * _symmetric(generator, count, 1, 1, 1) for _ in range(3)]
    shares = [_sometimes(generator, count) * torch.rand(count, 1, 1, 1, generator=generator) for _ in range(2)]
    grainy = bool(shares[1].any())
    brightness, contrast, log_gamma, blur, noise = upload(torch.stack(shifts + shares), device).unbind()
    grain_seed = int(torch.randint(2**62, (1,), generator=generator))
    grain = torch.Generator(device).manual_seed(grain_seed)

    images = torch.lerp(images_NCRR, _blurred(images_NCRR), blur)
    spread, mean = torch.std_mean(images, dim=(2, 3), keepdim=True)
    if grainy:
        speckle = torch.randn(images.shape, generator=grain, device=device)
        images = torch.addcmul(images, speckle, MAX_NOISE * noise * spread)
    images = torch.lerp(images, mean, -MAX_CONTRAST * contrast) + MAX_BRIGHTNESS * brightness * spread
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    width = (high - low).clamp(min=1e-6)
    return low + width * ((images - low) / width).clamp(0, 1) ** torch.exp(MAX_LOG_GAMMA * log_gamma)


def _blurred(images_NCRR: Tensor) -> Tensor:
    """Binomial filter of 5 x 5 pixels, with the border repeated outwards."""
    channels = images_NCRR.shape[1]
    taps = upload(torch.tensor(BLUR), images_NCRR.device)
    padded = functional.pad(images_NCRR, (2, 2, 2, 2), mode="replicate")
    down = functional.conv2d(padded, taps.view(1, 1, 5, 1).repeat(channels, 1, 1, 1), groups=channels)
    return functional.conv2d(down, taps.view(1, 1, 1, 5).repeat(channels, 1, 1, 1), groups=channels)


def _symmetric(generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform in [-1, 1)."""
    return 2 * torch.rand(*shape, generator=generator) - 1


def _sometimes(generator: torch.Generator, count: int) -> Tensor:
    """1 with probability ``CHANCE``, else 0; (count, 1, 1, 1)."""
    return (torch.rand(count, 1, 1, 1, generator=generator) < CHANCE).float()
