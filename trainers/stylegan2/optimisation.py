"""The two networks with their optimisers, and the averaged generator that is published."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medsweep.identity import derive_seed
from medsweep.trainers.stylegan2 import losses
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.stylegan2.layers import draw_weights
from medsweep.trainers.stylegan2.networks import Discriminator
from medsweep.trainers.stylegan2.spade import generator_of
from medsweep.trainers.training.restore import load_optimizer


class OptimisedNetworks:
    """G, D and the averaged G. Weights depend on fold, seed and variant, never on other settings."""

    def __init__(self, config: GanConfig, architecture: Architecture, device: str, purpose: tuple[str | int, ...]):
        self.g, self.d = generator_of(architecture), Discriminator(architecture)
        draw_weights(self.g, derive_seed(*purpose, "generator"))
        draw_weights(self.d, derive_seed(*purpose, "discriminator"))
        self.g, self.d = self.g.to(device), self.d.to(device)
        self.mean_g = copy.deepcopy(self.g).requires_grad_(False)
        self.adam_g = _adam(self.g, config, config.path_length_every_steps if config.path_length_weight else None)
        self.adam_d = _adam(self.d, config, config.r1_every_steps if config.r1_gamma else None)
        self._config = config
        self.synthesise: Callable[..., Tensor] = self.g.synthesise
        self.score: Callable[..., Tensor] = self.d.forward
        self._compiled: tuple[Callable[..., Tensor], Callable[..., Tensor]] | None = None

    def begin_from(self, generator: nn.Module) -> None:
        """Give G and the averaged G the weights and buffers of a generator of the same architecture."""
        for network in (self.g, self.mean_g):
            network.load_state_dict(generator.state_dict())

    @torch.no_grad()
    def average(self, seen_images: int) -> None:
        """Exponential mean of G's weights: beta = 0.5^(batch / half-life), a half-life that grows with images seen."""
        half_life = self._config.ema_kimg * 1000
        if self._config.ema_ramp_up:
            half_life = min(half_life, seen_images * self._config.ema_ramp_up)
        weight = 1 - 0.5 ** (self._config.batch_size / half_life)
        torch._foreach_lerp_(list(self.mean_g.parameters()), list(self.g.parameters()), weight)
        self.mean_g.mapping.w_average.copy_(self.g.mapping.w_average)

    def run_half(self, half_from: int | None) -> None:
        """Blocks from this resolution on compute in bfloat16; None for none, as the regularisers need."""
        self.g.half_from = self.d.half_from = half_from

    def compile(self, backend: str = "inductor") -> None:
        """Make compiled forms of G's synthesis and of D, which ``run_compiled`` turns on."""
        self._compiled = (
            torch.compile(self.g.synthesise, dynamic=False, backend=backend),
            torch.compile(self.d.forward, dynamic=False, backend=backend),
        )

    def run_compiled(self, on: bool) -> None:
        """Whether ``synthesise`` and ``score`` run the compiled forms, if there are any.

        Penalties must not: their second derivative is refused by torch, or is wrong without a word (``layers``).
        """
        eager = self.g.synthesise, self.d.forward
        self.synthesise, self.score = self._compiled if on and self._compiled else eager

    def use_channels_last(self) -> None:
        """Keep the weights of convolutions with channels as the innermost axis, as tensor cores want them."""
        for network in (self.g, self.d, self.mean_g):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs

    def _networks(self) -> dict[str, nn.Module]:
        return {"g": self.g, "d": self.d, "mean_g": self.mean_g}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam_g": self.adam_g, "adam_d": self.adam_d}

    def state_dict(self) -> dict[str, Any]:
        """Weights, buffers and optimisers."""
        return {name: owner.state_dict() for name, owner in (self._networks() | self._optimizers()).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, network in self._networks().items():
            network.load_state_dict(state[name])
        for name, optimizer in self._optimizers().items():
            load_optimizer(optimizer, state[name])


def _adam(network: nn.Module, config: GanConfig, regularised_every: int | None) -> torch.optim.Adam:
    learning_rate, betas = losses.lazy_adam(config.learning_rate, regularised_every)
    return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas, eps=1e-8, fused=True)
