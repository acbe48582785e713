"""What a person sees of a GAN: the same latents and masks at every report, and real pairs in the same layout."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.trainers.stylegan2.data import TrainingSet
from medsweep.trainers.stylegan2.networks import Generator
from medsweep.trainers.stylegan2.sampler import Sampler
from medsweep.trainers.training.pictures import grid_png

PAIRS = 16
COLUMNS = 4
PICTURES_PER_RUN = 8
PROBES = 8
"""Latents that the check for collapse looks at."""


class Gallery:
    """Grids of samples of the averaged generator, from latents that never change."""

    def __init__(self, sampler: Sampler, data: TrainingSet, seed: int):
        self.sampler = sampler
        random = torch.Generator().manual_seed(seed)
        self.z_ND = torch.randn(PAIRS, sampler.latent_dim, generator=random)
        rows = data.spread(PAIRS)
        self.labels_NRR = data.labels[rows]
        self.real_NCRR = data.images[torch.from_numpy(rows)].cpu().numpy()
        low, high = np.percentile(self.real_NCRR[:, 0], (0.5, 99.5))
        self.value_range = (float(low), float(high))

    @staticmethod
    def due(step: int, total: int, every: int) -> bool:
        """Whether a report at ``step`` is the first in its eighth of the run; the last report always is."""
        eighth = PICTURES_PER_RUN * step // total
        return eighth > PICTURES_PER_RUN * max(0, step - every) // total

    def samples(self, path: Path) -> Path:
        """Write a grid of samples: image beside mask; M-SG's masks stand beside their own grey levels."""
        masks = self.labels_NRR if self.sampler.card.variant == "c-sg" else None
        drawn = self.sampler.sample(self.z_ND, masks)
        return self._grid(path, drawn.images, drawn.labels)

    def real(self, path: Path) -> Path:
        """Write a grid of real training pairs."""
        images = None if self.sampler.card.variant == "m-sg" else self.real_NCRR
        return self._grid(path, images, self.labels_NRR)

    @torch.no_grad()
    def spread_of(self, network: Generator) -> Tensor:
        """Mean over pixels of the standard deviation of ``network``'s output over a few latents."""
        device = network.mapping.w_average.device
        condition = None
        if self.sampler.card.variant == "c-sg":
            condition = self.sampler.encode(self.labels_NRR[:PROBES]).to(device)
        return network(self.z_ND[:PROBES].to(device), condition).std(dim=0).mean()

    def _grid(self, path: Path, images: NDArray[np.float32] | None, labels: NDArray[np.uint8]) -> Path:
        if images is not None:
            return grid_png(path, images, labels, COLUMNS, value_range=self.value_range)
        levels = labels[:, None].astype(np.float32)
        return grid_png(path, levels, labels, COLUMNS, value_range=(0, self.sampler.card.classes - 1))
