"""Treatments of images. Masks are read by some and changed by none.

Shapes: n samples, C modalities, K classes, R resolution in pixels, P = R * R.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.treatments.config import Blur, Histogram, MatchSpectrum, Noise, OnImages, PaintGaussian, Unsharp
from medsweep.trainers.treatments.sets import Material
from medsweep.trainers.treatments.statistics import (
    LEVELS,
    Images,
    Masks,
    Numbers,
    class_moments,
    class_quantiles,
    mean_power,
    mean_quantiles,
    ring_power,
    rings,
)

GAINS = (0.5, 3.0)
"""Smallest and largest factor by which ``match_spectrum`` changes an amplitude."""


def treat_images(treatment: OnImages, images_nCRR: Images, masks_nRR: Masks, material: Material, seed: int) -> Images:
    """Images after ``treatment``, float32 (n, C, R, R).

    Raises:
        UserError: a mask shows a class that the slices to imitate do not, the pool is too short to be imitated, or the
            unit of noise is 0.
    """
    if isinstance(treatment, Noise):
        return add_noise(images_nCRR, treatment.sd * _unit(treatment, material), seed, treatment.law)
    if isinstance(treatment, Blur):
        return blur(images_nCRR, treatment.sigma_px)
    if isinstance(treatment, Unsharp):
        return unsharp(images_nCRR, treatment.sigma_px, treatment.amount)
    if isinstance(treatment, MatchSpectrum):
        return match_spectrum(images_nCRR, mean_power(material.target(treatment)[0]))
    if isinstance(treatment, Histogram) and not treatment.per_class:
        return match_histogram(images_nCRR, mean_quantiles(material.target(treatment)[0]))
    return _by_class(treatment, images_nCRR, masks_nRR, material, seed)


def _by_class(
    treatment: Histogram | PaintGaussian, images_nCRR: Images, masks_nRR: Masks, material: Material, seed: int
) -> Images:
    classes = material.data.classes
    if isinstance(treatment, PaintGaussian):
        mean_KC, sd_KC = class_moments(material.images, material.masks, len(classes))
        _require_shown(treatment.kind, masks_nRR, mean_KC[:, 0], classes)
        return paint_gaussian(masks_nRR, mean_KC, sd_KC, treatment, seed)
    quantiles_KCQ = class_quantiles(*material.target(treatment), len(classes))
    _require_shown(treatment.kind, masks_nRR, quantiles_KCQ[:, 0, 0], classes)
    return match_class_histograms(images_nCRR, masks_nRR, quantiles_KCQ)


def add_noise(images_nCRR: Images, sd: ArrayLike, seed: int, law: Literal["gaussian", "rician"] = "gaussian") -> Images:
    """Add independent noise to every pixel; each sample has a generator of its own.

    Args:
        images_nCRR: on the scale of prepared slices.
        sd: on the same scale, one for all modalities or (C,).
        seed: of the treatment.
        law: ``rician`` gives |s + n1 + i n2| (Gudbjartsson and Patz 1995), s counted from the plane's smallest value.
    """
    noisy = np.empty_like(images_nCRR, dtype=np.float32)
    sd_C11 = np.asarray(sd, np.float32).reshape(-1, 1, 1)
    for sample, image in enumerate(images_nCRR):
        rng = np.random.default_rng(derive_seed("noise", seed, sample))
        noisy[sample] = image + sd_C11 * rng.standard_normal(image.shape, np.float32)
        if law == "rician":
            floor_C11 = image.min(axis=(1, 2), keepdims=True)
            other = sd_C11 * rng.standard_normal(image.shape, np.float32)
            noisy[sample] = np.hypot(noisy[sample] - floor_C11, other) + floor_C11
    return noisy


def blur(images_nCRR: Images, sigma_px: float) -> Images:
    """Convolve every plane with a Gaussian of SD ``sigma_px``; edges are extended."""
    return gaussian_filter(images_nCRR, (0, 0, sigma_px, sigma_px), mode="nearest")


def unsharp(images_nCRR: Images, sigma_px: float, amount: float) -> Images:
    """x + amount (x - blur(x)): amplitudes that the blur removes grow by the factor 1 + amount."""
    return images_nCRR + np.float32(amount) * (images_nCRR - blur(images_nCRR, sigma_px))


def match_histogram(images_nCRR: Images, quantiles_CP: Numbers) -> Images:
    """Map each plane monotonically onto the given quantiles; equal pixels stay equal, at the mean of their ranks."""
    matched = np.empty_like(images_nCRR, dtype=np.float32)
    for sample, channel in np.ndindex(images_nCRR.shape[:2]):
        plane = images_nCRR[sample, channel]
        matched[sample, channel] = _onto(plane.ravel(), quantiles_CP[channel]).reshape(plane.shape)
    return matched


def match_class_histograms(images_nCRR: Images, masks_nRR: Masks, quantiles_KCQ: Numbers) -> Images:
    """Map the pixels of each class of each plane monotonically onto the quantile function of that class at ``LEVELS``.

    A pixel of rank r among m takes the quantile of (r + 0.5) / m; equal pixels stay equal, as in ``match_histogram``.
    """
    matched = np.empty_like(images_nCRR, dtype=np.float32)
    for sample, mask in enumerate(masks_nRR):
        for index in np.unique(mask):
            inside = mask == index
            count = np.count_nonzero(inside)
            levels = (np.arange(count) + 0.5) / count
            for channel, quantiles_Q in enumerate(quantiles_KCQ[index]):
                values = images_nCRR[sample, channel][inside]
                matched[sample, channel][inside] = _onto(values, np.interp(levels, LEVELS, quantiles_Q))
    return matched


def match_spectrum(images_nCRR: Images, target_CB: Numbers) -> Images:
    """Multiply each ring b of each plane's spectrum by clip(sqrt(P_target(b) / P_own(b)), ``GAINS``).

    Phases and the plane's mean stay as they are. P_own is the sample's own, so samples do not depend on each other.

    Args:
        images_nCRR: to be changed.
        target_CB: power per ring, as ``mean_power`` gives it.
    """
    ring_RR, _ = rings(images_nCRR.shape[-1])
    matched = np.empty_like(images_nCRR, dtype=np.float32)
    for sample, image in enumerate(images_nCRR):
        own_CB = ring_power(image)
        # a ring without power has nothing to amplify, whatever its factor
        ratio_CB = np.divide(target_CB, own_CB, out=np.ones_like(own_CB), where=own_CB > 0)
        gain_CB = np.clip(np.sqrt(ratio_CB), *GAINS)
        gain_CB[:, 0] = 1
        matched[sample] = np.fft.ifft2(np.fft.fft2(image.astype(np.float64)) * gain_CB[:, ring_RR]).real
    return matched


def paint_gaussian(masks_nRR: Masks, mean_KC: Numbers, sd_KC: Numbers, how: PaintGaussian, seed: int) -> Images:
    """Images of masks alone (Billot et al. 2023): x = blur(mean_k + sd_k n) + bias, n white, k the class of the pixel.

    Every sample has a generator of its own. Moments are on the scale of prepared slices.
    """
    size, channels = masks_nRR.shape[-1], mean_KC.shape[1]
    painted = np.empty((len(masks_nRR), channels, size, size), np.float32)
    for sample, mask in enumerate(masks_nRR):
        rng = np.random.default_rng(derive_seed("paint", seed, sample))
        noise_CRR = rng.standard_normal((channels, size, size))
        image_CRR = mean_KC[mask].transpose(2, 0, 1) + sd_KC[mask].transpose(2, 0, 1) * noise_CRR
        if how.blur_px > 0:
            image_CRR = gaussian_filter(image_CRR, (0, how.blur_px, how.blur_px), mode="nearest")
        if how.bias_sd > 0:
            image_CRR += how.bias_sd * np.stack([smooth_field(size, how.bias_px, rng) for _ in range(channels)])
        painted[sample] = image_CRR
    return painted


def smooth_field(size: int, sigma_px: float, rng: np.random.Generator) -> Numbers:
    """A Gaussian field (R, R) of mean 0 and SD 1: white noise smoothed by a Gaussian of ``sigma_px``, on a torus."""
    point = np.zeros((size, size))
    point[0, 0] = 1
    kernel = gaussian_filter(point, sigma_px, mode="wrap")
    return gaussian_filter(rng.standard_normal((size, size)), sigma_px, mode="wrap") / np.sqrt((kernel**2).sum())


def _onto(values: NDArray[np.float32], quantiles: Numbers) -> Numbers:
    """Values mapped by rank onto as many ascending quantiles."""
    _, rank, counts = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    return (np.add.reduceat(quantiles, starts) / counts)[rank]


def _unit(treatment: Noise, material: Material) -> Numbers:
    """SD of the real training pixels that the noise is measured in, (C,); 1 for the scale of prepared slices."""
    if treatment.unit == "prepared":
        return np.ones(1)
    labelled = (material.masks > 0).astype(np.uint8)
    sd_C = class_moments(material.images, labelled, 2)[1][int(treatment.unit == "tissue")]
    if not (sd_C > 0).all():
        raise UserError(
            f"noise in units of the {treatment.unit} needs pixels of it that differ, in every modality; the training "
            "slices have none: use unit: prepared"
        )
    return sd_C


def _require_shown(kind: str, masks_nRR: Masks, measured_K: Numbers, classes: tuple[str, ...]) -> None:
    for index in np.unique(masks_nRR):
        if np.isnan(measured_K[index]):
            raise UserError(
                f"{kind} needs the intensity of {classes[index]!r}, which the pool's masks show and the slices to "
                "imitate do not; raise data.patients"
            )
