"""All that the sections know of the insides of ``trainers.stylegan2``: configs, phases, gradients, precision.

N samples, C channels, R pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # the first optimiser would import it, which takes seconds
from slices_made_up import made_up
from torch import Tensor, nn

from medsweep.data.folds import Fold
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.device import DeviceSettings, device_settings
from medsweep.trainers.generation.masks import encode
from medsweep.trainers.stylegan2.batches import PairBatch
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings
from medsweep.trainers.stylegan2.cost import flops_per_image
from medsweep.trainers.stylegan2.graphs import GraphedPhase, MainPhase, Recorder
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.training.checkpoint import load_state, save_state

MAIN, PENALTIES = ("G", "D"), ("R1", "path length")
PHASES = (*MAIN, *PENALTIES)
CLASSES = 3
HALF_LEVELS = 4
NEVER = 10**9
"""Steps between reports, so that no measured step makes one."""
SLICES = 64


def config_of(variant: str, resolution: int, **settings: Any) -> GanConfig:
    """The config of a GAN that never reports."""
    asked = GanSettings(**{"report_every_steps": NEVER} | settings)
    return resolve(asked, variant, Fold(index=0, of=2), 0, resolution)


def gflop_per_image(config: GanConfig) -> float:
    """Billions of operations of the whole training per real image, by the count that prices trials."""
    return flops_per_image(config) / 1e9


def training_set(config: GanConfig, device: str) -> TrainingSet:
    """Made-up slices as a GAN holds them."""
    images, labels = made_up(SLICES, config.resolution)
    channels = encode(labels, CLASSES, config.mask_form, config.mask_clip_px).astype(np.float16)
    return TrainingSet(
        patients=("p",),
        images=torch.from_numpy(images).to(device),
        channels=torch.from_numpy(channels).to(device),
        labels=labels,
    )


def plan(device: str, resolution: int, **changed: Any) -> DeviceSettings:
    """What a trial on this device would do, or on a CPU what it would do on a GPU, with fields ``changed``."""
    settings = device_settings(device, resolution)
    if device == "cpu":
        half_from = max(4, resolution >> (HALF_LEVELS - 1))
        settings = replace(settings, tf32=True, half_from=half_from, channels_last=True)
    return replace(settings, **changed)


@dataclass(frozen=True)
class Held:
    """Tensors in place and copies of what they held."""

    pairs: list[tuple[Tensor, Tensor]]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back where it was, into the same memory."""
        for tensor, copy in self.pairs:
            tensor.copy_(copy)


class Gan:
    """One learner, its phases by name, and what is compared of it."""

    def __init__(
        self, config: GanConfig, settings: DeviceSettings, micro_batches: int = 1, recorder: Recorder | None = None
    ) -> None:
        self.config, self.settings = config, settings
        data = training_set(config, settings.device)
        self.learner = GanLearner(
            config,
            data,
            settings.device,
            device_settings=settings,
            micro_batches=micro_batches,
            recorder=recorder,
        )
        self._recorder = recorder
        self.networks, self.phases = self.learner.networks, self.learner.phases
        self.random = self.learner.batches.random
        self._real = self.learner.batches.real()

    def phase(self, name: str, half: bool | None = None) -> Callable[[], object]:
        """One phase, in bfloat16 where it is a main phase, or where ``half`` says so."""
        half = name in MAIN if half is None else half
        half_from = self.settings.half_from if half else None
        work = {
            "G": self.phases.generator,
            "D": lambda: self.phases.discriminator(self._real, 1),
            "R1": self._penalty(self._r1, self.networks.adam_d),
            "path length": self._penalty(lambda real: self.phases.path_length(), self.networks.adam_g),
        }[name]

        def run() -> object:
            self.networks.run_half(half_from)
            return work()

        return run

    def _r1(self, real: PairBatch | None) -> dict[str, Tensor]:
        assert real is not None
        return self.phases.r1(real)

    def _penalty(self, phase: MainPhase, adam: torch.optim.Optimizer) -> Callable[[], object]:
        """A penalty, which the product never records, made a graph here where main phases are."""
        if self._recorder is None:
            return lambda: phase(self._real)
        graphed = GraphedPhase(phase, adam, self.learner.batches, self._recorder)
        return lambda: graphed(self._real)

    def due(self) -> dict[str, float]:
        """How often each phase runs per step."""
        config = self.config
        shares = {"G": 1.0, "D": 1.0}
        if config.r1_gamma:
            shares["R1"] = 1 / config.r1_every_steps
        if config.path_length_weight:
            shares["path length"] = 1 / config.path_length_every_steps
        return shares

    def step(self, number: int) -> object:
        """A whole step of the training."""
        return self.learner.step(number)

    def network(self, phase: str) -> nn.Module:
        """The network that a phase moves."""
        return self.networks.d if phase in ("D", "R1") else self.networks.g

    def adam(self, phase: str) -> torch.optim.Optimizer:
        """Its optimiser."""
        return self.networks.adam_d if phase in ("D", "R1") else self.networks.adam_g

    def gradient(self, phase: str) -> Tensor:
        """The gradient that a phase has left, flat, float64, on the CPU; weights that it does not reach count as 0."""
        weights = self.network(phase).parameters()
        grads = (torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights)
        return torch.cat([grad.detach().cpu().double().flatten() for grad in grads])

    def weights(self, phase: str) -> Tensor:
        """The weights that a phase moves, flat, float64, on the CPU."""
        weights = self.network(phase).parameters()
        return torch.cat([weight.detach().cpu().double().flatten() for weight in weights])

    @torch.no_grad()
    def shake(self, seed: int = 1) -> None:
        """Move all weights of G and D by the same random numbers on every device, so that none is 0 or 1 by design."""
        random = torch.Generator().manual_seed(seed)
        for network in (self.networks.g, self.networks.d):
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn(weight.shape, generator=random).to(weight.device))

    def hold(self) -> Held:
        """A copy of weights, buffers, moments and running means, which can be put back."""
        tensors = [self.phases.mean_path_length]
        for network in (self.networks.g, self.networks.d, self.networks.mean_g):
            tensors += [*network.parameters(), *network.buffers()]
        for adam in (self.networks.adam_g, self.networks.adam_d):
            tensors += [moment for state in adam.state.values() for moment in state.values()]
        return Held([(tensor.data, tensor.detach().clone()) for tensor in tensors])

    def forget(self) -> None:
        """Let both optimisers begin anew, and drop all gradients."""
        for adam in (self.networks.adam_g, self.networks.adam_d):
            adam.state.clear()
            adam.zero_grad(set_to_none=True)

    def moments_lie_as_weights(self) -> bool:
        """Whether every moment of Adam has the strides of its weight."""
        return all(
            moment.stride() == weight.stride()
            for adam in (self.networks.adam_g, self.networks.adam_d)
            for weight, state in adam.state.items()
            for moment in state.values()
            if moment.shape == weight.shape and weight.dim()
        )

    def save(self, folder: Path) -> None:
        """Write a checkpoint as a trial does."""
        folder.mkdir(parents=True, exist_ok=True)
        save_state(folder, self.learner.state_dict())

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint as a trial does."""
        self.learner.load_state_dict(load_state(folder, self.settings.device))


@contextmanager
def same_numbers(seed: int) -> Iterator[None]:
    """Random numbers that do not depend on the device: every seeded draw comes from one generator on the CPU."""
    host = torch.Generator().manual_seed(seed)
    originals = {name: getattr(torch, name) for name in ("rand", "randn", "randint", "randperm")}

    def drawn_by(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def draw(*args: Any, generator: Any = None, device: Any = None, **kwargs: Any) -> Tensor:
            if generator is None:
                return original(*args, device=device, **kwargs)
            return original(*args, generator=host, **kwargs).to(device or generator.device)

        return draw

    try:
        for name, original in originals.items():
            setattr(torch, name, drawn_by(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(torch, name, original)


def compile_main_phases(gan: Gan, backend: str) -> None:
    """Compile the synthesis of G and the judgement of D. Penalties must not be run afterwards."""
    gan.networks.compile(backend)
    gan.networks.run_compiled(True)
