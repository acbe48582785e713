"""One step of adversarial training, and the whole state that the next step depends on."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medsweep.identity import derive_seed
from medsweep.trial import DivergedError
from trainers.stylegan2 import losses
from trainers.stylegan2.augment import DiffAugment
from trainers.stylegan2.config import GanConfig
from trainers.stylegan2.data import Deck, TrainingSet
from trainers.stylegan2.gallery import Gallery
from trainers.stylegan2.layers import draw_weights
from trainers.stylegan2.masks import background
from trainers.stylegan2.networks import Architecture, Discriminator, Generator, StyledConv
from trainers.stylegan2.sampler import GeneratorCard, Sampler

PATH_LENGTH_DECAY = 0.01
COLLAPSED_BELOW = 1e-4
"""Mean over pixels of the standard deviation over latents, for a generator that has one picture left."""

Pair = tuple[Tensor, Tensor | None]
"""What D judges: (N, C, R, R), and for C-SG its condition (N, K, R, R)."""

Scalars = dict[str, Tensor]


class GanLearner:
    """StyleGAN2 training: G before D, lazy R1 and path length penalties, averaged generator (Karras et al. 2020)."""

    def __init__(self, config: GanConfig, data: TrainingSet, device: str):
        self.config, self.data, self.device = config, data, device
        modalities, classes = data.images.shape[1], data.channels.shape[1]
        plan = Architecture.of(config, modalities, classes)
        purpose = ("gan", config.variant, config.fold.index, config.seed)
        self.g, self.d = Generator(plan), Discriminator(plan)
        draw_weights(self.g, derive_seed(*purpose, "generator"))
        draw_weights(self.d, derive_seed(*purpose, "discriminator"))
        self.g, self.d = self.g.to(device), self.d.to(device)
        self.mean_g = copy.deepcopy(self.g).requires_grad_(False)
        self.mean_path_length = torch.zeros((), device=device)
        self.host_random = torch.Generator().manual_seed(derive_seed(*purpose, "host"))
        self.random = torch.Generator(device).manual_seed(derive_seed(*purpose, "device"))
        self.deck = Deck(len(data), self.host_random)
        self.adam_g = _adam(self.g, config, config.path_length_every_steps if config.path_length_weight else None)
        self.adam_d = _adam(self.d, config, config.r1_every_steps if config.r1_gamma else None)
        images = 0 if config.variant == "m-sg" else modalities
        fill_C = np.concatenate([np.zeros(images, np.float32), background(classes)])
        self.distort = DiffAugment(images, torch.from_numpy(fill_C).to(device)[:, None, None])
        gammas = [config.r1_gamma] * images + [config.r1_gamma * config.r1_gamma_mask_ratio] * classes
        self.gamma_C = torch.tensor(gammas[: plan.channels], device=device)
        self.card = GeneratorCard(
            variant=config.variant,
            architecture=plan,
            modalities=modalities,
            classes=classes,
            mask_form=config.mask_form,
            mask_clip_px=config.mask_clip_px,
        )
        self.gallery = Gallery(self.sampler, data, derive_seed(*purpose, "gallery"))

    @property
    def sampler(self) -> Sampler:
        """The averaged generator."""
        return Sampler(self.card, self.mean_g)

    def step(self, number: int) -> Mapping[str, float]:
        """One step of G, one of D, each followed by its regularisation step where that is due.

        Raises:
            DivergedError: the generator emits one and the same picture, or something that is not a number.
        """
        config = self.config
        scalars = self._generator_phase()
        if config.path_length_weight and (number - 1) % config.path_length_every_steps == 0:
            scalars |= self._path_length_phase()
        real = self._real_batch()
        scalars |= self._discriminator_phase(real)
        if config.r1_gamma and (number - 1) % config.r1_every_steps == 0:
            scalars |= self._r1_phase(real)
        self._average_generator(number * config.batch_size)
        if number % config.report_every_steps == 0:
            scalars |= self._require_variety(number)
        return dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Weights, optimisers, running means, data order and random generators."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {
            "mean_path_length": self.mean_path_length,
            "deck": self.deck.state(),
            "host_random": self.host_random.get_state(),
            "random": self.random.get_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Return to a state that ``state()`` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.mean_path_length.copy_(state["mean_path_length"])
        self.deck.load(state["deck"])
        self.host_random.set_state(state["host_random"])
        self.random.set_state(state["random"])

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        """A grid of samples at up to eight reports of the run."""
        if not self.gallery.due(step, self.config.total_steps, self.config.report_every_steps):
            return {}
        return {"samples": self.gallery.samples(folder / "samples" / f"{step:06d}.png")}

    def _parts(self) -> dict[str, Any]:
        return {"g": self.g, "d": self.d, "mean_g": self.mean_g, "adam_g": self.adam_g, "adam_d": self.adam_d}

    def _real_batch(self) -> Pair:
        rows = self.deck.draw(self.config.batch_size).to(self.device)
        channels = self.data.channels[rows].float()
        if self.config.variant == "m-sg":
            return channels, None
        images = self.data.images[rows]
        return (torch.cat([images, channels], dim=1), None) if self.config.variant == "b-sg" else (images, channels)

    def _masks(self) -> Tensor | None:
        """A fresh batch of masks to condition on, for C-SG."""
        if self.config.variant != "c-sg":
            return None
        return self.data.channels[self.deck.draw(self.config.batch_size).to(self.device)].float()

    def _latents(self, count: int) -> Tensor:
        return torch.randn(count, self.config.latent_dim, generator=self.random, device=self.device)

    def _styles(self, count: int, *, track: bool = False) -> Tensor:
        """One w per layer (N, L, D), with style mixing (Karras et al. 2019, section 3.1)."""
        w_ND = self.g.mapping(self._latents(count))
        if track:
            self.g.mapping.track(w_ND)
        w_NLD = self.g.broadcast(w_ND)
        if torch.rand((), generator=self.host_random) >= self.config.style_mixing:
            return w_NLD
        layers = w_NLD.shape[1]
        cut = int(torch.randint(1, layers, (), generator=self.host_random))
        other_NLD = self.g.broadcast(self.g.mapping(self._latents(count)))
        return torch.cat([w_NLD[:, :cut], other_NLD[:, cut:]], dim=1)

    def _scores(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """D's verdict on distorted pairs; image and mask of a pair are moved alike, before any averaging of masks."""
        if self.config.augment == "diffaugment":
            pair = x if condition is None else torch.cat([x, condition], dim=1)
            pair = self.distort(pair, self.random)
            x, condition = pair[:, : x.shape[1]], None if condition is None else pair[:, x.shape[1] :]
        return self.d(x, condition)

    def _generator_phase(self) -> Scalars:
        self.d.requires_grad_(False)
        masks = self._masks()
        fake = self.g.synthesise(self._styles(self.config.batch_size, track=True), masks, self.random)
        loss = losses.generator_loss(self._scores(fake, masks))
        self.d.requires_grad_(True)
        norm = _descend(self.adam_g, loss)
        strengths = [layer.noise_strength for layer in self.g.modules() if isinstance(layer, StyledConv)]
        noise = torch.stack(strengths).detach().abs().mean()
        return {"loss_g": loss.detach(), "grad_norm_g": norm, "noise_strength": noise}

    def _path_length_phase(self) -> Scalars:
        config = self.config
        half = max(1, config.batch_size // 2)
        masks = self._masks()
        w_NLD = self._styles(half)
        images = self.g.synthesise(w_NLD, None if masks is None else masks[:half], self.random)
        lengths_N = losses.path_lengths(images, w_NLD, self.random)
        self.mean_path_length.lerp_(lengths_N.detach().mean(), PATH_LENGTH_DECAY)
        penalty = config.path_length_weight * losses.path_length_penalty(lengths_N, self.mean_path_length)
        _descend(self.adam_g, penalty * config.path_length_every_steps)
        return {"path_length": self.mean_path_length.clone()}

    def _discriminator_phase(self, real: Pair) -> Scalars:
        x, masks = real
        with torch.no_grad():
            fake = self.g.synthesise(self._styles(len(x)), masks, self.random)
        both = None if masks is None else torch.cat([masks, masks])
        real_N, fake_N = self._scores(torch.cat([x, fake]), both).chunk(2)
        loss = losses.discriminator_loss(real_N, fake_N)
        norm = _descend(self.adam_d, loss)
        sign, gap = real_N.detach().sign().mean(), (real_N.mean() - fake_N.mean()).detach()
        return {"loss_d": loss.detach(), "grad_norm_d": norm, "real_sign": sign, "score_gap": gap}

    def _r1_phase(self, real: Pair) -> Scalars:
        x = real[0].detach().requires_grad_(True)
        penalty = losses.r1_penalty(self._scores(x, real[1]), x, self.gamma_C)
        _descend(self.adam_d, penalty * self.config.r1_every_steps)
        return {"r1": penalty.detach()}

    @torch.no_grad()
    def _average_generator(self, seen_images: int) -> None:
        """Exponential mean of G's weights with a half-life that grows with the images seen."""
        half_life = min(self.config.ema_kimg * 1000, seen_images * self.config.ema_ramp_up)
        weight = 1 - 0.5 ** (self.config.batch_size / half_life)
        torch._foreach_lerp_(list(self.mean_g.parameters()), list(self.g.parameters()), weight)
        self.mean_g.mapping.w_average.copy_(self.g.mapping.w_average)

    def _require_variety(self, number: int) -> Scalars:
        """Standard deviation of G over fixed latents (and masks); no random state is touched."""
        spread = self.gallery.spread_of(self.g)
        value = float(spread)
        if not math.isfinite(value):
            raise DivergedError(f"the generator's pixels are no longer finite at step {number}")
        if value < COLLAPSED_BELOW:
            raise DivergedError(f"the generator collapsed to one picture by step {number}: SD over latents {value:.2g}")
        return {"variety": spread}


def _adam(network: nn.Module, config: GanConfig, regularised_every: int | None) -> torch.optim.Adam:
    learning_rate, betas = losses.lazy_adam(config.learning_rate, regularised_every)
    return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas, eps=1e-8, fused=True)


def _descend(adam: torch.optim.Adam, loss: Tensor) -> Tensor:
    """One optimiser step down ``loss``; returns the norm of the gradient before it."""
    weights = adam.param_groups[0]["params"]
    for weight in weights:
        weight.grad = None
    loss.backward()
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    adam.step()
    return norm
