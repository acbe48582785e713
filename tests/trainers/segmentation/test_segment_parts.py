"""Why no segmenter's batch is worked in parts: what looks across it, in every network and in every loss."""

from typing import get_args

import numpy as np
import pytest
import torch

from medsweep.data.folds import Fold
from medsweep.study.stages import STAGES
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build
from medsweep.trainers.segmentation.networks import OURS
from medsweep.trainers.segmentation.optimisation import make_loss
from medsweep.trainers.training.accumulation import accumulate, split_batch

SAMPLES = 4
CHANNELS = {"swin-unetr": (12, 24, 48, 96, 192)}
LOSSES = get_args(SegmentSettings.model_fields["loss"].annotation)
WEIGHTS = get_args(SegmentSettings.model_fields["class_weights"].annotation)


def config(**settings):
    given = SegmentSettings(**{"channels": (4, 8), "batch_size": 4} | settings)
    return resolve(given, fold=Fold(index=0, of=2), seed=0, count=0, candidates=0, unit="slices", resolution=32)


def gradient(weights, loss_of, parts):
    """Of the mean loss of ``SAMPLES``, all ``weights`` in one row."""
    for weight in weights:
        weight.grad = None
    accumulate(lambda part, _: (loss_of(part.rows), {}), split_batch(SAMPLES, parts), torch.Generator())
    return torch.cat([weight.grad.flatten() for weight in weights])


def gap(weights, loss_of, parts=2):
    """How far the gradient of the batch in parts is from that of the whole, relative."""
    whole = gradient(weights, loss_of, 1)
    return float((gradient(weights, loss_of, parts) - whole).norm() / whole.norm())


def random():
    return torch.Generator().manual_seed(1)


NORMALISED = [name for name, network in OURS.items() if network.batch_normalised]


@pytest.mark.parametrize(("network", "units"), [("unet", 0), *((network, 2) for network in NORMALISED)])
def test_networks_look_across_the_batch_through_its_statistics_alone(network, units):
    """With frozen statistics the samples are strangers to each other, as in training they are not."""
    torch.set_num_threads(1)
    asked = config(network=network, channels=CHANNELS.get(network, (4, 8)), residual_units=units)
    model = build(SegmenterArchitecture.of(asked, modalities=2, classes=3), seed=0)
    images = torch.randn(SAMPLES, 2, 32, 32, generator=random()) * torch.arange(1, SAMPLES + 1)[:, None, None, None]
    wanted = torch.randn(SAMPLES, 3, 32, 32, generator=random())

    def squared(rows):
        return (model(images[rows]) - wanted[rows]).square().mean()

    weights = list(model.parameters())
    assert gap(weights, squared) > 0.01
    model.eval()
    assert gap(weights, squared) < 1e-5
    assert STAGES["segment"].divides(asked) == 1


@pytest.fixture
def logits():
    return torch.randn(SAMPLES, 3, 16, 16, generator=random(), requires_grad=True)


def part_of_loss(logits, name, weights, without=None):
    """A loss of some rows; less another one, so that what it adds to that stands alone."""
    labels = torch.randint(0, 3, (SAMPLES, 16, 16), generator=random())
    labels[: SAMPLES // 2] = labels[: SAMPLES // 2].clamp(max=1)  # the samples differ in what they show
    pixels, cpu = np.array([100, 10, 1]), torch.device("cpu")
    one = make_loss(config(loss=name, class_weights=weights), pixels, cpu)
    other = make_loss(config(loss=without, class_weights=weights), pixels, cpu) if without else lambda *_: 0.0
    return lambda rows: one(logits[rows], labels[rows]) - other(logits[rows], labels[rows])


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_look_across_the_batch(logits, name, weights):
    assert gap([logits], part_of_loss(logits, name, weights)) > 0.01
    assert STAGES["segment"].divides(config(loss=name, class_weights=weights)) == 1


@pytest.mark.parametrize(
    ("name", "weights", "is_a_mean"),
    [
        ("dice-ce", "none", True),
        ("dice-ce", "inverse-frequency", False),
        ("dice-focal", "none", True),
        ("dice-focal", "inverse-frequency", True),
    ],
)
def test_beside_dice_the_weighted_cross_entropy_alone_is_no_mean_over_samples(logits, name, weights, is_a_mean):
    found = gap([logits], part_of_loss(logits, name, weights, without="dice"))
    assert found < 1e-4 if is_a_mean else found > 0.01
