"""Treatments of images. Masks are read by some and changed by none.

Shapes: n samples, N real slices, C modalities, K classes, R resolution in pixels, P = R * R, Q quantile levels.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter

from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.measures.mask_validity import ratio
from medsweep.trainers.measures.spectra import mean_power, ring_power, rings
from medsweep.trainers.treatments.base import Images, ImageTreatment, Masks, Numbers, Pairs, TreatmentContext

MEASURED = 32
LEVELS: Numbers = np.linspace(0, 1, 513)
"""Probabilities at which the quantiles of a class are kept."""
GAINS = (0.5, 3.0)
"""Smallest and largest factor by which ``match_spectrum`` changes an amplitude."""


class Noise(ImageTreatment):
    """Add white noise, independent between pixels and modalities."""

    kind: Literal["noise"]
    sd: float = Field(gt=0)
    """In units of ``unit``."""
    law: Literal["gaussian", "rician"] = "gaussian"
    """``rician`` is the law of magnitude images; the smallest value of a plane stands for no signal."""
    unit: Literal["prepared", "background", "tissue"] = "prepared"
    """``prepared``: the scale of prepared slices, whose SD is about 1. ``background`` and ``tissue``: the SD, by
    modality, of pixels of real training slices without and with a label."""

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        return add_noise(pairs.images, self.sd * self._unit_sd(context), seed, self.law)

    def _unit_sd(self, context: TreatmentContext) -> Numbers:
        """SD of the real training pixels that the noise is measured in, (C,); 1 for the scale of prepared slices."""
        if self.unit == "prepared":
            return np.ones(1)
        labelled = (context.real.masks > 0).astype(np.uint8)
        sd_C: Numbers = class_moments(context.real.images, labelled, 2)[1][int(self.unit == "tissue")]
        if not (sd_C > 0).all():
            raise UserError(
                f"noise in units of the {self.unit} needs pixels of it that differ, in every modality; the training "
                "slices have none: use unit: prepared"
            )
        return sd_C


class Blur(ImageTreatment):
    """Convolve with a Gaussian."""

    kind: Literal["blur"]
    sigma_px: float = Field(gt=0)
    """SD of the Gaussian."""

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        return blur(pairs.images, self.sigma_px)


class Unsharp(ImageTreatment):
    """Add ``amount`` times what a Gaussian blur takes away: amplitudes that it removes grow by 1 + ``amount``."""

    kind: Literal["unsharp"]
    sigma_px: float = Field(gt=0)
    """SD of the Gaussian that is taken away."""
    amount: float = Field(gt=0)
    """How much of what the blur takes away is added; 1 doubles it."""

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        return pairs.images + np.float32(self.amount) * (pairs.images - blur(pairs.images, self.sigma_px))


class Imitation(ImageTreatment):
    """Gives images a property of the target."""

    target: Literal["real", "pool"] = "real"
    """``real``: training slices. ``pool``: the pool as it came, which makes real slices look synthetic."""
    measured: int = Field(default=MEASURED, ge=1)
    """With ``target: pool``, its first samples that the target is measured on: never all, so that the target does not
    depend on the pool's size."""

    @model_validator(mode="after")
    def _measured_is_read(self) -> "Imitation":
        if self.target == "real" and self.measured != MEASURED:
            raise ValueError(f"measured ({self.measured}) is read with target: pool alone; remove it")
        return self

    @property
    def imitates_pool(self) -> bool:
        return self.target == "pool"

    def target_pairs(self, context: TreatmentContext) -> Pairs:
        """What is imitated.

        Raises:
            UserError: the pool is shorter than the head that the target is measured on.
        """
        if self.target == "real":
            return context.real
        pool = context.pool
        if pool is None:
            raise RuntimeError(f"{self.kind} imitates the pool in a trial without one")
        if len(pool) < self.measured:
            raise UserError(
                f"{self.kind} measures its target on the first {self.measured} samples of the pool, which "
                f"has {len(pool)}; give measured: {len(pool)} or less"
            )
        return Pairs(np.array(pool.images[: self.measured]), np.array(pool.masks[: self.measured]))


class Histogram(Imitation):
    """Give each image, per modality, the mean histogram of the target."""

    kind: Literal["histogram"]
    per_class: bool = False
    """Match the pixels of each class of the mask to those of the same class."""

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        target, classes = self.target_pairs(context), context.data.classes
        if not self.per_class:
            return match_histogram(pairs.images, mean_quantiles(target.images))
        quantiles_KCQ = class_quantiles(target.images, target.masks, len(classes))
        require_shown(self.kind, pairs.masks, quantiles_KCQ[:, 0, 0], classes)
        return match_class_histograms(pairs.images, pairs.masks, quantiles_KCQ)


class MatchSpectrum(Imitation):
    """Give each image, per modality, the radial power spectrum of the target, with gains from 0.5 to 3."""

    kind: Literal["match-spectrum"]

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        return match_spectrum(pairs.images, mean_power(self.target_pairs(context).images))


class PaintGaussian(ImageTreatment):
    """Paint an image from the mask alone: a Gaussian per class and modality with the moments of real training pixels.

    The generative model of SynthSeg (Billot et al. 2023) with its priors narrowed to the training set.
    """

    kind: Literal["paint-gaussian"]
    bias_sd: float = Field(default=0.0, ge=0)
    """SD of a smooth field added to each modality, on the scale of prepared slices."""
    bias_px: float = Field(default=16.0, gt=0)
    """SD of the Gaussian that smooths the field."""
    blur_px: float = Field(default=0.0, ge=0)
    """SD of a Gaussian blur of the painted image; 0 is none."""

    @model_validator(mode="after")
    def _bias_px_is_read(self) -> "PaintGaussian":
        if self.bias_sd == 0 and self.bias_px != 16:
            raise ValueError(f"bias_px ({self.bias_px:g}) is read with a bias_sd above 0 alone; remove it")
        return self

    def new_images(self, pairs: Pairs, context: TreatmentContext, seed: int) -> Images:
        classes = context.data.classes
        mean_KC, sd_KC = class_moments(context.real.images, context.real.masks, len(classes))
        require_shown(self.kind, pairs.masks, mean_KC[:, 0], classes)
        return paint_gaussian(pairs.masks, mean_KC, sd_KC, self, seed)


AnyImageTreatment = Noise | Blur | Unsharp | Histogram | MatchSpectrum | PaintGaussian
"""Every kind of this file; a kind that is missing here is unknown to sweep files."""


def add_noise(images_nCRR: Images, sd: ArrayLike, seed: int, law: Literal["gaussian", "rician"] = "gaussian") -> Images:
    """Add independent noise to every pixel, of ``sd`` for all modalities or (C,); each sample has its own generator.

    ``rician`` gives |s + n1 + i n2| (Gudbjartsson and Patz 1995), s counted from the plane's smallest value.
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
    blurred: Images = gaussian_filter(images_nCRR, (0, 0, sigma_px, sigma_px), mode="nearest")
    return blurred


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


def match_spectrum(images_nCRR: Images, target_CB: Numbers, gains: tuple[float, float] = GAINS) -> Images:
    """Multiply each ring b of each plane's spectrum by clip(sqrt(P_target(b) / P_own(b)), ``gains``).

    Phases and the plane's mean stay as they are. P_own is the sample's own, so samples do not depend on each other.
    ``target_CB`` is as ``mean_power`` gives it.
    """
    ring_RR, _ = rings(images_nCRR.shape[-1])
    matched = np.empty_like(images_nCRR, dtype=np.float32)
    for sample, image in enumerate(images_nCRR):
        own_CB = ring_power(image)
        # a ring without power has nothing to amplify, whatever its factor
        ratio_CB = np.divide(target_CB, own_CB, out=np.ones_like(own_CB), where=own_CB > 0)
        gain_CB = np.clip(np.sqrt(ratio_CB), *gains)
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
    smoothed = gaussian_filter(rng.standard_normal((size, size)), sigma_px, mode="wrap")
    field: Numbers = smoothed / np.sqrt((kernel**2).sum())
    return field


def mean_quantiles(images_NCRR: Images) -> Numbers:
    """Mean over images of the sorted pixel values of each modality, ascending, (C, R * R).

    It is the quantile function of the Wasserstein barycentre of the images' histograms (Agueh and Carlier 2011).
    """
    flat = images_NCRR.reshape(*images_NCRR.shape[:2], -1)
    quantiles_CP: Numbers = np.sort(flat, axis=2).mean(axis=0, dtype=np.float64)
    return quantiles_CP


def class_quantiles(images_NCRR: Images, masks_NRR: Masks, classes: int) -> Numbers:
    """The quantile function of each class and modality at ``LEVELS``, (K, C, Q); NaN for a class no mask shows.

    As ``mean_quantiles``, over the images that show the class, each weighted by its pixels of it.
    """
    channels = images_NCRR.shape[1]
    sums_KCQ, pixels_K = np.zeros((classes, channels, len(LEVELS))), np.zeros(classes)
    for image, mask in zip(images_NCRR, masks_NRR, strict=True):
        for index in np.unique(mask):
            inside = mask == index
            count = np.count_nonzero(inside)
            sums_KCQ[index] += count * np.quantile(image[:, inside], LEVELS, axis=1).T
            pixels_K[index] += count
    return ratio(sums_KCQ, pixels_K[:, None, None])


def class_moments(images_NCRR: Images, masks_NRR: Masks, classes: int) -> tuple[Numbers, Numbers]:
    """Mean and SD of the pixels of each class and modality, (K, C) each; NaN for a class that no mask shows."""
    sums, squares = np.zeros((2, classes, images_NCRR.shape[1]))
    pixels_K = np.bincount(masks_NRR.ravel(), minlength=classes)[:, None]
    for channel in range(images_NCRR.shape[1]):
        values = images_NCRR[:, channel].ravel().astype(np.float64)
        sums[:, channel] = np.bincount(masks_NRR.ravel(), values, classes)
        squares[:, channel] = np.bincount(masks_NRR.ravel(), values**2, classes)
    mean_KC = ratio(sums, pixels_K)
    return mean_KC, np.sqrt(np.maximum(ratio(squares, pixels_K) - mean_KC**2, 0))


def _onto(values: NDArray[np.float32], quantiles: Numbers) -> Numbers:
    """Values mapped by rank onto as many ascending quantiles."""
    _, rank, counts = np.unique(values, return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    mapped: Numbers = (np.add.reduceat(quantiles, starts) / counts)[rank]
    return mapped


def require_shown(kind: str, masks_nRR: Masks, measured_K: Numbers, classes: tuple[str, ...]) -> None:
    for index in np.unique(masks_nRR):
        if np.isnan(measured_K[index]):
            raise UserError(
                f"{kind} needs the intensity of {classes[index]!r}, which the pool's masks show and the slices to "
                "imitate do not; raise data.patients"
            )
