"""One step of denoising, and the whole state that the next step depends on."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from medsweep.identity import derive_seed
from medsweep.trainers.diffusion import edm
from medsweep.trainers.diffusion.config import DiffusionConfig
from medsweep.trainers.diffusion.network import Denoiser, DenoiserArchitecture, build
from medsweep.trainers.diffusion.sampler import ChannelScale, DenoiserCard, DiffusionSampler
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.sample_grids import SampleGrids
from medsweep.trainers.generators import Sampling
from medsweep.trainers.training.accumulation import (
    MicroBatch,
    Random,
    Scalars,
    accumulate,
    normal,
    split_batch,
    uniform,
)
from medsweep.trainers.training.descent import descend
from medsweep.trainers.training.restore import load_optimizer
from medsweep.trainers.training.rows import SeededRows

EMA_RAMP_UP: Final = 0.05
"""The half-life of the average is at most this share of the slices seen so far, as in Karras et al. 2022."""
PICTURES_PER_RUN: Final = 4
QUICK: Final = Sampling(steps=10)
"""How pictures are drawn while the training runs."""
WATCHED: Final = 32
"""Slices per side whose loss is watched."""


class DiffusionLearner:
    """Denoising score matching with the weights of EDM, Adam and an averaged network.

    ``micro_batches`` is at most the batch; but for rounding nothing depends on it. The network begins with the weights
    of ``start``, where one is given.
    """

    def __init__(
        self,
        config: DiffusionConfig,
        data: TrainingSet,
        device: str,
        *,
        channels_last: bool = False,
        micro_batches: int = 1,
        start: DiffusionSampler | None = None,
    ):
        self.config, self._data, self._device = config, data, torch.device(device)
        modalities, classes = data.images.shape[1], data.channels.shape[1]
        architecture = DenoiserArchitecture.of(config, modalities, classes)
        purpose = ("diffusion", config.variant, config.fold.index, config.seed)
        network = build(architecture, derive_seed(*purpose, "network"))
        if start is not None:
            network.load_state_dict(start.network.state_dict())
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network: Denoiser = network.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        self.mean = copy.deepcopy(self.network).requires_grad_(False)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        self.rows = SeededRows(len(data), config.batch_size, device, purpose)
        self._micro_batches = split_batch(config.batch_size, micro_batches)
        masks = () if config.variant == "c-dm" else data.channels.unbind(1)
        card = DenoiserCard(
            variant=config.variant,
            architecture=architecture,
            modalities=modalities,
            classes=classes,
            mask_clip_px=config.mask_clip_px,
            intensity=data.intensity,
            scale=ChannelScale.of([*data.images.unbind(1), *masks]),
        )
        self.sampler = DiffusionSampler(card, self.mean)
        self.grids, self._quick_grids = (
            SampleGrids(sampler, data, derive_seed(*purpose, "gallery"), paints=config.variant == "c-dm")
            for sampler in (self.sampler, self.sampler.with_sampling(QUICK))
        )
        self._watch_seed = derive_seed(*purpose, "watch")
        self._done = 0

    def step(self, number: int) -> Scalars:
        """One step down the loss of a batch; the scalars stay on the device."""
        self._done = number
        clean, condition = self._slices(self._data, self.rows.next_rows())

        def loss_of(micro_batch: MicroBatch, random: Random) -> tuple[Tensor, Scalars]:
            shown = None if condition is None else condition[micro_batch.rows]
            loss = self._loss(self.network, clean[micro_batch.rows], shown, random)
            return loss, {"loss": loss.detach()}

        self.adam.zero_grad()
        means = accumulate(loss_of, self._micro_batches, self.rows.random)
        means["grad_norm"] = descend(self.adam)
        self._average(number * self.config.batch_size)
        return means | (self._watched() if number % self.config.report_every_steps == 0 else {})

    def _slices(self, data: TrainingSet, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is drawn, at the scale of the network, and for C-DM the masks beside it."""
        images, masks = data.images[rows], data.channels[rows].float()
        if self.config.variant == "c-dm":
            return self.sampler.card.scale.inwards(images), masks
        return self.sampler.card.scale.inwards(torch.cat([images, masks], dim=1)), None

    def _loss(self, network: Denoiser, clean: Tensor, condition: Tensor | None, random: Random) -> Tensor:
        """E lambda(s) |D(y + n; s) - y|^2 per channel and pixel (Karras et al. 2022, eq. 8)."""
        config = self.config
        levels_N = edm.noise_levels(normal((len(clean),), random, self._device), config.noise_mean, config.noise_sd)
        noise = normal(clean.shape, random, self._device)
        if condition is not None:
            hidden_N = uniform((len(clean),), random, self._device) < config.unmasked_share
            condition = condition * edm.as_factor(~hidden_N)
        estimate: Tensor = network(clean + edm.as_factor(levels_N) * noise, levels_N, condition)
        errors_N = (estimate - clean).square().mean(dim=(1, 2, 3))
        return (edm.loss_weight(levels_N) * errors_N).mean()

    @torch.no_grad()
    def _average(self, seen: int) -> None:
        """Exponential mean of the weights, by a half-life that grows with the slices seen."""
        half_life = min(self.config.ema_kimg * 1000, seen * EMA_RAMP_UP)
        weight = 1 - 0.5 ** (self.config.batch_size / half_life)
        torch._foreach_lerp_(list(self.mean.parameters()), list(self.network.parameters()), weight)

    @torch.no_grad()
    def _watched(self) -> Scalars:
        """The averaged network's loss on slices it learns from and on held-out ones, with noise that never changes."""
        if self._data.held_out is None:
            return {}
        found = {}
        for name, data in (("loss_seen", self._data), ("loss_held_out", self._data.held_out)):
            clean, condition = self._slices(data, torch.from_numpy(data.spread(WATCHED)).to(self._device))
            random = torch.Generator(self._device).manual_seed(self._watch_seed)
            found[name] = self._loss(self.mean, clean, condition, random)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser, data order and random generators."""
        owners = {"network": self.network, "mean": self.mean, "adam": self.adam, "rows": self.rows}
        return {name: owner.state_dict() for name, owner in owners.items()} | {"step": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> Sequence[str]:
        """Return to what ``state_dict`` returned; what of it cannot go on here is said."""
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        load_optimizer(self.adam, state["adam"])
        self._done = state["step"]
        note = self.rows.load_state_dict(state["rows"], self._done)
        return [note] if note else []

    def pictures(self, step: int, folder: Path) -> Mapping[str, Path]:
        """A grid of samples at up to four reports before the last."""
        total, every = self.config.total_steps, self.config.report_every_steps
        if step == total or not self.grids.due(step, total, every, PICTURES_PER_RUN):
            return {}
        return {"samples": self._quick_grids.write_samples(folder / "samples" / f"{step:06d}.png")}
