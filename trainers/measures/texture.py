"""Texture inside classes: how much values vary in small windows.

Shapes: N images, C modalities, K classes, R resolution in pixels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from medsweep.trainers.measures.mask_validity import ratio

WINDOW = 5
"""Side in pixels of the windows of ``local_moments``."""

Array = NDArray[np.float64]


def local_moments(images_NCRR: NDArray[np.float32]) -> tuple[Array, Array]:
    """Mean and SD of the ``WINDOW`` x ``WINDOW`` pixels around each pixel, (N, C, R, R) each; edges are extended."""
    x, size = images_NCRR.astype(np.float64), (1, 1, WINDOW, WINDOW)
    # values around their own mean, so that squares lose no digits
    center = x.mean(axis=(2, 3), keepdims=True)
    mean = uniform_filter(x - center, size, mode="nearest")
    square = uniform_filter((x - center) ** 2, size, mode="nearest")
    return mean + center, np.sqrt(np.maximum(square - mean**2, 0))


def class_local_sd(images_NCRR: NDArray[np.float32], masks_NRR: NDArray[np.uint8], classes: int) -> Array:
    """Mean local SD over the pixels of each class, (K, C); NaN for a class that no mask shows."""
    sums_KC, pixels_K = local_sd_sums(images_NCRR, masks_NRR, classes)
    return ratio(sums_KC, pixels_K[:, None])


def local_sd_sums(
    images_NCRR: NDArray[np.float32], masks_NRR: NDArray[np.uint8], classes: int
) -> tuple[Array, NDArray[np.int64]]:
    """Sum of the local SD over the pixels of each class (K, C), and these pixels (K,)."""
    _, sd_NCRR = local_moments(images_NCRR)
    labels, channels = masks_NRR.ravel(), images_NCRR.shape[1]
    sums_KC: Array = np.stack([np.bincount(labels, sd_NCRR[:, c].ravel(), classes) for c in range(channels)], axis=1)
    return sums_KC, np.bincount(labels, minlength=classes)


def local_sd_log_ratio(synthetic_KC: Array, real_KC: Array) -> float:
    """Mean of |log(synthetic / real)| of two ``class_local_sd`` over what both show; 0 where they share nothing."""
    shown = (synthetic_KC > 0) & (real_KC > 0)
    return float(np.abs(np.log(synthetic_KC[shown] / real_KC[shown])).mean()) if shown.any() else 0.0
