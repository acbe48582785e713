"""How far samples of the averaged generator are from real slices, cheap enough to be watched while it trains.

N samples, C modalities, S numbers per sample.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.measures.frechet import Gaussian, distance
from medsweep.trainers.random_features import RandomFeatures
from medsweep.trial import DivergedError

SAMPLES: Final = 64
"""On each side. The distance has a bias at so few, the same at every report of a training."""
CHUNK: Final = 16
"""Samples that are made at a time."""

Emit = Callable[[Tensor, Tensor | None], Tensor]
"""From random numbers (n, S), and masks (n, K, R, R) or None, to images or mask channels (n, C, R, R)."""


class SampleDistance:
    """Fréchet distance on ``RandomFeatures`` from training slices to samples, both the same at every report.

    Images are compared in the values of slices; a generator ``of_masks``, which makes none, by their channels. One that
    ``paints`` is given the masks of the same slices. ``emit`` makes what is compared of ``numbers`` random numbers per
    sample, which are drawn once from ``seed``, and of masks; at the scale of the networks.
    """

    def __init__(
        self, emit: Emit, data: TrainingSet, seed: int, *, numbers: int, paints: bool = False, of_masks: bool = False
    ):
        self._emit, self._data, self._paints, self._of_masks = emit, data, paints, of_masks
        self._rows = torch.from_numpy(data.spread(min(SAMPLES, len(data)))).to(data.images.device)
        random = torch.Generator().manual_seed(seed)
        self._numbers_NS = torch.randn(len(self._rows), numbers, generator=random)

    @torch.no_grad()
    def value(self, step: int) -> float:
        """The distance now.

        Raises:
            DivergedError: a sample is not finite.
        """
        chunks = range(0, len(self._rows), CHUNK)
        seen_ND = np.concatenate([self._features(self._samples(slice(first, first + CHUNK))) for first in chunks])
        if not np.isfinite(seen_ND).all():
            raise DivergedError(f"samples of the averaged generator are no longer finite at step {step}")
        return distance(self._real, Gaussian.of(seen_ND))

    @cached_property
    def _network(self) -> RandomFeatures:
        channels = self._data.channels if self._of_masks else self._data.images
        return RandomFeatures(channels.shape[1]).to(channels.device)

    @cached_property
    def _real(self) -> Gaussian:
        rows_NCRR = self._data.channels[self._rows].float() if self._of_masks else self._data.images[self._rows]
        return Gaussian.of(self._features(rows_NCRR))

    def _samples(self, rows: slice) -> Tensor:
        """What the averaged generator makes of some of the numbers, (n, C, R, R)."""
        condition = self._data.channels[self._rows[rows]].float() if self._paints else None
        return self._emit(self._numbers_NS[rows].to(self._data.images.device), condition)

    def _features(self, x_NCRR: Tensor) -> NDArray[np.float32]:
        x_NCRR = x_NCRR if self._of_masks else self._data.intensity.to_slices(x_NCRR)
        features: NDArray[np.float32] = self._network(x_NCRR.contiguous()).cpu().numpy()
        return features
