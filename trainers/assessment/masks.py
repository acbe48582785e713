"""Shape of masks: descriptors of each class, and how far their distributions in two sets of masks lie apart.

Shapes: N masks of R x R pixels with class indices, 0 = background.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsweep.trainers.measures.mask_validity import validity

Array = NDArray[np.float64]

DESCRIPTORS = ("area", "perimeter", "compactness", "components", "centroid_row", "centroid_column")

CHUNK = 256
"""Masks measured at a time, which bounds the memory."""


def describe(masks_NRR: NDArray[np.uint8], classes: int) -> pd.DataFrame:
    """One row per mask and foreground class: ``class`` and ``DESCRIPTORS``.

    ``area``: share of the pixels; ``perimeter``: pixel edges between the class and anything else, border included,
    over R; ``compactness``: 4 pi area / perimeter^2, pi / 4 for a square, less for anything ragged; ``components``:
    8-connected; centroids in [0, 1]. All but the area are NaN where the class is absent.

    Raises:
        UserError: the masks are not (N, R, R), or hold a label that is not below ``classes``.
    """
    table = validity(masks_NRR, classes)[["sample", "class", "components"]].astype({"components": float})
    measured = [
        _measure(masks_NRR[first : first + CHUNK] == label, first).assign(**{"class": label})
        for first in range(0, len(masks_NRR), CHUNK)
        for label in range(1, classes)
    ]
    joined = table.merge(pd.concat(measured), on=["sample", "class"], validate="one_to_one")
    joined.loc[joined["area"] == 0, "components"] = np.nan
    return joined[["class", *DESCRIPTORS]]


def _measure(inside_NRR: NDArray[np.bool_], first: int) -> pd.DataFrame:
    """All but the components of one class; ``sample`` counts from ``first``."""
    count, side = len(inside_NRR), inside_NRR.shape[-1]
    framed = np.pad(inside_NRR, ((0, 0), (1, 1), (1, 1)))
    edges_N = sum((framed != np.roll(framed, 1, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    pixels_N = inside_NRR.sum(axis=(1, 2))
    shown_N, middle = np.where(pixels_N > 0, pixels_N, np.nan), (np.arange(side) + 0.5) / side
    return pd.DataFrame(
        {
            "sample": np.arange(first, first + count),
            "area": pixels_N / side**2,
            "perimeter": np.where(pixels_N > 0, edges_N / side, np.nan),
            "compactness": 4 * np.pi * shown_N / np.square(np.maximum(edges_N, 1)),
            "centroid_row": inside_NRR.sum(axis=2) @ middle / shown_N,
            "centroid_column": inside_NRR.sum(axis=1) @ middle / shown_N,
        }
    )


def kolmogorov_smirnov(a_N: Array, b_M: Array) -> float:
    """Largest difference of two empirical distribution functions, in [0, 1]; 0 for equal samples."""
    at = np.concatenate([a_N, b_M])
    share_a = np.searchsorted(np.sort(a_N), at, side="right") / len(a_N)
    share_b = np.searchsorted(np.sort(b_M), at, side="right") / len(b_M)
    return float(np.abs(share_a - share_b).max())


def shape_distances(real: pd.DataFrame, synthetic: pd.DataFrame) -> Mapping[str, float]:
    """Kolmogorov-Smirnov statistic of each descriptor, mean over classes, as ``mask_ks_NAME``, each in [0, 1].

    Both are tables of ``describe``. Classes that one side never shows count for the area alone; a descriptor that no
    class has on both sides is left out.
    """
    found = {}
    for name in DESCRIPTORS:
        values = [
            kolmogorov_smirnov(a.to_numpy(), b.to_numpy())
            for label in sorted(real["class"].unique())
            if len(a := real.loc[real["class"] == label, name].dropna())
            and len(b := synthetic.loc[synthetic["class"] == label, name].dropna())
        ]
        if values:
            found[f"mask_ks_{name}"] = float(np.mean(values))
    return found
