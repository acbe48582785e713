"""Pixels of synthetic samples whose label a judge doubts, which the loss then leaves out (after FreeMask).

Shapes: n chosen samples, K classes, R resolution in pixels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medsweep.data.ignored import IGNORED, MOST_CLASSES
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.measures.structures import BAND_PX, signed_distance
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trainers.segmentation.network import load_segmenter, predict

BATCH: Final = 64
"""Samples that the judge sees at a time."""

Masks = NDArray[np.uint8]
Rows = NDArray[np.int64]


class Filtered(NamedTuple):
    """Masks without the pixels that are left out, and how many those are."""

    masks: Masks
    """(samples of the pool, R, R); ``IGNORED`` where the loss is not taken, and 0 in samples that were not chosen."""
    numbers: dict[str, float]
    """Shares of the pixels of all chosen samples, of their foreground and of the band along its edge."""


def without_doubted(
    config: SegmentConfig, pool: Pool, rows_n: Rows, judge: Path, *, classes: int, device: str
) -> Filtered:
    """Masks of the chosen samples without the pixels whose label the ``judge`` doubts, or without as many others.

    The judge doubts a pixel where the cross-entropy of its label is above ``max_pixel_loss`` times the mean over all
    pixels with that label in the chosen samples (Yang et al. 2023, FreeMask, arXiv 2310.15160, which takes 1.25). With
    ``pixels_by: random`` pixels are drawn in their place: of each class, in the band along the edge of the foreground
    and outside of it, as many as are doubted there. Every sample then loses the same share of such pixels.

    Raises:
        UserError: the dataset has so many classes that no value is left for pixels without one.
    """
    if classes > MOST_CLASSES:
        text = f"segment.max_pixel_loss leaves room for {MOST_CLASSES} classes, background included"
        raise UserError(f"{text}, and the dataset has {classes}; set it to 0")
    network = load_segmenter(judge, device)
    limit_K = config.max_pixel_loss * _mean_losses(network, pool, rows_n, classes)
    masks_NRR = np.zeros(pool.masks.shape, np.uint8)
    counts = np.zeros((2, classes, 2), np.int64)
    for part_n, losses_BRR in _losses(network, pool, rows_n):
        for row, loss_RR in zip(part_n, losses_BRR, strict=True):
            mask_RR = pool.masks[row]
            doubted_RR, strata_RR = loss_RR > limit_K[mask_RR], _strata(mask_RR)
            for number, strata_P in enumerate((strata_RR.ravel(), strata_RR[doubted_RR])):
                counts[number] += np.bincount(strata_P, minlength=2 * classes).reshape(classes, 2)
            masks_NRR[row] = np.where(doubted_RR, IGNORED, mask_RR)
    if config.pixels_by == "random":
        _leave_out_others(config, pool, rows_n, counts.reshape(2, -1), masks_NRR)
    parts = {"": counts, "_foreground": counts[:, 1:], "_boundary": counts[:, :, 1:]}
    sums = {f"pixels_ignored{name}": part.sum(axis=(1, 2)) for name, part in parts.items()}
    return Filtered(masks_NRR, {name: float(some / every) for name, (every, some) in sums.items() if every})


def _mean_losses(network: nn.Module, pool: Pool, rows_n: Rows, classes: int) -> NDArray[np.float64]:
    """Mean cross-entropy of the pixels with each label, (K,); infinite for one that no mask shows."""
    sums_K, pixels_K = np.zeros(classes), np.zeros(classes, np.int64)
    for part_n, losses_BRR in _losses(network, pool, rows_n):
        labels_P = pool.masks[part_n].ravel()
        sums_K += np.bincount(labels_P, losses_BRR.ravel(), minlength=classes)
        pixels_K += np.bincount(labels_P, minlength=classes)
    means_K: NDArray[np.float64] = np.divide(sums_K, pixels_K, out=np.full(classes, np.inf), where=pixels_K > 0)
    return means_K


def _losses(network: nn.Module, pool: Pool, rows_n: Rows) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
    """Some rows at a time with the cross-entropy of their labels in nats, (B, R, R)."""
    for first in range(0, len(rows_n), BATCH):
        part_n = rows_n[first : first + BATCH]
        p_BKRR = predict(network, torch.from_numpy(np.array(pool.images[part_n], np.float32)), BATCH).numpy()
        given_BRR = np.take_along_axis(p_BKRR, pool.masks[part_n][:, None].astype(np.int64), axis=1)[:, 0]
        yield part_n, -np.log(np.maximum(given_BRR, np.finfo(np.float32).tiny))


def _strata(mask_RR: Masks) -> Rows:
    """Class and band of each pixel as 2 class + band, (R, R)."""
    strata_RR: Rows = 2 * mask_RR.astype(np.int64) + (np.abs(signed_distance(mask_RR > 0)) <= BAND_PX)
    return strata_RR


def _leave_out_others(config: SegmentConfig, pool: Pool, rows_n: Rows, counts_2S: Rows, masks_NRR: Masks) -> None:
    """Write masks in which as many pixels of each stratum are ignored, drawn at random.

    ``counts_2S`` are all pixels of the strata and how many of them to leave out. What is due after each sample is
    rounded, so that in the end exactly as many are.
    """
    rng = np.random.default_rng(derive_seed("segment", "filter", "pixels", config.fold.index, config.seed))
    of_all_S, due_S = counts_2S
    passed_S = np.zeros_like(of_all_S)
    for row in rows_n:
        mask_RR = np.array(pool.masks[row])
        strata_P, left_P = _strata(mask_RR).ravel(), mask_RR.ravel()
        for stratum in np.unique(strata_P):
            here = np.flatnonzero(strata_P == stratum)
            total, due, before = int(of_all_S[stratum]), int(due_S[stratum]), int(passed_S[stratum])
            after = before + len(here)
            take = _rounded(due * after, total) - _rounded(due * before, total)
            left_P[rng.choice(here, take, replace=False)] = IGNORED
            passed_S[stratum] = after
        masks_NRR[row] = left_P.reshape(mask_RR.shape)


def _rounded(value: int, by: int) -> int:
    return (2 * value + by) // (2 * by)
