"""What a U-Net is trained on, and in which order: real slices of the training patients, then a prefix of a pool."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trial import PoolDryError
from trainers.pool import Pool
from trainers.segmentation.config import SegmentConfig

"""Sorted ids of the patients that a network has seen in training, as a JSON list."""

SCORES = "scores.parquet"


@dataclass(frozen=True)
class Samples:
    """Training tensors on the trial's device: the first ``real`` rows are real, the others synthetic."""

    images: Tensor
    """float32 (N, C, R, R)"""
    masks: Tensor
    """uint8 (N, R, R)"""
    real: int
    generated: int
    """Pool samples that were looked at to find the synthetic ones; more than those where a filter dropped some."""

    @property
    def synthetic(self) -> int:
        """Number of synthetic samples."""
        return len(self.images) - self.real


def gather(
    config: SegmentConfig, data: SliceSet, train: Sequence[str], inputs: Mapping[str, Path], device: str
) -> Samples:
    """Load the real slices of the ``train`` patients and, where ``count`` is above 0, the chosen pool samples.

    Raises:
        PoolDryError: the pool, or what the filter leaves of it, is smaller than the count.
        UserError: the pool's samples are not of the prepared shape.
    """
    rows = data.rows(train, foreground_only=config.slices == "foreground")
    images, masks = [data.images[rows]], [data.masks[rows]]
    generated = 0
    if config.count > 0:
        pool = Pool.open(inputs["pool"])
        if pool.images.shape[1:] != data.images.shape[1:]:
            raise UserError(
                f"the pool in {inputs['pool']} holds images of shape {pool.images.shape[1:]}, "
                f"the prepared slices are {data.images.shape[1:]}; build the pool from the same prepared data"
            )
        each = pool.slices_per_patient if config.unit == "patients" else 1
        chosen = choose(pool, config.count * each, config.candidates * each, config.min_iou, inputs)
        images.append(pool.images[chosen])
        masks.append(pool.masks[chosen])
        generated = int(chosen[-1]) + 1
    return Samples(
        images=torch.cat([torch.from_numpy(part).to(device) for part in images]),
        masks=torch.cat([torch.from_numpy(part).to(device) for part in masks]),
        real=len(rows),
        generated=generated,
    )


def choose(pool: Pool, wanted: int, candidates: int, min_iou: float, inputs: Mapping[str, Path]) -> NDArray[np.int64]:
    """Rows of the first ``wanted`` pool samples, or of the first that reach ``min_iou`` where that is above 0.

    A filter looks at the first ``candidates`` samples alone, so what it finds does not depend on the pool's size.

    Raises:
        PoolDryError: there are fewer.
    """
    if len(pool) < max(wanted, candidates):
        raise PoolDryError(f"the arm asks for {max(wanted, candidates)} synthetic samples, the pool has {len(pool)}")
    if min_iou == 0:
        return np.arange(wanted)
    scores = pd.read_parquet(inputs["scores"] / SCORES).set_index("sample")["iou"]
    passing = np.flatnonzero(scores.loc[np.arange(candidates)].to_numpy() >= min_iou)
    if len(passing) < wanted:
        raise PoolDryError(
            f"segment.min_iou {min_iou:g} leaves {len(passing)} of {candidates} synthetic samples and the arm asks for "
            f"{wanted}; raise synthesise.headroom or lower the threshold"
        )
    return passing[:wanted]


class BatchOrder:
    """Which samples are in the batch of each step: a pure function of fold, seed and step.

    An endless row of shuffled epochs is cut into batches, so each sample is seen equally often. Real and synthetic
    samples draw their places from separate generators: arms of one replicate see their real samples in the same order
    within an epoch (``uniform``) or throughout (``fixed-exposure`` against a real-only arm), whatever the count.
    """

    def __init__(self, config: SegmentConfig, real: int, synthetic: int) -> None:
        self._halves = config.mixing == "fixed-exposure" and synthetic > 0
        self._batch_size = config.batch_size
        self._real, self._synthetic = real, synthetic
        self._replicate = (config.fold.index, config.seed)
        self._shuffle = lru_cache(maxsize=4)(self._shuffled)

    def batch(self, step: int) -> NDArray[np.int64]:
        """Rows of the samples of ``step`` (1, 2, ...)."""
        if not self._halves:
            total = self._real + self._synthetic
            return _cut(lambda epoch: self._shuffle(True, True, epoch), total, step, self._batch_size)
        half = self._batch_size // 2
        real = _cut(lambda epoch: self._shuffle(True, False, epoch), self._real, step, half)
        synthetic = _cut(lambda epoch: self._shuffle(False, True, epoch), self._synthetic, step, half)
        return np.concatenate([real, self._real + synthetic])

    def _shuffled(self, real: bool, synthetic: bool, epoch: int) -> NDArray[np.int64]:
        """One epoch of the chosen samples, numbered from 0: each draws a place in [0, 1)."""
        places = [self._places("real", self._real, epoch)] if real else []
        places += [self._places("synthetic", self._synthetic, epoch)] if synthetic else []
        return np.argsort(np.concatenate(places), kind="stable")

    def _places(self, part: str, count: int, epoch: int) -> NDArray[np.float64]:
        return np.random.default_rng(derive_seed("segment", "order", part, epoch, *self._replicate)).random(count)


def _cut(shuffle: Callable[[int], NDArray[np.int64]], total: int, step: int, size: int) -> NDArray[np.int64]:
    """Positions (step - 1) * size up to step * size of the endless row of epochs of ``total`` samples."""
    positions = np.arange((step - 1) * size, step * size)
    return np.array([shuffle(int(epoch))[place] for epoch, place in zip(*divmod(positions, total), strict=True)])
