"""Measures of masks: shapes of each class, the nearest real mask, and agreement with what a segmenter sees.

Shapes: N and M masks of R x R pixels with class indices, 0 = background, K classes. Surfaces are contours of one slice,
distances in pixels.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from medsweep.trainers.measures.mask_validity import validity
from medsweep.trainers.measures.structures import assd_mm, hd95_mm, surface_distances

Indices = NDArray[np.int64]
Masks = NDArray[np.integer]

DESCRIPTORS = ("area", "perimeter", "compactness", "components", "centroid_row", "centroid_column")

CHUNK = 256
"""Masks measured or compared at a time, which bounds the memory."""

SURFACES = 500
"""Samples whose surfaces are compared at most, evenly spread."""

QUERIES = 200
"""Masks at most for which the nearest one is sought, evenly spread."""

PIXELS = (1.0, 1.0)
"""Spacing of the rows and columns of a slice: distances come out in pixels. A slice must not be measured as a volume of
one slice: all of a structure would be surface, since it would end above and below."""


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


def shape_distances(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, float]:
    """Kolmogorov-Smirnov statistic of each descriptor, mean over classes, as ``mask_ks_NAME``, each in [0, 1].

    Both are tables of ``describe``. Classes that one side never shows count for the area alone; a descriptor that no
    class has on both sides is left out.
    """
    distances = {}
    for name in DESCRIPTORS:
        values = [
            ks_2samp(a, b, method="asymp").statistic
            for label in sorted(real["class"].unique())
            if len(a := real.loc[real["class"] == label, name].dropna())
            and len(b := synthetic.loc[synthetic["class"] == label, name].dropna())
        ]
        if values:
            distances[f"mask_ks_{name}"] = float(np.mean(values))
    return distances


def nearest_masks(real_NRR: Masks, owners_N: NDArray[np.object_], masks_MRR: Masks) -> dict[str, float]:
    """``mask_nearest_hd95_px``: mean HD95 from a synthetic mask to the nearest real one, position set aside, >= 0.

    ``_real``: from a real mask to the nearest of other patients; ``mask_nearest_hd95_gap_px``: the first minus the
    second. Empty masks do not count; what no mask is left for is left out.
    """
    owner_N = np.unique(owners_N.astype(str), return_inverse=True)[1]
    shown_N, shown_M = real_NRR.any(axis=(1, 2)), masks_MRR.any(axis=(1, 2))
    real_NRR, owner_N, masks_MRR = real_NRR[shown_N], owner_N[shown_N], masks_MRR[shown_M]
    if not (len(real_NRR) and len(masks_MRR)):
        return {}
    queries_QRR = masks_MRR[evenly_spread(len(masks_MRR), QUERIES)]
    strangers_Q = np.full(len(queries_QRR), -1)
    synthetic = _mean_hd95(queries_QRR, strangers_Q, real_NRR, owner_N)
    if len(set(owner_N)) < 2:
        return {"mask_nearest_hd95_px": synthetic}
    own = evenly_spread(len(real_NRR), QUERIES)
    between = _mean_hd95(real_NRR[own], owner_N[own], real_NRR, owner_N)
    return {
        "mask_nearest_hd95_px": synthetic,
        "mask_nearest_hd95_px_real": between,
        "mask_nearest_hd95_gap_px": synthetic - between,
    }


def _mean_hd95(queries_QRR: Masks, owners_Q: Indices, real_NRR: Masks, owners_N: Indices) -> float:
    centred_Q = [centre(mask_RR) for mask_RR in queries_QRR]
    nearest_Q = _nearest(np.array(centred_Q), owners_Q, real_NRR, owners_N)
    pairs = [(a, centre(real_NRR[i])) for a, i in zip(centred_Q, nearest_Q, strict=True)]
    return float(np.mean([hd95_mm(surface_distances(a, b, PIXELS)) for a, b in pairs]))


def _nearest(centred_QSS: NDArray[np.bool_], owners_Q: Indices, real_NRR: Masks, owners_N: Indices) -> Indices:
    """Number of the real mask of another owner with the largest Dice, once both are centred, (Q,)."""
    # Pixels that no query covers are in no intersection
    used_SS = centred_QSS.any(axis=0)
    queries_QP = centred_QSS[:, used_SS].astype(np.float32)
    dice_QN = np.empty((len(queries_QP), len(real_NRR)), np.float32)
    for first in range(0, len(real_NRR), CHUNK):
        block = slice(first, first + CHUNK)
        real_BP = np.array([centre(mask_RR)[used_SS] for mask_RR in real_NRR[block]], np.float32)
        sizes_B = (real_NRR[block] > 0).sum(axis=(1, 2))
        dice_QN[:, block] = 2 * (queries_QP @ real_BP.T) / (queries_QP.sum(axis=1)[:, None] + sizes_B)
    dice_QN[owners_Q[:, None] == owners_N] = -1
    nearest_Q: Indices = dice_QN.argmax(axis=1)
    return nearest_Q


def centre(mask_RR: Masks) -> NDArray[np.bool_]:
    """Foreground of a mask, which has some, with its centroid, rounded to a pixel, in the middle of 2R x 2R pixels."""
    side, at_P2 = mask_RR.shape[-1], np.argwhere(mask_RR)
    rows_P, columns_P = (at_P2 - np.floor(at_P2.mean(axis=0) + 0.5).astype(int) + side).T
    plane_SS = np.zeros((2 * side, 2 * side), bool)
    plane_SS[rows_P, columns_P] = True
    return plane_SS


def mean_iou(masks_NRR: Masks, predicted_NRR: Masks, classes: int) -> NDArray[np.float64]:
    """Mean IoU over the foreground classes present in either mask, (N,); 1 where both are all background."""
    union_KN, both_KN = np.zeros((2, classes - 1, len(masks_NRR)))
    for label in range(1, classes):
        a_NRR, b_NRR = masks_NRR == label, predicted_NRR == label
        union_KN[label - 1] = (a_NRR | b_NRR).sum(axis=(1, 2))
        both_KN[label - 1] = (a_NRR & b_NRR).sum(axis=(1, 2))
    present_N = (union_KN > 0).sum(axis=0)
    total_N = (both_KN / np.maximum(union_KN, 1)).sum(axis=0)
    return np.where(present_N > 0, total_N / np.maximum(present_N, 1), 1.0)


def foreground_dice(masks_NRR: Masks, predicted_NRR: Masks) -> float | None:
    """Mean Dice of all foreground as one class, over samples where either mask has some; None where there are none."""
    a_NRR, b_NRR = masks_NRR > 0, predicted_NRR > 0
    total_N = a_NRR.sum(axis=(1, 2)) + b_NRR.sum(axis=(1, 2))
    both_N = (a_NRR & b_NRR).sum(axis=(1, 2))
    return float((2 * both_N / np.maximum(total_N, 1))[total_N > 0].mean()) if total_N.any() else None


def foreground_surfaces(masks_NRR: Masks, predicted_NRR: Masks) -> dict[str, float]:
    """Mean ``hd95`` and ``assd`` in pixels of all foreground as one class, each >= 0; empty where none is defined.

    Over samples where both masks have foreground, among ``SURFACES`` evenly spread ones at most.
    """
    pairs = [(masks_NRR[i] > 0, predicted_NRR[i] > 0) for i in evenly_spread(len(masks_NRR), SURFACES)]
    measured = [surface_distances(a_RR, b_RR, PIXELS) for a_RR, b_RR in pairs if a_RR.any() and b_RR.any()]
    if not measured:
        return {}
    return {
        "hd95": float(np.mean([hd95_mm(distances) for distances in measured])),
        "assd": float(np.mean([assd_mm(distances) for distances in measured])),
    }


def evenly_spread(count: int, most: int) -> Indices:
    """``most`` evenly spread of ``count`` numbers, the first and the last among them, or all where there are fewer."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
