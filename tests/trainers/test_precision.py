"""What is published or measured is computed in float32, and the switches are afterwards as they were."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from medsweep.data.folds import Fold
from medsweep.trainers.assessment.inception import inception_features
from medsweep.trainers.assessment.views import look
from medsweep.trainers.generation.intensity import IntensityRange
from medsweep.trainers.precision import exact, rounding
from medsweep.trainers.random_features import RandomFeatures
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build, features, predict
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.networks import Generator
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.sampler import GeneratorCard, Sampler

IMAGES = torch.zeros(3, 2, 32, 32)
EXACT, ROUNDED = ("highest", False), ("high", True)


def switches() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(params=[EXACT, ROUNDED, ("highest", True)])
def before(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """Switches as a test finds them; torch's own are the last."""
    found = switches()
    precision, torch.backends.cudnn.allow_tf32 = request.param
    torch.set_float32_matmul_precision(precision)
    yield request.param
    torch.set_float32_matmul_precision(found[0])
    torch.backends.cudnn.allow_tf32 = found[1]


@pytest.mark.parametrize(("context", "inside"), [(exact, EXACT), (lambda: rounding(tf32=True), ROUNDED)])
def test_switches_are_set_and_restored_even_after_an_error(
    before: tuple[str, bool], context: Callable[[], Any], inside: tuple[str, bool]
) -> None:
    with context():
        assert switches() == inside
    assert switches() == before
    with pytest.raises(KeyError), context():
        raise KeyError
    assert switches() == before


@pytest.mark.filterwarnings("error")
def test_a_measurement_inside_a_training_leaves_it_as_it_was() -> None:
    with rounding(tf32=True):
        with exact():
            assert switches() == EXACT
        assert switches() == ROUNDED


class Products(TorchDispatchMode):
    """Keeps how the switches stand at each product of matrices or convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, bool]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(func) for name in ("convolution", "mm", "matmul")):
            self.seen.append(switches())
        return func(*args, **(kwargs or {}))


def segmenter() -> nn.Module:
    return build(SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0), seed=0).eval()


def sampler() -> Sampler:
    settings = GanSettings(latent_dim=8, channel_base=64, channel_max=4, batch_size=4)
    architecture = Architecture.of(resolve(settings, "b-sg", Fold(index=0, of=2), 0, 32), 1, 2)
    told: dict[str, Any] = {"mask_form": "signed-distance", "mask_clip_px": 2.0, "intensity": IntensityRange()}
    card = GeneratorCard(variant="b-sg", architecture=architecture, modalities=1, classes=2, **told)
    return Sampler(card, Generator(architecture).eval().requires_grad_(False))


def extractor(images: Tensor) -> tuple[Tensor, ...]:
    return (images.float().flatten(1) @ torch.zeros(3 * 299 * 299, 4),)


MEASURED: dict[str, Callable[[], Any]] = {
    "predict": lambda: predict(segmenter(), IMAGES),
    "features": lambda: features(segmenter(), IMAGES),
    "look": lambda: look(segmenter(), IMAGES.numpy(), np.arange(3)),
    "random features": lambda: RandomFeatures(2)(IMAGES),
    "inception": lambda: inception_features(extractor, np.array([[0.0, 1.0]]), IMAGES),
    "samples": lambda: (made := sampler()).sample(torch.zeros(2, made.numbers_per_sample)),
}


@pytest.mark.parametrize("name", MEASURED)
def test_every_network_that_is_measured_with_computes_in_float32(name: str) -> None:
    with rounding(tf32=True):
        with Products() as products:
            MEASURED[name]()
        assert products.seen
        assert set(products.seen) == {EXACT}
        assert switches() == ROUNDED
