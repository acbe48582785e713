"""How well the masks of a pool fit what the reference segmenter sees in their images.

Shapes: N samples, R x R pixels, K classes; surfaces are contours of one slice, distances in pixels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from medsweep.data.slices import SliceSet
from medsweep.trainers.assessment.features import Indices, Metrics, parts
from medsweep.trainers.measures.surfaces import SurfaceDistances, assd_mm, hd95_mm, surface_distances
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.network import predict

SURFACES = 500
"""Samples whose surfaces are compared at most, evenly spread."""

PIXELS = (1.0, 1.0)
"""Spacing of the rows and columns of a slice: distances come out in pixels."""


def consistency(
    model: nn.Module, data: SliceSet, train: Sequence[str], pool: Pool, seen_NRR: NDArray[np.uint8]
) -> Metrics:
    """Agreement of what ``model`` sees with the pool's masks, the same on training slices, and the difference.

    Foreground as one class: Dice, HD95 and ASSD. ``seen_NRR`` is ``see(model, pool.images, ...)``. The model was
    fitted on those training slices, so it agrees better there than on unseen real ones, and the gap to those would be
    nearer 0.
    """
    rows = data.rows(train, foreground_only=True)
    real_NRR, seen_real_NRR = data.masks[rows], see(model, data.images, rows)
    found: Metrics = {}
    synthetic, real = foreground_dice(pool.masks, seen_NRR), foreground_dice(real_NRR, seen_real_NRR)
    if synthetic is not None and real is not None:
        found = {"consistency_dice": synthetic, "consistency_dice_real": real, "consistency_gap": synthetic - real}
    surface, surface_real = foreground_surfaces(pool.masks, seen_NRR), foreground_surfaces(real_NRR, seen_real_NRR)
    for name in surface if surface_real else ():
        found |= {
            f"consistency_{name}_px": surface[name],
            f"consistency_{name}_px_real": surface_real[name],
            f"consistency_{name}_gap_px": surface[name] - surface_real[name],
        }
    return found


def foreground_dice(masks_NRR: NDArray[np.integer], seen_NRR: NDArray[np.integer]) -> float | None:
    """Mean Dice of all foreground as one class, over samples where either mask has some; None where there are none."""
    a_NRR, b_NRR = masks_NRR > 0, seen_NRR > 0
    total_N = a_NRR.sum(axis=(1, 2)) + b_NRR.sum(axis=(1, 2))
    both_N = (a_NRR & b_NRR).sum(axis=(1, 2))
    return float((2 * both_N / np.maximum(total_N, 1))[total_N > 0].mean()) if total_N.any() else None


def foreground_surfaces(masks_NRR: NDArray[np.integer], seen_NRR: NDArray[np.integer]) -> Metrics:
    """Mean ``hd95`` and ``assd`` in pixels of all foreground as one class, each >= 0; empty where none is defined.

    Over samples where both masks have foreground, among ``SURFACES`` evenly spread ones at most.
    """
    pairs = [(masks_NRR[i] > 0, seen_NRR[i] > 0) for i in spread(len(masks_NRR), SURFACES)]
    measured = [planar_distances(a_RR, b_RR) for a_RR, b_RR in pairs if a_RR.any() and b_RR.any()]
    if not measured:
        return {}
    return {
        "hd95": float(np.mean([hd95_mm(each) for each in measured])),
        "assd": float(np.mean([assd_mm(each) for each in measured])),
    }


def planar_distances(a_RR: NDArray[np.bool_], b_RR: NDArray[np.bool_]) -> SurfaceDistances:
    """Distances in pixels between the contours of two structures in one slice, neither of them empty."""
    # As a volume of one slice, all of a structure would be surface: it would end above and below
    return surface_distances(a_RR, b_RR, PIXELS)


def spread(count: int, most: int) -> Indices:
    """``most`` evenly spread of ``count`` numbers, the first and the last among them, or all where there are fewer."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def spoiled_metrics(spoiled_N: NDArray[np.bool_], iou_N: NDArray[np.floating]) -> Metrics:
    """How well the IoU finds the samples that were spoiled on purpose.

    ``spoiled_share``: how many there are; ``spoiled_auc``: chance that a spoiled sample has a lower IoU than one that
    was not, ties half, in [0, 1] (area under the ROC curve; Hanley and McNeil 1982), if there are both kinds.
    """
    bad, good = int(spoiled_N.sum()), int((~spoiled_N).sum())
    share = {"spoiled_share": float(spoiled_N.mean())}
    if not (bad and good):
        return share
    above = rankdata(1 - iou_N)[spoiled_N].sum() - bad * (bad + 1) / 2
    return {**share, "spoiled_auc": float(above / (bad * good))}


def see(model: nn.Module, images_NCRR: NDArray[np.floating], rows: Indices) -> NDArray[np.uint8]:
    """Class that ``model`` gives each pixel of some rows, (n, R, R)."""
    return np.concatenate(
        [
            predict(model, part, whole_batches=True).argmax(dim=1).to(torch.uint8).numpy()
            for part in parts(images_NCRR, rows)
        ]
    )
