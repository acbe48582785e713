"""Masks with moved boundaries, by the same amount everywhere or by a smooth random one.

Shapes: R resolution in pixels.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from medsweep.trainers.measures.structures import signed_distance
from medsweep.trainers.treatments.base import Masks
from medsweep.trainers.treatments.images import smooth_field


def with_moved_boundaries(
    mask_RR: Masks,
    moved: Sequence[int],
    bias_px: float,
    random: tuple[float, float],
    *,
    classes: int,
    rng: np.random.Generator,
) -> Masks:
    """One mask whose classes ``moved`` grew by ``bias_px``, and then all boundaries by ``random`` = (SD, smoothness).

    Amounts are in pixels; ``shifted`` and ``displaced`` say what each does. A ``bias_px`` that is no whole
    number is rounded up or down at random, so that it holds in the mean.
    """
    # pixels move whole: a boundary shifted by 0.4 px would stay where it is in every sample
    shift_px = np.floor(bias_px) + (rng.random() < bias_px % 1)
    mask_RR = shifted(mask_RR, moved, float(shift_px))
    return displaced(mask_RR, classes, *random, rng) if random[0] > 0 else mask_RR


def shifted(mask_RR: Masks, moved: Sequence[int], shift_px: float) -> Masks:
    """Grow (above 0) or shrink the union of classes ``moved`` by thresholding its signed distance at -shift.

    A pixel that the region wins takes its nearest class, one that it loses the nearest class outside.
    """
    region = np.isin(mask_RR, moved)
    if shift_px == 0 or region.all() or not region.any():
        return mask_RR
    new = signed_distance(region) + shift_px > 0
    # the transform finds the nearest pixel where its argument is 0: of the region to grow it, of the rest to shrink it
    donors = region if shift_px > 0 else ~region
    rows, columns = distance_transform_edt(~donors, return_distances=False, return_indices=True)
    return np.where(new != region, mask_RR[rows, columns], mask_RR)


def displaced(mask_RR: Masks, classes: int, sd_px: float, smooth_px: float, rng: np.random.Generator) -> Masks:
    """argmax_k of (signed distance of class k + its own smooth field): every boundary moves by SD ``sd_px``.

    A boundary between a and b moves by half the difference of two fields, hence fields of SD sqrt(2) ``sd_px``.
    """
    scores = np.stack([signed_distance(mask_RR == index) for index in range(classes)])
    fields = np.stack([smooth_field(mask_RR.shape[-1], smooth_px, rng) for _ in range(classes)])
    moved: Masks = (scores + np.sqrt(2) * sd_px * fields).argmax(axis=0).astype(np.uint8)
    return moved
