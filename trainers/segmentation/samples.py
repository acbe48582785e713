"""What a U-Net is trained on, and in which order: real slices of the training patients, then a prefix of a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.data.ignored import IGNORED
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.pool import SCORES, Pool
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trainers.segmentation.filtering import Choice, choose
from medsweep.trainers.segmentation.pixel_filter import without_doubted
from medsweep.trainers.training.transfer import upload

RESIDENT = 4
"""Samples stay on the GPU where they take at most one part in so many of what the trial may take."""


@dataclass(frozen=True)
class SliceRows:
    """Some rows of a memory-mapped set of slices."""

    images: NDArray[np.floating[Any]]
    """(N, C, R, R)"""
    masks: NDArray[np.uint8]
    """(N, R, R)"""
    rows: NDArray[np.int64]
    beside: NDArray[np.int64] | None = None
    """Rows of all slices that are seen for each of ``rows``, (n, S); None where it is the slice alone."""

    @property
    def channels(self) -> int:
        """Channels of a sample."""
        return int(self.images.shape[1]) * (1 if self.beside is None else self.beside.shape[1])

    def read(self, places_n: NDArray[np.int64]) -> tuple[NDArray[np.floating[Any]], NDArray[np.uint8]]:
        """Images (n, channels, R, R) and masks of some of ``rows``."""
        rows = self.rows[places_n]
        seen = rows if self.beside is None else self.beside[places_n].ravel()
        return self.images[seen].reshape(len(rows), self.channels, *self.images.shape[2:]), self.masks[rows]


class TrainingSamples:
    """Training samples in one row of positions: the first ``real`` are real, the others synthetic.

    On a CPU batches are copied out of the memory maps as they are asked for, so trials on one machine share a single
    copy of the data. On a GPU all samples are kept there if they take at most a quarter of the memory that the trial
    may take, which is ``gpu_share`` of the GPU's.
    """

    def __init__(
        self,
        real: SliceRows,
        synthetic: SliceRows | None,
        device: str,
        choice: Choice | None = None,
        pixels_ignored: Mapping[str, float] | None = None,
        *,
        gpu_share: float = 1.0,
        ignores: bool = False,
    ) -> None:
        self.ignores = ignores
        """Whether the masks hold ignored pixels."""
        self.real, self.synthetic = len(real.rows), len(synthetic.rows) if synthetic else 0
        self.choice = choice
        """Which samples of the pool the synthetic ones are, where there are any."""
        self.pixels_ignored = pixels_ignored or {}
        """Shares of their pixels that are left out of the loss, see ``without_doubted``."""
        self.device = torch.device(device)
        self._sets = [real] if synthetic is None else [real, synthetic]
        self._held = self._read(np.arange(self.real + self.synthetic)) if self._fits(gpu_share) else None

    def batch(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images float32 (B, C, R, R) and masks uint8 (B, R, R) on the device."""
        if self._held is None:
            return self._read(positions)
        chosen = upload(torch.from_numpy(positions), self.device)
        return self._held[0][chosen], self._held[1][chosen]

    def pixels_per_class(self, classes: int) -> NDArray[np.int64]:
        """Pixels of each class in the real slices, (classes,); ignored ones are of none."""
        real = self._sets[0]
        return sum(
            (np.bincount(real.masks[row].ravel(), minlength=classes)[:classes] for row in real.rows),
            np.zeros(classes, np.int64),
        )

    def with_foreground(self) -> NDArray[np.int64]:
        """Positions of the real samples that show a class."""
        real = self._sets[0]
        masks = (real.masks[row] for row in real.rows)
        return np.flatnonzero([((mask > 0) & (mask != IGNORED)).any() for mask in masks])

    def _read(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        shape = (len(positions), *self._sets[0].masks.shape[1:])
        images = np.empty((len(positions), self._sets[0].channels, *shape[1:]), np.float32)
        masks = np.empty(shape, np.uint8)
        first = 0
        for rows in self._sets:
            here = np.flatnonzero((positions >= first) & (positions < first + len(rows.rows)))
            images[here], masks[here] = rows.read(positions[here] - first)
            first += len(rows.rows)
        return upload(torch.from_numpy(images), self.device), upload(torch.from_numpy(masks), self.device)

    def _fits(self, gpu_share: float) -> bool:
        if self.device.type != "cuda":
            return False
        each = (4 * self._sets[0].channels + 1) * int(np.prod(self._sets[0].masks.shape[1:]))
        total = torch.cuda.get_device_properties(self.device).total_memory
        return (self.real + self.synthetic) * each <= gpu_share * total / RESIDENT


def gather(
    config: SegmentConfig,
    data: SliceSet,
    train: Sequence[str],
    inputs: Mapping[str, Path],
    device: str,
    *,
    gpu_share: float = 1.0,
    whole_masks: bool = False,
) -> TrainingSamples:
    """Find the real slices of the ``train`` patients and, where ``count`` is above 0, the chosen pool samples.

    Slices that are labelled in part are among them. Where the config asks for it, the masks of synthetic samples are
    without the pixels that the ``judge`` among the inputs doubts; ``whole_masks`` keeps them.

    Raises:
        PoolDryError: the pool, or what the filter leaves of it, is smaller than the count.
        UserError: the pool's samples are not of the prepared shape, or all pixels of the patients are ignored.
    """
    rows = data.rows(train, foreground_only=config.slices == "foreground", partly_labelled=True)
    if data.ignores and len(rows) == 0:
        raise UserError(
            f"no slice of the {len(train)} training patients has a labelled pixel that segment.slices: {config.slices} "
            "takes; take more patients"
        )
    beside = data.beside(rows, config.neighbours) if config.neighbours else None
    real = SliceRows(data.images, data.masks, rows, beside)
    if config.count == 0:
        return TrainingSamples(real, None, device, gpu_share=gpu_share, ignores=data.ignores)
    pool = Pool.open(inputs["pool"], data.images.shape[1:])
    iou = pd.read_parquet(inputs["scores"] / SCORES).set_index("sample")["iou"] if config.min_iou else None
    choice = choose(config, pool, iou)
    masks, shares = pool.masks, dict[str, float]()
    if config.max_pixel_loss > 0 and not whole_masks:
        masks, shares = without_doubted(
            config, pool, choice.rows, inputs["judge"], classes=len(data.classes), device=device
        )
    synthetic = SliceRows(pool.images, masks, choice.rows)
    ignores = data.ignores or bool(shares)
    return TrainingSamples(real, synthetic, device, choice, shares, gpu_share=gpu_share, ignores=ignores)


class BatchOrder:
    """Which samples are in the batch of each step: a pure function of fold, seed and step.

    An endless row of shuffled epochs is cut into batches, so each sample is seen equally often, but for what
    ``foreground_share`` adds in a row of its own. Real and synthetic samples draw their places from separate
    generators: arms of one replicate see their real samples in the same order within an epoch (``uniform``) or
    throughout (``fixed-exposure`` and the real phase of ``pretrain`` against a real-only arm), whatever the count.
    """

    def __init__(
        self, config: SegmentConfig, real: int, synthetic: int, foreground: NDArray[np.int64] | None = None
    ) -> None:
        """``foreground`` are the real samples that show a class, read where ``foreground_share`` is above 0."""
        self._share = config.foreground_share if foreground is not None and len(foreground) else 0.0
        self._foreground = np.zeros(0, np.int64) if foreground is None else foreground
        self._synthetic_slots = config.synthetic_slots if config.mixing == "fixed-exposure" and synthetic > 0 else 0
        self._synthetic_steps = config.pretrain_steps if config.mixing == "pretrain" and synthetic > 0 else 0
        self._batch_size = config.batch_size
        self._counts = {"real": real, "synthetic": synthetic, "foreground": len(self._foreground)}
        self._replicate = (config.fold.index, config.seed)
        self._epoch = lru_cache(maxsize=4)(self._shuffled)

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the samples of ``step`` (1, 2, ...)."""
        if made := self._synthetic_slots:
            return np.concatenate(
                [self._oversampled(step, self._batch_size - made, "real"), self._cut(step, made, "synthetic")]
            )
        if step <= self._synthetic_steps:
            return self._cut(step, self._batch_size, "synthetic")
        if self._synthetic_steps:
            return self._oversampled(step - self._synthetic_steps, self._batch_size, "real")
        return self._oversampled(step, self._batch_size, "real", "synthetic")

    def _oversampled(self, step: int, size: int, *kinds: str) -> NDArray[np.int64]:
        """As ``_cut``, but that ``foreground_share`` of the places are for real samples with foreground."""
        sure = size - round(size * (1 - self._share))
        if not sure:
            return self._cut(step, size, *kinds)
        rows = [self._foreground[self._cut(step, sure, "foreground")]]
        return np.concatenate([self._cut(step, size - sure, *kinds), *rows] if sure < size else rows)

    def _cut(self, step: int, size: int, *kinds: str) -> NDArray[np.int64]:
        """Rows (step - 1) * size up to step * size of the endless row of shuffled epochs of some kinds of samples."""
        positions = np.arange((step - 1) * size, step * size)
        epochs, places = divmod(positions, sum(self._counts[kind] for kind in kinds))
        rows = [self._epoch(kinds, int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)]
        return np.array(rows) + (self._counts["real"] if kinds == ("synthetic",) else 0)

    def _shuffled(self, kinds: tuple[str, ...], epoch: int) -> NDArray[np.int64]:
        """One epoch of the samples of ``kinds``, numbered from 0: each draws a place in [0, 1)."""
        seeds = (derive_seed("segment", "order", kind, epoch, *self._replicate) for kind in kinds)
        places = [
            np.random.default_rng(seed).random(self._counts[kind]) for kind, seed in zip(kinds, seeds, strict=True)
        ]
        return np.argsort(np.concatenate(places), kind="stable")
