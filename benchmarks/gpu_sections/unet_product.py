"""All that the sections know of the insides of ``trainers.segmentation``, of scoring and of pools."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from slices_made_up import made_up
from torch import Tensor, nn

from gpu_sections.gan_product import CLASSES
from medsweep.data.folds import Fold
from medsweep.data.geometry import Resize
from medsweep.trainers.measures.structures import score
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture, predict
from medsweep.trainers.segmentation.samples import SliceRows, TrainingSamples
from medsweep.trainers.segmentation.train import UNetLearner
from medsweep.trainers.training.checkpoint import load_state, save_state


def config_of(resolution: int, **settings: Any) -> SegmentConfig:
    """The config of a U-Net on real slices alone."""
    asked = SegmentSettings(**{"steps": 100_000} | settings)
    return resolve(asked, fold=Fold(index=0, of=2), seed=0, count=0, candidates=0, unit="slices", resolution=resolution)


class UNet:
    """One learner on made-up slices, and its step in pieces."""

    def __init__(self, config: SegmentConfig, device: str, slices: int) -> None:
        self.config, self.device = config, device
        images, masks = made_up(slices, config.resolution)
        samples = TrainingSamples(SliceRows(images, masks, np.arange(slices)), None, device)
        self.architecture = SegmenterArchitecture.of(config, modalities=1, classes=CLASSES)
        self.learner = UNetLearner(config, samples, self.architecture)
        self._number = 0

    @property
    def model(self) -> nn.Module:
        """The network that is trained."""
        return self.learner.model

    def in_half(self, half: bool) -> None:
        """Whether the network computes in bfloat16 under autocast."""
        self.learner._half = half

    def step(self) -> object:
        """A whole step, as a trial does it."""
        self._number += 1
        return self.learner.step(self._number)

    def batch(self) -> tuple[Tensor, Tensor]:
        """The next batch, augmented."""
        self._number += 1
        return self.learner._batch(self._number)[:2]

    def forward_backward(self, images: Tensor, masks: Tensor, half: bool) -> Tensor:
        """Loss of a batch, with its gradient left at the weights."""
        with self.precision(half):
            logits = self.model(images)
        loss = self.learner._loss(logits.float(), masks)
        torch.autograd.backward(loss)
        return loss.detach()

    def precision(self, half: bool) -> AbstractContextManager[Any]:
        """bfloat16 under autocast, or as it is."""
        kind = "cuda" if self.device.startswith("cuda") else "cpu"
        return torch.autocast(kind, torch.bfloat16) if half else nullcontext()

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """That of the network."""
        return self.learner._optimizer

    def weights(self) -> Tensor:
        """All weights and running means of what is published, flat, float64, on the CPU."""
        states = (self.learner.final_model.state_dict(), self.model.state_dict())
        return torch.cat([value.detach().cpu().double().flatten() for state in states for value in state.values()])

    def save(self, folder: Path) -> None:
        """Write a checkpoint as a trial does."""
        folder.mkdir(parents=True, exist_ok=True)
        save_state(folder, self.learner.state_dict() | {"number": self._number})

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint as a trial does."""
        state = load_state(folder, self.device)
        self._number = state.pop("number")
        self.learner.load_state_dict(state)


def average_of_tensors(mean: nn.Module, model: nn.Module) -> Callable[[], None]:
    """The running average of the weights, a tensor at a time."""

    @torch.no_grad()
    def update() -> None:
        for old, new in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 0.01)
            else:
                old.copy_(new)

    return update


def average_at_once(mean: nn.Module, model: nn.Module) -> Callable[[], None]:
    """The same in one call for all tensors."""
    pairs = list(zip(mean.state_dict().values(), model.state_dict().values(), strict=True))
    old = [pair[0] for pair in pairs if pair[0].is_floating_point()]
    new = [pair[1] for pair in pairs if pair[0].is_floating_point()]

    @torch.no_grad()
    def update() -> None:
        torch._foreach_lerp_(old, new, 0.01)

    return update


def score_patient(model: nn.Module, resolution: int, slices: int, side: int) -> dict[str, float]:
    """Seconds by part of scoring one made-up patient of ``slices`` planes of ``side`` pixels, as a trial does it."""
    images, masks = made_up(slices, side)
    resize = Resize.of(side, side, resolution)
    squares = resize.image(images[:, 0])[:, None]
    device = next(model.parameters()).device
    marks = [time.perf_counter()]
    with torch.no_grad():
        model(torch.from_numpy(squares[:8]).to(device))
    predict(model, torch.from_numpy(squares[:64]))
    marks = [time.perf_counter()]
    probabilities = predict(model, torch.from_numpy(squares)).numpy()
    marks.append(time.perf_counter())
    on_grid = resize.undo(probabilities)
    marks.append(time.perf_counter())
    labels = on_grid.argmax(axis=1).astype(np.uint8)
    marks.append(time.perf_counter())
    for structure in range(1, CLASSES):
        score(masks == structure, labels == structure, (3.0, 1.0, 1.0))
    marks.append(time.perf_counter())
    parts = ("predict and copy", "resize", "argmax", f"surfaces of {CLASSES - 1} structures")
    seconds = {name: later - earlier for name, earlier, later in zip(parts, marks, marks[1:], strict=False)}
    return seconds | {"all": marks[-1] - marks[0]}
