"""What is looked at now and then and changes nothing: variety, distance, noise, overfitting."""

import math

import torch
from torch import Tensor

from medsweep.identity import derive_seed
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.sample_distance import SampleDistance
from medsweep.trainers.generation.sample_grids import SampleGrids
from medsweep.trainers.stylegan2.batches import PairBatch, pairs_of
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.networks import StyledConv
from medsweep.trainers.stylegan2.optimisation import OptimisedNetworks
from medsweep.trainers.stylegan2.sampler import Sampler
from medsweep.trainers.training.accumulation import Scalars
from medsweep.trial import DivergedError

COLLAPSE_LATENTS = 8
COLLAPSED_BELOW = 1e-4
"""Mean over pixels of the standard deviation over latents, for a generator that has one picture left."""

OVERFITTING_SLICES = 64
"""Slices per side that overfitting is measured on."""


class Diagnostics:
    """Looks at the networks with latents and slices that never change; no random state of the training is touched."""

    def __init__(
        self,
        config: GanConfig,
        networks: OptimisedNetworks,
        data: TrainingSet,
        seed: int,
        *,
        sampler: Sampler,
        grids: SampleGrids,
    ):
        self._config, self._networks, self._sampler, self._grids = config, networks, sampler, grids
        self._data, self._seed = data, seed
        self._distance = distance_of(sampler, data, derive_seed("frechet", seed))

    def scalars(self, step: int) -> Scalars:
        """Scalars of one report.

        Raises:
            DivergedError: the generator emits one and the same picture, or something that is not a number.
        """
        scalars = self._variety(step) | self._noise() | self._overfitting()
        told = {"frechet_random": self._distance.value(step), "kimg": step * self._config.batch_size / 1000}
        return scalars | {name: torch.tensor(value, device=self._data.images.device) for name, value in told.items()}

    def _variety(self, step: int) -> Scalars:
        """Mean over pixels of the standard deviation of G over fixed latents (and masks), without noise."""
        spread = self._spread()
        value = float(spread)
        if not math.isfinite(value):
            raise DivergedError(f"the generator's pixels are no longer finite at step {step}")
        if value < COLLAPSED_BELOW:
            raise DivergedError(f"the generator collapsed to one picture by step {step}: SD over latents {value:.2g}")
        return {"variety": spread}

    @torch.no_grad()
    def _spread(self) -> Tensor:
        network = self._networks.g
        device, condition = network.mapping.w_average.device, None
        if self._sampler.card.paints:
            condition = self._sampler.encode(self._grids.labels_NRR[:COLLAPSE_LATENTS]).to(device)
        z_ND = self._grids.numbers_NS[:COLLAPSE_LATENTS, : network.architecture.latent_dim].to(device)
        images: Tensor = network(z_ND, condition)
        return images.std(dim=0).mean()

    def _noise(self) -> Scalars:
        """Learned strength of the noise input per layer, from the lowest resolution up."""
        layers = [layer for layer in self._networks.g.modules() if isinstance(layer, StyledConv)]
        strengths = [layer.noise_strength for layer in layers if layer.noise_strength is not None]
        return {f"noise_strength_{number}": value.detach().abs() for number, value in enumerate(strengths)}

    @torch.no_grad()
    def _overfitting(self) -> Scalars:
        """(E D(train) - E D(held out)) / (E D(train) - E D(generated)), without distortions: 0 is no overfitting.

        1 means that D takes held-out real slices for generated ones. Only folds with validation patients have held-out
        slices.
        """
        if self._data.held_out is None:
            return {}
        real, unseen = (pairs_of(data, self._rows(data), self._config) for data in (self._data, self._data.held_out))
        random = torch.Generator().manual_seed(self._seed)
        latent_dim, pixels = self._config.latent_dim, sum(self._networks.g.architecture.noise_pixels)
        numbers_NS = torch.randn(len(real.x), latent_dim + pixels, generator=random).to(real.x.device)
        z_ND, noise_NP = numbers_NS.split([latent_dim, pixels], dim=1)
        generated = PairBatch(self._networks.g(z_ND, real.condition, noise_NP), real.condition)
        train, held_out, fake = self._score(real), self._score(unseen), self._score(generated)
        return {"overfitting": (train - held_out) / (train - fake), "score_held_out": held_out}

    def _rows(self, data: TrainingSet) -> Tensor:
        """Evenly spaced slices, whole groups of the batch standard deviation."""
        group = self._config.group
        count = max(group, min(OVERFITTING_SLICES, len(data)) // group * group)
        return torch.from_numpy(data.spread(count)).to(data.images.device)

    def _score(self, pairs: PairBatch) -> Tensor:
        scores_N: Tensor = self._networks.d(pairs.x, pairs.condition)
        return scores_N.mean()


def distance_of(sampler: Sampler, data: TrainingSet, seed: int) -> SampleDistance:
    """What tells how far the samples of a generator in training are from slices."""
    card = sampler.card
    of_masks, numbers = card.variant == "m-sg", sampler.numbers_per_sample
    return SampleDistance(sampler.emit, data, seed, numbers=numbers, paints=card.paints, of_masks=of_masks)
