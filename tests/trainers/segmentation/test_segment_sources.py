"""Real and synthetic samples of a batch apart: whose statistics are kept, and what the weight of a loss does."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from medsweep.data.folds import Fold
from medsweep.trainers.segmentation import train
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build
from medsweep.trainers.segmentation.optimisation import make_loss
from medsweep.trainers.segmentation.samples import TrainingSamples
from medsweep.trainers.segmentation.sources import SplitNormalisation, loss_by_source
from medsweep.trainers.segmentation.train import UNetLearner

SYNTHETIC = np.array([False, True, True, False, True, False])
MASKS = torch.randint(0, 3, (6, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def config(**settings) -> SegmentConfig:
    given = SegmentSettings(channels=(4, 8), batch_size=6, steps=4, mixing="fixed-exposure", augment="none", **settings)
    return resolve(given, fold=Fold(index=0, of=4), seed=0, count=6, candidates=0, unit="slices", resolution=16)


def network() -> nn.Module:
    architecture = SegmenterArchitecture.of(config(), modalities=1, classes=3)
    return build(architecture, 0).train()


def images(shift: float = 5.0) -> torch.Tensor:
    drawn = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    return drawn + shift * torch.from_numpy(SYNTHETIC)[:, None, None, None]


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if "running" in name}


@pytest.mark.parametrize("normalise", ["split-statistics", "split-affine"])
def test_samples_are_normalised_with_their_like_and_tests_by_real_statistics(normalise):
    model, alone = network(), network()
    (logits,) = SplitNormalisation(model, normalise)(images(), SYNTHETIC)
    real, synthetic = torch.from_numpy(~SYNTHETIC), torch.from_numpy(SYNTHETIC)
    torch.testing.assert_close(logits[real], alone(images()[real]))
    kept = statistics(alone)
    torch.testing.assert_close(logits[synthetic], alone(images()[synthetic]))
    for name, value in statistics(model).items():
        torch.testing.assert_close(value, kept[name])


def test_scales_of_their_own_take_the_gradient_of_synthetic_samples():
    model = network()
    split = SplitNormalisation(model, "split-affine")
    split(images(), SYNTHETIC)[0][torch.from_numpy(SYNTHETIC)].square().sum().backward()
    shared = dict(model.named_parameters())
    assert split.own
    for name, own in split.own.items():
        assert own.grad is not None, name
        assert own.grad.any(), name
        assert not shared[name].grad.any(), name
    assert SplitNormalisation(model, "split-statistics").own == {}


def test_the_synthetic_loss_has_its_weight_and_both_their_share():
    loss = make_loss(config(), np.zeros(0, np.int64), torch.device("cpu"))
    logits = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    parts = [loss(logits[rows], MASKS[rows]) for rows in (torch.from_numpy(~SYNTHETIC), torch.from_numpy(SYNTHETIC))]
    for weight in (0.0, 0.25, 1.0):
        found = loss_by_source(loss, logits, MASKS, SYNTHETIC, weight)
        torch.testing.assert_close(found, 0.5 * parts[0] + weight * 0.5 * parts[1])
    alone = loss_by_source(loss, logits, MASKS, np.ones(6, bool), 0.5)
    torch.testing.assert_close(alone, 0.5 * loss(logits, MASKS))


def learner(**settings) -> UNetLearner:
    asked = config(**settings)
    drawn = torch.randn(12, 1, 16, 16, generator=torch.Generator().manual_seed(4))
    masks = torch.randint(0, 3, (12, 16, 16), generator=torch.Generator().manual_seed(5)).to(torch.uint8)
    samples = TrainingSamples.__new__(TrainingSamples)
    samples.__dict__.update(real=6, synthetic=6, device=torch.device("cpu"), ignores=False)
    samples.__dict__["batch"] = lambda rows: (drawn[torch.from_numpy(rows)], masks[torch.from_numpy(rows)])
    return UNetLearner(asked, samples, SegmenterArchitecture.of(asked, modalities=1, classes=3))


@pytest.mark.parametrize(
    "settings", [{"normalise": "split-affine"}, {"synthetic_weight": 0.5}, {"synthetic_gate": "cosine"}]
)
def test_training_goes_on_from_a_checkpoint_as_if_never_stopped(settings, monkeypatch):
    monkeypatch.setattr(train, "EVERY", 2)
    whole, halves = learner(**settings), learner(**settings)
    for number in (1, 2):
        whole.step(number), halves.step(number)
    state = copy.deepcopy(dict(halves.state_dict()))
    again = learner(**settings)
    again.load_state_dict(state)
    for number in (3, 4):
        whole.step(number), again.step(number)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"normalise": "split-affine"}, "needs real and synthetic samples in every batch, got mixing uniform"),
        ({"mixing": "pretrain", "synthetic_weight": 0.5}, "mixing pretrain has one kind in each"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        SegmentSettings(**settings)
