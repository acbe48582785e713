"""Losses of probe batches: where in an image, in which class, and in which direction a network is wrong.

Shapes: N samples, K classes, R resolution in pixels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.trainers.measures.structures import BAND_PX, signed_distance

RESIDUAL_PX = 3.0
"""Pixels at most so far from it count for the signed residual."""

Row = tuple[str, str, float]
"""Quantity, group, value."""


def loss_rows(logits: Sequence[Tensor], masks: Sequence[NDArray[np.uint8]], classes: Sequence[str]) -> list[Row]:
    """Losses over the half-batches of a source, given their logits (N, K, R, R) and masks (N, R, R).

    ``cross_entropy``: mean over pixels of ``all``, of ``boundary`` and ``rest`` (the band or not), and of each class.
    ``soft_dice_loss``: over a half-batch per class, mean over the halves. ``signed_residual_px``: the sum of foreground
    probability minus mask within 3 px of the boundary, over the pixels of the contour: by how much the network draws
    the foreground larger. What no pixel tells is NaN.
    """
    p_NKRR = torch.cat(list(logits)).double().softmax(dim=1).cpu().numpy()
    masks_NRR = np.concatenate(masks)
    d_NRR = boundary_distance(masks_NRR)
    entropy_NRR = pixel_entropy(p_NKRR, masks_NRR)
    parts = parts_of(masks_NRR, d_NRR, classes)
    rows = [("cross_entropy", group, _mean(entropy_NRR[part])) for group, part in parts.items()]
    rows += [("soft_dice_loss", name, value) for name, value in _dice_losses(p_NKRR, masks, classes)]
    near = np.abs(d_NRR) <= RESIDUAL_PX
    residual = ((1 - p_NKRR[:, 0]) - (masks_NRR > 0))[near].sum()
    contour = np.count_nonzero((d_NRR > 0) & (d_NRR <= 0.5))
    return [*rows, ("signed_residual_px", "all", float(residual / contour) if contour else float("nan"))]


def boundary_distance(masks_NRR: NDArray[np.uint8]) -> NDArray[np.float64]:
    """``signed_distance`` of each pixel from the boundary of the foreground, (N, R, R)."""
    return np.stack([signed_distance(mask > 0) for mask in masks_NRR])


def pixel_entropy(p_NKRR: NDArray[np.float64], masks_NRR: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Cross-entropy of each pixel in nats, (N, R, R), given the probabilities of its classes."""
    given_NRR = np.take_along_axis(p_NKRR, masks_NRR[:, None].astype(np.int64), axis=1)[:, 0]
    entropy_NRR: NDArray[np.float64] = -np.log(given_NRR + 1e-300)
    return entropy_NRR


def parts_of(
    masks_NRR: NDArray[np.uint8], d_NRR: NDArray[np.float64], classes: Sequence[str]
) -> dict[str, NDArray[np.bool_]]:
    """Pixels of ``all``, of ``boundary`` (the band) and ``rest``, and of each class, (N, R, R) each.

    ``d_NRR`` is the ``boundary_distance`` of the masks.
    """
    band_NRR = np.abs(d_NRR) <= BAND_PX
    parts = {"all": np.ones_like(band_NRR), "boundary": band_NRR, "rest": ~band_NRR}
    return parts | {name: masks_NRR == label for label, name in enumerate(classes)}


def _dice_losses(
    p_NKRR: NDArray[np.float64], masks: Sequence[NDArray[np.uint8]], classes: Sequence[str]
) -> Iterator[tuple[str, float]]:
    cuts = np.cumsum([len(half) for half in masks])[:-1]
    for label, name in enumerate(classes[1:], start=1):
        values = []
        for p, half in zip(np.split(p_NKRR[:, label], cuts), masks, strict=True):
            mask = half == label
            values.append(1 - 2 * p[mask].sum() / (p.sum() + mask.sum()))
        yield name, float(np.mean(values))


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
