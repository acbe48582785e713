"""How far samples of the averaged generator are from real slices, cheap enough to be watched while it trains.

N samples, C modalities, S numbers per sample.
"""

from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.trainers.measures.frechet import Gaussian, distance
from medsweep.trainers.random_features import RandomFeatures
from medsweep.trainers.stylegan2.data import TrainingSet
from medsweep.trainers.stylegan2.sampler import Sampler
from medsweep.trial import DivergedError

SAMPLES: Final = 64
"""On each side. The distance has a bias at so few, the same at every report of a training."""
CHUNK: Final = 16
"""Samples that are made at a time."""


class SampleDistance:
    """Fréchet distance on ``RandomFeatures`` from training slices to samples, both the same at every report.

    Images are compared in the values of slices; M-SG, which makes none, by the channels of its masks. C-SG and C-SPADE
    paint the masks of the same slices. Random numbers are drawn once, from ``seed``.
    """

    def __init__(self, sampler: Sampler, data: TrainingSet, seed: int):
        self._sampler, self._data = sampler, data
        self._rows = torch.from_numpy(data.spread(min(SAMPLES, len(data)))).to(data.images.device)
        random = torch.Generator().manual_seed(seed)
        self._numbers_NS = torch.randn(len(self._rows), sampler.numbers_per_sample, generator=random)

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
        card = self._sampler.card
        channels = self._data.channels if card.variant == "m-sg" else self._data.images
        return RandomFeatures(channels.shape[1]).to(channels.device)

    @cached_property
    def _real(self) -> Gaussian:
        of_masks = self._sampler.card.variant == "m-sg"
        rows_NCRR = self._data.channels[self._rows].float() if of_masks else self._data.images[self._rows]
        return Gaussian.of(self._features(rows_NCRR))

    def _samples(self, rows: slice) -> Tensor:
        """What the averaged generator makes of some of the numbers, (n, C, R, R)."""
        card, network = self._sampler.card, self._sampler.network
        latent_dim = card.architecture.latent_dim
        numbers_NS = self._numbers_NS[rows].to(self._data.images.device)
        z_ND, noise_NP = numbers_NS.split([latent_dim, numbers_NS.shape[1] - latent_dim], dim=1)
        condition = self._data.channels[self._rows[rows]].float() if card.paints else None
        out_NCRR: Tensor = network(z_ND, condition, noise_NP)
        return out_NCRR if card.variant == "m-sg" else out_NCRR[:, : card.modalities]

    def _features(self, x_NCRR: Tensor) -> NDArray[np.float32]:
        of_masks = self._sampler.card.variant == "m-sg"
        x_NCRR = x_NCRR if of_masks else self._sampler.card.intensity.to_slices(x_NCRR)
        features: NDArray[np.float32] = self._network(x_NCRR.contiguous()).cpu().numpy()
        return features
