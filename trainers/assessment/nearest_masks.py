"""How far each synthetic mask lies from the most similar real one, against real masks of other patients.

Shapes: N real and M synthetic masks of R x R pixels; all foreground is one class; distances in pixels.
"""

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.assessment.consistency import planar_distances, spread
from medsweep.trainers.assessment.features import Indices, Metrics
from medsweep.trainers.measures.surfaces import hd95_mm

QUERIES = 200
"""Masks at most for which the nearest one is sought, evenly spread."""

BLOCK = 256
"""Real masks compared at a time, which bounds the memory."""

Masks = NDArray[np.integer]


def nearest_masks(real_NRR: Masks, owners_N: NDArray[np.object_], masks_MRR: Masks) -> Metrics:
    """``mask_nearest_hd95_px``: mean HD95 from a synthetic mask to the nearest real one, position set aside, >= 0.

    ``_real``: from a real mask to the nearest of other patients; ``mask_nearest_hd95_gap_px``: the first minus the
    second. Empty masks do not count; what no mask is left for is left out.
    """
    owner_N = np.unique(owners_N.astype(str), return_inverse=True)[1]
    shown_N, shown_M = real_NRR.any(axis=(1, 2)), masks_MRR.any(axis=(1, 2))
    real_NRR, owner_N, masks_MRR = real_NRR[shown_N], owner_N[shown_N], masks_MRR[shown_M]
    if not (len(real_NRR) and len(masks_MRR)):
        return {}
    queries_QRR = masks_MRR[spread(len(masks_MRR), QUERIES)]
    strangers_Q = np.full(len(queries_QRR), -1)
    found: Metrics = {"mask_nearest_hd95_px": _mean_hd95(queries_QRR, strangers_Q, real_NRR, owner_N)}
    if len(set(owner_N)) < 2:
        return found
    own = spread(len(real_NRR), QUERIES)
    between = _mean_hd95(real_NRR[own], owner_N[own], real_NRR, owner_N)
    gap = found["mask_nearest_hd95_px"] - between
    return {**found, "mask_nearest_hd95_px_real": between, "mask_nearest_hd95_gap_px": gap}


def _mean_hd95(queries_QRR: Masks, owners_Q: Indices, real_NRR: Masks, owners_N: Indices) -> float:
    centred_Q = [centre(mask_RR) for mask_RR in queries_QRR]
    nearest_Q = _nearest(np.array(centred_Q), owners_Q, real_NRR, owners_N)
    distances = [planar_distances(a, centre(real_NRR[i])) for a, i in zip(centred_Q, nearest_Q, strict=True)]
    return float(np.mean([hd95_mm(each) for each in distances]))


def _nearest(centred_QSS: NDArray[np.bool_], owners_Q: Indices, real_NRR: Masks, owners_N: Indices) -> Indices:
    """Number of the real mask of another owner with the largest Dice, once both are centred, (Q,)."""
    # Pixels that no query covers are in no intersection
    used_SS = centred_QSS.any(axis=0)
    queries_QP = centred_QSS[:, used_SS].astype(np.float32)
    dice_QN = np.empty((len(queries_QP), len(real_NRR)), np.float32)
    for first in range(0, len(real_NRR), BLOCK):
        block = slice(first, first + BLOCK)
        real_BP = np.array([centre(mask_RR)[used_SS] for mask_RR in real_NRR[block]], np.float32)
        sizes_B = (real_NRR[block] > 0).sum(axis=(1, 2))
        dice_QN[:, block] = 2 * (queries_QP @ real_BP.T) / (queries_QP.sum(axis=1)[:, None] + sizes_B)
    dice_QN[owners_Q[:, None] == owners_N] = -1
    return dice_QN.argmax(axis=1)


def centre(mask_RR: Masks) -> NDArray[np.bool_]:
    """Foreground of a mask with its centroid, rounded to a pixel, in the middle of a plane of 2R x 2R pixels.

    Raises:
        ValueError: the mask has no foreground.
    """
    side, at_P2 = mask_RR.shape[-1], np.argwhere(mask_RR)
    if not len(at_P2):
        raise ValueError("a mask without foreground has no centroid")
    rows_P, columns_P = (at_P2 - np.floor(at_P2.mean(axis=0) + 0.5).astype(int) + side).T
    plane_SS = np.zeros((2 * side, 2 * side), bool)
    plane_SS[rows_P, columns_P] = True
    return plane_SS
