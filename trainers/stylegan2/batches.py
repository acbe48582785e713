"""Batches of one training: real pairs in a random order, masks to condition on, latents, and the styles made of them.

N samples, C channels, K classes, R pixels, L style layers, D latent dimensions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.stylegan2.config import PAINTERS, GanConfig
from medsweep.trainers.stylegan2.networks import LatentGenerator
from medsweep.trainers.training.accumulation import MicroBatch, normal, uniform
from medsweep.trainers.training.rows import SeededRows


@dataclass(frozen=True)
class PairBatch:
    """A batch of pairs as D sees them."""

    x: Tensor
    """(N, C, R, R): images, masks, or both, by variant."""
    condition: Tensor | None
    """(N, K, R, R) for ``PAINTERS``."""

    def of(self, micro_batch: MicroBatch) -> "PairBatch":
        """The pairs of a micro-batch."""
        rows = micro_batch.rows
        return PairBatch(self.x[rows], None if self.condition is None else self.condition[rows])


@dataclass(frozen=True)
class MaskBatch:
    """A batch of masks for ``PAINTERS`` to paint images for; empty for the other variants."""

    condition: Tensor | None
    """(N, K, R, R), continuous, for ``PAINTERS``."""
    rows: Tensor
    """Which training slices they belong to, int64 (N,) on the device."""

    def of(self, micro_batch: MicroBatch) -> "MaskBatch":
        """The masks of a micro-batch."""
        rows = micro_batch.rows
        return MaskBatch(None if self.condition is None else self.condition[rows], self.rows[rows])


def pairs_of(data: TrainingSet, rows: Tensor, config: GanConfig) -> PairBatch:
    """The real pairs of some slices, as the variant arranges them."""
    channels = data.channels[rows].float()
    if config.variant == "m-sg":
        return PairBatch(channels, None)
    images = data.images[rows]
    if config.variant == "b-sg":
        return PairBatch(torch.cat([images, channels], dim=1), None)
    return PairBatch(images, channels)


class Batches(SeededRows):
    """Batches and latents of one training, all from seeded generators whose states are part of a checkpoint."""

    def __init__(self, config: GanConfig, data: TrainingSet, device: str, purpose: tuple[str | int, ...]):
        super().__init__(len(data), config.batch_size, device, purpose)
        self.config, self.data = config, data
        self._rows: Callable[[], Tensor] = self.next_rows

    @contextmanager
    def rows_from(self, source: Callable[[], Tensor]) -> Iterator[None]:
        """Let ``source`` give the rows of each batch for a while, int64 (N,) on the device."""
        self._rows = source
        try:
            yield
        finally:
            self._rows = self.next_rows

    def real(self) -> PairBatch:
        """The next batch of real pairs."""
        return pairs_of(self.data, self._rows(), self.config)

    def real_beside(self, masks: MaskBatch) -> PairBatch:
        """Real pairs to compare generated ones with: those of the masks that were painted, or else the next ones."""
        return self.real() if masks.condition is None else pairs_of(self.data, masks.rows, self.config)

    def real_images(self) -> Tensor:
        """A fresh batch of real images (N, C, R, R), for terms that compare spectra."""
        return self.data.images[self._rows()]

    def masks(self, count: int | None = None) -> MaskBatch:
        """A fresh batch of masks for ``PAINTERS``; the others get none, and nothing is drawn."""
        if self.config.variant not in PAINTERS:
            return MaskBatch(None, self._order[:0])
        rows = self._rows()[:count]
        return MaskBatch(self.data.channels[rows].float(), rows)

    def styles(self, g: LatentGenerator, count: int, *, track: bool = False) -> Tensor:
        """One w per layer (N, L, D), with style mixing (Karras et al. 2019, section 3.1).

        Where the styles change is decided on the device: from layer 1, ..., L - 1 on, or nowhere, which is L.
        """
        mixing, layers, device = self.config.style_mixing, g.architecture.style_layers, torch.device(self.device)
        mapped = g.mapping(normal((2 * count if mixing else count, self.config.latent_dim), self.random, device))
        w_ND = mapped[:count]
        if track:
            g.mapping.track(w_ND)
        if not mixing:
            return g.broadcast(w_ND)
        chance, place = uniform((2,), self.random, device)
        first_of_other = torch.where(chance < mixing, 1 + (place * (layers - 1)).long(), layers)
        own_L1 = (torch.arange(layers, device=device) < first_of_other)[:, None]
        return torch.where(own_L1, w_ND[:, None], mapped[count:, None])
