"""Errors of labels by confident learning: pixels that a judge, sure of itself, gives another class than the mask.

Shapes: n samples, K classes, R resolution in pixels, D draws.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medsweep.trainers.assessment.label_law import LawValue
from medsweep.trainers.measures.mask_validity import ratio
from medsweep.trainers.measures.resampling import percentile_interval, resampled
from medsweep.trainers.measures.structures import BAND_PX, signed_distance
from medsweep.trainers.segmentation.network import predict

BATCH: Final = 64
PLACES: Final = ("boundary", "inside")
"""Within ``BAND_PX`` of the edge of the foreground, and further in."""

Array = NDArray[np.float64]
Images = NDArray[np.floating]
Masks = NDArray[np.uint8]


def sure_from(judge: nn.Module, images_nCRR: Images, masks_nRR: Masks, classes: int) -> Array:
    """Mean probability of each class over the pixels with that label, (K,); infinite for one that no mask shows."""
    sums_K, pixels_K = np.zeros(classes), np.zeros(classes)
    for rows in _batches(len(masks_nRR)):
        p_BKRR = _predicted(judge, images_nCRR[rows])
        for label in range(classes):
            shown = masks_nRR[rows] == label
            sums_K[label] += p_BKRR[:, label][shown].sum(dtype=np.float64)
            pixels_K[label] += shown.sum()
    means_K: Array = np.divide(sums_K, pixels_K, out=np.full(classes, np.inf), where=pixels_K > 0)
    return means_K


def confident_joint(judge: nn.Module, images_nCRR: Images, masks_nRR: Masks, sure_K: Array) -> Array:
    """Pixels by label and confident class in each of ``PLACES``, (n, 2, K, K).

    A pixel counts for the class with the highest probability among those whose probability is at least ``sure_K``
    (Northcutt et al. 2021, equation 1), and for none where there is no such class.
    """
    classes = len(sure_K)
    found = np.zeros((len(masks_nRR), len(PLACES), classes, classes))
    for rows in _batches(len(masks_nRR)):
        p_BKRR = _predicted(judge, images_nCRR[rows])
        p_BKRR[p_BKRR < sure_K[:, None, None]] = -1
        for joint, p_KRR, mask_RR in zip(found[rows], p_BKRR, masks_nRR[rows], strict=True):
            d_RR, sure_RR = signed_distance(mask_RR > 0), p_KRR.max(axis=0) >= 0
            for place, here in enumerate((np.abs(d_RR) <= BAND_PX, d_RR > BAND_PX)):
                pixels = here & sure_RR
                cells = classes * mask_RR[pixels].astype(np.int64) + p_KRR.argmax(axis=0)[pixels]
                joint[place] = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    return found


def confident_errors(
    pool_n2KK: Array, real_N2KK: Array, owners_N: NDArray[np.object_], draws: int, rng: np.random.Generator
) -> dict[str, LawValue]:
    """Shares of pixels whose label is confidently another one, each minus the same of real slices.

    ``class_K/confident_PLACE``: of the pixels with label K in that place. ``confident_larger``: of the pixels at the
    boundary, those in the foreground of the mask alone minus those in that of the judge alone, above 0 where masks are
    larger than what is seen. Percentile intervals of 95 % over ``draws`` of samples and, independently, of whole
    patients. What a side does not define is left out.
    """
    names, of_N = np.unique(owners_N.astype(str), return_inverse=True)
    real_P2KK = np.zeros((len(names), *real_N2KK.shape[1:]))
    np.add.at(real_P2KK, of_N, real_N2KK)
    sides = pool_n2KK, real_P2KK
    whole = _shares([side.sum(axis=0)[None] for side in sides])
    errors = {name: LawValue(float(value[0])) for name, value in whole.items() if np.isfinite(value[0])}
    if min(len(pool_n2KK), len(names)) < 2:
        return errors
    spread = _shares([np.tensordot(resampled(len(side), draws, rng).astype(float), side, 1) for side in sides])
    return {name: LawValue(told.value, *percentile_interval(spread[name])) for name, told in errors.items()}


def _shares(sides: Sequence[Array]) -> dict[str, Array]:
    """Of summed joints (D, 2, K, K) of a pool and of real slices, each (D,)."""
    pool, real = ({**_wrong(side), "confident_larger": _larger(side[:, 0])} for side in sides)
    return {name: pool[name] - real[name] for name in pool}


def _wrong(joint_D2KK: Array) -> dict[str, Array]:
    labelled_D2K = joint_D2KK.sum(axis=-1)
    right_D2K = np.diagonal(joint_D2KK, axis1=-2, axis2=-1)
    wrong_D2K = ratio(labelled_D2K - right_D2K, labelled_D2K)
    return {
        f"class_{label}/confident_{place}": wrong_D2K[:, at, label]
        for label in range(1, joint_D2KK.shape[-1])
        for at, place in enumerate(PLACES)
    }


def _larger(joint_DKK: Array) -> Array:
    mask_alone, view_alone = joint_DKK[:, 1:, 0].sum(axis=1), joint_DKK[:, 0, 1:].sum(axis=1)
    return ratio(mask_alone - view_alone, joint_DKK.sum(axis=(1, 2)))


def _batches(count: int) -> list[slice]:
    return [slice(first, first + BATCH) for first in range(0, count, BATCH)]


def _predicted(judge: nn.Module, images_BCRR: Images) -> NDArray[np.float32]:
    p_BKRR: NDArray[np.float32] = predict(judge, torch.from_numpy(np.array(images_BCRR, np.float32)), BATCH).numpy()
    return p_BKRR
