"""SPADE's generator: its norm by hand, what it obeys, what it costs, and a training of C-SPADE."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold
from medsweep.identity import digest_of
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings
from medsweep.trainers.stylegan2.cost import spade_macs
from medsweep.trainers.stylegan2.layers import draw_weights
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.sampler import load_generator
from medsweep.trainers.stylegan2.spade import MaskedNorm, SpadeGenerator
from medsweep.trainers.stylegan2.train import run

FOLD = Fold(index=1, of=4)
TINY = {"batch_size": 4, "kimg": 0.016, "latent_dim": 8, "channel_base": 128, "channel_max": 8, "report_every_steps": 2}


def tiny(**settings: object) -> GanConfig:
    return resolve(GanSettings(**(TINY | settings)), "c-spade", FOLD, 5, 32)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_the_masked_norm_by_hand(random):
    norm = MaskedNorm(4, 3)
    draw_weights(norm, 1)
    assert not norm.scale_shift.weight.any()
    norm.scale_shift.weight.data.normal_(generator=random)
    norm.scale_shift.bias.data.normal_(generator=random)
    x, mask = torch.randn(2, 4, 8, 8, generator=random), torch.randn(2, 3, 8, 8, generator=random)
    first = functional.conv2d(mask, norm.shared.weight * math.sqrt(2 / 27), norm.shared.bias * math.sqrt(2), padding=1)
    both = functional.conv2d(first.clamp_min(0), norm.scale_shift.weight / 6, norm.scale_shift.bias, padding=1)
    mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, correction=0)
    expected = (x - mean) / (variance + 1e-5).sqrt() * (1 + both[:, :4]) + both[:, 4:]
    torch.testing.assert_close(norm(x, mask), expected, rtol=1e-4, atol=1e-5)


def test_an_image_follows_its_own_mask_and_latent_alone(random):
    g = SpadeGenerator(Architecture.of(tiny(), 2, 3))
    draw_weights(g, 1)
    for layer in g.modules():
        if isinstance(layer, MaskedNorm):
            layer.scale_shift.weight.data.normal_(generator=random)
    z, mask = torch.randn(3, 8, generator=random), torch.randn(3, 3, 32, 32, generator=random)
    image = g(z, mask)
    assert image.shape == (3, 2, 32, 32)
    torch.testing.assert_close(g(z[1:2], mask[1:2]), image[1:2], rtol=1e-4, atol=1e-4)
    assert (g(z, mask.roll(1, 0)) - image).abs().mean() > 0.01
    assert (g(z.roll(1, 0), mask) - image).abs().mean() > 0.01


@pytest.mark.parametrize("base", [128, 512])
def test_counted_convolutions_agree_with_those_made(base):
    architecture = Architecture.of(tiny(channel_base=base, channel_max=32), 2, 3)
    g = SpadeGenerator(architecture).requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        g(torch.zeros(1, 8), torch.zeros(1, 3, 32, 32))
    assert spade_macs(architecture) == pytest.approx(counter.get_total_flops() / 2, rel=1e-6)


def test_what_the_generator_does_not_have_makes_no_new_trial():
    def address(**settings):
        return digest_of("gan", 3, tiny(**settings), {})

    for unread in (
        {"injection_form": "affine"},
        {"injection": "discriminator"},
        {"mapping_layers": 8},
        {"noise": False},
        {"style_mixing": 0.0},
        {"path_length_weight": 2.0},
        {"r1_gamma_mask_ratio": 7.0},
    ):
        assert address(**unread) == address()
    for read in ({"injection": "generator"}, {"discriminator_form": "projection"}, {"condition_resize": "nearest"}):
        assert address(**read) != address()


def test_a_trained_one_is_published_and_paints_masks(slices, tmp_path):
    trial = FakeTrial(tmp_path)
    config = tiny(mismatch_weight=0.5, loss="relativistic")
    reports = drain(run(config, {"prepare": slices}, trial))
    assert {"loss_g", "loss_d", "mismatch", "variety"} <= set(reports[-1].metrics)
    card = json.loads((trial.output / "generator.json").read_text())
    assert (card["variant"], card["architecture"]["generator"]) == ("c-spade", "spade")
    sampler = load_generator(trial.output)
    assert sampler.numbers_per_sample == 8
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[:, 8:20, 8:20] = 1
    pairs = sampler.sample(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), labels)
    assert pairs.images.shape == (2, 2, 32, 32)
    assert pairs.labels is labels
    with pytest.raises(ValueError, match="c-spade was given no masks"):
        sampler.sample(torch.zeros(1, 8))
