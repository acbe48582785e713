"""What the players are fed: real pairs in a random order, masks to condition on, latents, and the styles made of them.

N samples, C channels, K classes, R pixels, L style layers, D latent dimensions.
"""

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.identity import derive_seed
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.data import Deck, TrainingSet
from medsweep.trainers.stylegan2.networks import Generator
from medsweep.trainers.training.accumulation import Part


@dataclass(frozen=True)
class Pair:
    """What D judges."""

    x: Tensor
    """(N, C, R, R): images, masks, or both, by variant."""
    condition: Tensor | None
    """(N, K, R, R) for C-SG."""

    def of(self, part: Part) -> "Pair":
        """Some of the pairs."""
        return Pair(self.x[part.rows], None if self.condition is None else self.condition[part.rows])

    def shuffled(self) -> "Pair":
        """Every x beside the condition of its neighbour, the last beside that of the first."""
        return Pair(self.x, None if self.condition is None else self.condition.roll(1, dims=0))


@dataclass(frozen=True)
class Masks:
    """A batch of masks for C-SG to paint images for."""

    condition: Tensor
    """(N, K, R, R), continuous."""
    rows: NDArray[Any]
    """Which training slices they belong to."""

    def of(self, part: Part) -> "Masks":
        """Some of the masks."""
        return Masks(self.condition[part.rows], self.rows[part.rows])


def pair_of(data: TrainingSet, rows: Tensor, config: GanConfig) -> Pair:
    """The real pairs of some slices, as the variant arranges them."""
    channels = data.channels[rows].float()
    if config.variant == "m-sg":
        return Pair(channels, None)
    images = data.images[rows]
    return Pair(torch.cat([images, channels], dim=1), None) if config.variant == "b-sg" else Pair(images, channels)


class Feed:
    """Batches and latents of one training, all from seeded generators whose states are part of a checkpoint."""

    def __init__(self, config: GanConfig, data: TrainingSet, device: str, purpose: tuple[str | int, ...]):
        self.config, self.data, self.device = config, data, device
        self.host_random = torch.Generator().manual_seed(derive_seed(*purpose, "host"))
        self.random = torch.Generator(device).manual_seed(derive_seed(*purpose, "device"))
        self._deck = Deck(len(data), self.host_random)

    def real(self) -> Pair:
        """The next batch of real pairs."""
        return pair_of(self.data, self._rows(), self.config)

    def real_images(self) -> Tensor:
        """A fresh batch of real images (N, C, R, R), for terms that compare spectra."""
        return self.data.images[self._rows()]

    def masks(self, count: int | None = None) -> Masks | None:
        """A fresh batch of masks for C-SG; None for the others."""
        if self.config.variant != "c-sg":
            return None
        rows = self._rows()[:count]
        return Masks(self.data.channels[rows].float(), rows.cpu().numpy())

    def _rows(self) -> Tensor:
        return self._deck.draw(self.config.batch_size).to(self.device)

    def styles(self, g: Generator, count: int, *, track: bool = False) -> Tensor:
        """One w per layer (N, L, D), with style mixing (Karras et al. 2019, section 3.1)."""
        w_ND = g.mapping(self._latents(count))
        if track:
            g.mapping.track(w_ND)
        w_NLD = g.broadcast(w_ND)
        if torch.rand((), generator=self.host_random) >= self.config.style_mixing:
            return w_NLD
        cut = int(torch.randint(1, w_NLD.shape[1], (), generator=self.host_random))
        other_NLD = g.broadcast(g.mapping(self._latents(count)))
        return torch.cat([w_NLD[:, :cut], other_NLD[:, cut:]], dim=1)

    def _latents(self, count: int) -> Tensor:
        return torch.randn(count, self.config.latent_dim, generator=self.random, device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """Data order and random generators."""
        return {
            "deck": self._deck.state_dict(),
            "host_random": self.host_random.get_state(),
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        self._deck.load_state_dict(state["deck"])
        self.host_random.set_state(state["host_random"])
        self.random.set_state(state["random"])
