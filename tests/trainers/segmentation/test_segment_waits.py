"""A step of the U-Net never makes the CPU wait for the device: nothing that lies there is read within it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from medsweep.data.folds import Fold
from medsweep.trainers.segmentation import augment, optimisation, samples
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture
from medsweep.trainers.segmentation.samples import SliceRows, TrainingSamples
from medsweep.trainers.segmentation.train import UNetLearner
from medsweep.trainers.training.loop import read


class Device(TorchDispatchMode):
    """Takes some tensors, and all that is made from them, for those of a device, and counts how often one is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self._kept: list[Tensor] = []
        self._places: set[int] = set()

    def put(self, tensor: Tensor) -> Tensor:
        """Let ``tensor`` lie on the device."""
        # kept, since memory that is used again would lie there too
        self._kept.append(tensor)
        self._places.add(tensor.untyped_storage().data_ptr())
        return tensor

    def holds(self, value: Any) -> bool:
        if isinstance(value, list | tuple):
            return any(self.holds(each) for each in value)
        return isinstance(value, Tensor) and value.untyped_storage().data_ptr() in self._places

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        held = self.holds(args)
        if held and func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            self.reads += 1
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, list | tuple) else (result,):
            if held and isinstance(each, Tensor):
                self.put(each)
        return result


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that all uploads of a step go to."""
    device = Device()
    for module in (augment, optimisation, samples):
        monkeypatch.setattr(module, "upload", lambda tensor, _device: device.put(tensor.clone()))
    return device


SETTINGS: list[dict[str, Any]] = [
    {},
    {"augment": "full", "clip_norm": 1.0, "ema_half_life_steps": 5},
    {"loss": "dice-focal", "optimizer": "sgd", "class_weights": "inverse-frequency"},
    {"loss": "dice"},
    {"mixing": "fixed-exposure"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_step_reads_nothing_from_the_device_and_a_report_reads_once(settings: dict[str, Any], device: Device) -> None:
    asked = SegmentSettings(steps=9, batch_size=4, channels=(4, 8), residual_units=2, **settings)
    count = 8 if "mixing" in settings else 0
    shared = {"count": count, "candidates": 0, "unit": "slices", "resolution": 32}
    config = resolve(asked, fold=Fold(index=0, of=2), seed=0, **shared)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    images = rng.standard_normal((8, 2, 32, 32)).astype(np.float32)
    rows = SliceRows(images, rng.integers(0, 3, (8, 32, 32)).astype(np.uint8), np.arange(8))
    architecture = SegmenterArchitecture.of(config, modalities=2, classes=3)
    synthetic = SliceRows(images, rows.masks, np.arange(8)) if count else None
    learner = UNetLearner(config, TrainingSamples(rows, synthetic, "cpu"), architecture)
    for tensor in learner.model.state_dict().values():
        device.put(tensor)
    with device:
        scalars = [learner.step(number) for number in range(1, 4)]
    assert device.reads == 0
    parts = ["loss", "cross_entropy_real"] + ["cross_entropy_synthetic"] * (count > 0)
    assert all(device.holds(each[name]) for each in scalars for name in parts)
    assert [set(each) for each in read(scalars, last=3)] == [set(each) for each in scalars]
    with device:
        float(scalars[0]["loss"])
    assert device.reads == 1
