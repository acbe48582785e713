"""Snapshots of a training: weights, normalisation statistics and second moments of the gradient at some of its steps.

They let a later stage measure what the network learned from at each time, without training it again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from medsweep.trainers.segmentation.config import SNAPSHOT_PERCENTS, SegmentConfig

_WEIGHTS: Final = "weights."
_SECOND_MOMENTS: Final = "second_moments."


@dataclass(frozen=True)
class Snapshot:
    """A network in training, after ``percent`` of its steps."""

    percent: int
    weights: Mapping[str, Tensor]
    """Weights and normalisation statistics by name, as ``nn.Module.state_dict`` names them."""
    second_moments: Mapping[str, Tensor]
    """Running mean of the squared gradient (Kingma and Ba 2015, v) by the weight's name; empty without AdamW."""


class Snapshots:
    """Takes the snapshots that a config asks for and keeps them on the CPU until they are saved.

    They are kept in memory and travel with checkpoints, so that a resumed training leaves the same files.
    """

    def __init__(self, config: SegmentConfig) -> None:
        percents = SNAPSHOT_PERCENTS[config.snapshots]
        self._steps = {f"{percent:03d}": math.ceil(percent * config.steps / 100) for percent in percents}
        self._taken: dict[str, dict[str, Tensor]] = {}

    def take(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Copy the network after ``step`` (1, 2, ...) if a snapshot of it is asked for."""
        due = [name for name, at in self._steps.items() if at == step]
        if not due:
            return
        tensors = {_WEIGHTS + name: value for name, value in model.state_dict().items()}
        for name, weight in model.named_parameters():
            state = optimizer.state.get(weight, {})
            if "exp_avg_sq" in state:
                tensors[_SECOND_MOMENTS + name] = state["exp_avg_sq"]
        for name in due:
            self._taken[name] = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """For a checkpoint."""
        return self._taken

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Return to what ``state_dict`` returned."""
        self._taken = {name: {key: value.cpu() for key, value in each.items()} for name, each in state.items()}

    def save(self, folder: Path) -> None:
        """Write ``snapshot-PERCENT.safetensors`` for each into ``folder``."""
        for name, tensors in self._taken.items():
            save_file(tensors, folder / f"snapshot-{name}.safetensors")


def load_snapshots(folder: Path) -> list[Snapshot]:
    """The snapshots in a segment trial's output ``folder``, the earliest first, on the CPU."""
    return [_load(path) for path in sorted(folder.glob("snapshot-*.safetensors"))]


def _load(path: Path) -> Snapshot:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    parts = [
        {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}
        for kind in (_WEIGHTS, _SECOND_MOMENTS)
    ]
    return Snapshot(int(path.stem.removeprefix("snapshot-")), *parts)
