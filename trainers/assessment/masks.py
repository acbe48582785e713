"""Measures of masks: shapes of each class, the nearest real mask, and IoU with what a segmenter sees.

Shapes: N and M masks of R x R pixels with class indices, 0 = background, K classes. Surfaces are contours of one slice,
distances in pixels.
"""

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from medsweep.trainers.measures.mask_validity import components
from medsweep.trainers.measures.structures import hd95_mm, surface_distances

Indices = NDArray[np.int64]
Masks = NDArray[np.integer]

DESCRIPTORS = ("area", "perimeter", "compactness", "components", "centroid_row", "centroid_column")

CHUNK = 256
"""Masks measured or compared at a time, which bounds the memory."""

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
    pieces_NK = components(masks_NRR, classes)
    tables = [
        _measure(masks_NRR[first : first + CHUNK] == label, pieces_NK[first : first + CHUNK, label - 1]).assign(
            sample=np.arange(first, min(first + CHUNK, len(masks_NRR))), **{"class": label}
        )
        for first in range(0, len(masks_NRR), CHUNK)
        for label in range(1, classes)
    ]
    table = pd.concat(tables).sort_values(["sample", "class"], ignore_index=True)
    return table[["class", *DESCRIPTORS]]


def _measure(inside_NRR: NDArray[np.bool_], pieces_N: NDArray[np.int64]) -> pd.DataFrame:
    """``DESCRIPTORS`` of one class, which has so many components in each mask."""
    side = inside_NRR.shape[-1]
    framed = np.pad(inside_NRR, ((0, 0), (1, 1), (1, 1)))
    edges_N = sum((framed != np.roll(framed, 1, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    pixels_N = inside_NRR.sum(axis=(1, 2))
    shown_N, middle = np.where(pixels_N > 0, pixels_N, np.nan), (np.arange(side) + 0.5) / side
    return pd.DataFrame(
        {
            "area": pixels_N / side**2,
            "perimeter": np.where(pixels_N > 0, edges_N / side, np.nan),
            "components": np.where(pixels_N > 0, pieces_N, np.nan),
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
            scipy.stats.ks_2samp(a, b, method="asymp").statistic
            for label in sorted(real["class"].unique())
            if len(a := real.loc[real["class"] == label, name].dropna())
            and len(b := synthetic.loc[synthetic["class"] == label, name].dropna())
        ]
        if values:
            distances[f"mask_ks_{name}"] = float(np.mean(values))
    return distances


def mean_hd95_to(masks_MRR: Masks, real_NRR: Masks) -> float | None:
    """Mean HD95 in pixels from a synthetic mask to the nearest real one, position set aside, >= 0.

    Empty masks do not count; None where a side has no others.
    """
    real_NRR, masks_MRR = (x[x.any(axis=(1, 2))] for x in (real_NRR, masks_MRR))
    if not (len(real_NRR) and len(masks_MRR)):
        return None
    queries_QRR = masks_MRR[evenly_spread(len(masks_MRR), QUERIES)]
    return _mean_hd95(queries_QRR, np.full(len(queries_QRR), -1), real_NRR, np.zeros(len(real_NRR), np.int64))


def mean_hd95_between(real_NRR: Masks, owners_N: NDArray[np.object_]) -> float | None:
    """``mean_hd95_to`` from real masks to the nearest of another patient; None where fewer than two have masks."""
    shown_N = real_NRR.any(axis=(1, 2))
    real_NRR, owner_N = real_NRR[shown_N], np.unique(owners_N[shown_N].astype(str), return_inverse=True)[1]
    if len(set(owner_N)) < 2:
        return None
    own = evenly_spread(len(real_NRR), QUERIES)
    return _mean_hd95(real_NRR[own], owner_N[own], real_NRR, owner_N)


def _mean_hd95(queries_QRR: Masks, owners_Q: Indices, real_NRR: Masks, owners_N: Indices) -> float:
    return float(np.mean(hd95_to_nearest(queries_QRR, owners_Q, real_NRR, owners_N)))


def hd95_to_nearest(queries_QRR: Masks, owners_Q: Indices, real_NRR: Masks, owners_N: Indices) -> NDArray[np.float64]:
    """HD95 in pixels from each mask to the nearest real one of another owner, both centred, (Q,); none is empty.

    NaN where no real mask has another owner.
    """
    if not len(real_NRR):
        return np.full(len(queries_QRR), np.nan)
    centred_QSS = centre(queries_QRR)
    nearest_QSS = centre(real_NRR[_nearest(centred_QSS, owners_Q, real_NRR, owners_N)])
    pairs = zip(centred_QSS, nearest_QSS, strict=True)
    distances_Q = np.array([hd95_mm(surface_distances(a_SS, b_SS, PIXELS)) for a_SS, b_SS in pairs])
    alone_Q = (owners_Q[:, None] == owners_N).all(axis=1)
    return np.where(alone_Q, np.nan, distances_Q)


def _nearest(centred_QSS: NDArray[np.bool_], owners_Q: Indices, real_NRR: Masks, owners_N: Indices) -> Indices:
    """Number of the real mask of another owner with the largest Dice, once both are centred, (Q,)."""
    # Pixels that no query covers are in no intersection
    used_SS = centred_QSS.any(axis=0)
    queries_QP = centred_QSS[:, used_SS].astype(np.float32)
    dice_QN = np.empty((len(queries_QP), len(real_NRR)), np.float32)
    for first in range(0, len(real_NRR), CHUNK):
        block = slice(first, first + CHUNK)
        real_BP = centre(real_NRR[block])[:, used_SS].astype(np.float32)
        sizes_B = (real_NRR[block] > 0).sum(axis=(1, 2))
        dice_QN[:, block] = 2 * (queries_QP @ real_BP.T) / (queries_QP.sum(axis=1)[:, None] + sizes_B)
    dice_QN[owners_Q[:, None] == owners_N] = -1
    nearest_Q: Indices = dice_QN.argmax(axis=1)
    return nearest_Q


def centre(masks_NRR: Masks) -> NDArray[np.bool_]:
    """Foreground of masks, which have some, (N, 2R, 2R), each with its centroid, rounded to a pixel, in the middle."""
    inside_NRR, side = masks_NRR > 0, masks_NRR.shape[-1]
    along_NR = inside_NRR.sum(axis=2), inside_NRR.sum(axis=1)
    centroids = [x_NR @ np.arange(side) / x_NR.sum(axis=1) for x_NR in along_NR]
    middle_N2 = np.floor(np.stack(centroids, axis=1) + 0.5).astype(int)
    planes_NSS = np.zeros((len(masks_NRR), 2 * side, 2 * side), bool)
    for plane_SS, inside_RR, (row, column) in zip(planes_NSS, inside_NRR, middle_N2, strict=True):
        plane_SS[side - row : 2 * side - row, side - column : 2 * side - column] = inside_RR
    return planes_NSS


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


def evenly_spread(count: int, most: int) -> Indices:
    """``most`` evenly spread of ``count`` numbers, the first and the last among them, or all where there are fewer."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
