"""What is looked at now and then and changes nothing: variety, noise strengths, overfitting of D."""

import math

import torch
from torch import Tensor

from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.data import TrainingSet
from medsweep.trainers.stylegan2.feed import pair_of
from medsweep.trainers.stylegan2.gallery import Gallery
from medsweep.trainers.stylegan2.networks import StyledConv
from medsweep.trainers.stylegan2.players import Players
from medsweep.trial import DivergedError

COLLAPSED_BELOW = 1e-4
"""Mean over pixels of the standard deviation over latents, for a generator that has one picture left."""

LOOKED_AT = 64
"""Slices per side that overfitting is measured on."""

Scalars = dict[str, Tensor]


class Diagnostics:
    """Looks at the players with latents and slices that never change; no random state of the training is touched."""

    def __init__(self, config: GanConfig, players: Players, gallery: Gallery, data: TrainingSet, seed: int):
        self._config, self._players, self._gallery = config, players, gallery
        self._train, self._held_out = data, data.held_out
        self._seed = seed

    def look(self, step: int) -> Scalars:
        """Scalars of one report.

        Raises:
            DivergedError: the generator emits one and the same picture, or something that is not a number.
        """
        return self._variety(step) | self._noise() | self._overfit()

    def _variety(self, step: int) -> Scalars:
        """Standard deviation of G over fixed latents (and masks)."""
        spread = self._gallery.spread_of(self._players.g)
        value = float(spread)
        if not math.isfinite(value):
            raise DivergedError(f"the generator's pixels are no longer finite at step {step}")
        if value < COLLAPSED_BELOW:
            raise DivergedError(f"the generator collapsed to one picture by step {step}: SD over latents {value:.2g}")
        return {"variety": spread}

    def _noise(self) -> Scalars:
        """Learned strength of the noise input per layer, from the lowest resolution up."""
        layers = [layer for layer in self._players.g.modules() if isinstance(layer, StyledConv)]
        strengths = [layer.noise_strength for layer in layers if layer.noise_strength is not None]
        return {f"noise_strength_{number}": value.detach().abs() for number, value in enumerate(strengths)}

    @torch.no_grad()
    def _overfit(self) -> Scalars:
        """(E D(train) - E D(held out)) / (E D(train) - E D(generated)), without distortions: 0 is no overfitting.

        1 means that D takes held-out real slices for generated ones. Only folds with a validation part have held-out
        slices.
        """
        if self._held_out is None:
            return {}
        train, fresh = self._real_score(self._train), self._real_score(self._held_out)
        fake = self._fake_score()
        return {"overfitting": (train - fresh) / (train - fake), "score_held_out": fresh}

    def _count(self, data: TrainingSet) -> int:
        group = self._config.group
        return max(group, min(LOOKED_AT, len(data)) // group * group)

    def _real_score(self, data: TrainingSet) -> Tensor:
        rows = torch.from_numpy(data.spread(self._count(data))).to(data.images.device)
        pair = pair_of(data, rows, self._config)
        return self._players.d(pair.x, pair.condition).mean()

    def _fake_score(self) -> Tensor:
        data, device = self._train, self._train.images.device
        rows = torch.from_numpy(data.spread(self._count(data))).to(device)
        random = torch.Generator().manual_seed(self._seed)
        z_ND = torch.randn(len(rows), self._config.latent_dim, generator=random).to(device)
        condition = data.channels[rows].float() if self._config.variant == "c-sg" else None
        g = self._players.g
        fake = g.synthesise(g.broadcast(g.mapping(z_ND)), condition, None)
        return self._players.d(fake, condition).mean()
