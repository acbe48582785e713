"""What treatments measure on a set of slices: histograms and moments.

Shapes: N slices, C modalities, K classes, R resolution in pixels, Q quantile levels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Masks = NDArray[np.uint8]
Numbers = NDArray[np.float64]

LEVELS: Numbers = np.linspace(0, 1, 513)
"""Probabilities at which the quantiles of a class are kept."""


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
    return _ratio(sums_KCQ, pixels_K[:, None, None])


def class_moments(images_NCRR: Images, masks_NRR: Masks, classes: int) -> tuple[Numbers, Numbers]:
    """Mean and SD of the pixels of each class and modality, (K, C) each; NaN for a class that no mask shows."""
    sums, squares = np.zeros((2, classes, images_NCRR.shape[1]))
    pixels_K = np.bincount(masks_NRR.ravel(), minlength=classes)[:, None]
    for channel in range(images_NCRR.shape[1]):
        values = images_NCRR[:, channel].ravel().astype(np.float64)
        sums[:, channel] = np.bincount(masks_NRR.ravel(), values, classes)
        squares[:, channel] = np.bincount(masks_NRR.ravel(), values**2, classes)
    mean_KC = _ratio(sums, pixels_K)
    return mean_KC, np.sqrt(np.maximum(_ratio(squares, pixels_K) - mean_KC**2, 0))


def _ratio(sums: Numbers, pixels: NDArray[np.number[Any]]) -> Numbers:
    """sums / pixels, NaN where there are none."""
    ratio: Numbers = np.divide(sums, pixels, out=np.full(sums.shape, np.nan), where=pixels > 0)
    return ratio
