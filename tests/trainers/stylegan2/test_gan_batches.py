"""Rows, styles, and how often a step waits for the device."""

import numpy as np
import pytest
import torch

from helpers.host_waits import HostWaits
from medsweep.data.folds import Fold
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.batches import Batches
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings
from medsweep.trainers.stylegan2.layers import draw_weights
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.networks import Generator
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.training import rows
from medsweep.trainers.training.loop import read

TINY = {"batch_size": 4, "latent_dim": 8, "channel_base": 64, "channel_max": 8, "report_every_steps": 100}
MOST = {"augment": "ada", "lecam_weight": 1.0, "spectrum_weight": 1.0, "focal_frequency_weight": 1.0}


def tiny(variant: str, **settings: object) -> GanConfig:
    return resolve(GanSettings(**(TINY | settings)), variant, Fold(index=1, of=4), 5, 32)


def learner_of(slices, config: GanConfig, micro_batches: int = 1) -> GanLearner:
    data = TrainingSet.load(config, slices, "cpu")
    shape = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0)
    segmenter = build(shape, seed=0).eval().requires_grad_(False) if config.segmenter_weight else None
    return GanLearner(config, data, "cpu", segmenter=segmenter, micro_batches=micro_batches)


@pytest.mark.parametrize(
    ("variant", "more", "micro_batches"),
    [
        ("b-sg", {}, 1),
        ("b-sg", MOST, 1),
        ("c-sg", {"mismatch_weight": 0.5, "segmenter_weight": 1.0, "augment": "ada-fixed"}, 1),
        ("c-sg", MOST | {"discriminator_form": "projection", "injection_form": "concat"}, 1),
        ("m-sg", {"minibatch_std_group": 2, "mask_form": "soft-one-hot"}, 2),
    ],
)
def test_a_step_with_every_phase_waits_for_nothing(slices, variant, more, micro_batches):
    learner = learner_of(slices, tiny(variant, r1_every_steps=1, path_length_every_steps=1, **more), micro_batches)
    learner.step(1)
    with HostWaits() as waits:
        scalars = [learner.step(2), learner.step(3)]
    assert waits.lines == []
    assert {"path_length", "r1"} <= set(scalars[0])
    with HostWaits() as waits:
        read(scalars, last=3)
    assert len(waits.lines) == 1


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.tolist(), lambda x: x.sum().item(), lambda x: bool(x.sum() > 0), lambda x: float(x[0]),
        lambda x: x.cpu(), lambda x: x.numpy(), lambda x: x.to("cpu"), lambda x: x.to(device="cpu"), lambda x: x[x > 0],
        lambda x: torch.tensor([1.0]),
    ],
)  # fmt: skip
def test_every_way_to_wait_is_counted(work):
    with HostWaits() as waits:
        work(torch.ones(3))
    assert len(waits.lines) == 1


def test_rows_come_to_the_device_a_thousand_batches_at_a_time(monkeypatch):
    monkeypatch.setattr(rows, "BATCHES_AHEAD", 6)
    deck = Batches(tiny("b-sg"), range(10), "cpu", ("deck",))
    with HostWaits() as waits:
        drawn = torch.cat([deck.next_rows() for _ in range(15)])
    assert len(waits.lines) == 2
    for first in range(0, 60, 10):
        assert sorted(drawn[first : first + 10].tolist()) == list(range(10))


def styles_of(count: int, style_mixing: float) -> tuple[Generator, list[torch.Tensor]]:
    config = tiny("m-sg", style_mixing=style_mixing)
    g = Generator(Architecture.of(config, 1, 2))
    draw_weights(g, 1)
    deck = Batches(config, range(10), "cpu", ("styles",))
    with torch.no_grad():
        return g, [deck.styles(g, 3) for _ in range(count)]


def test_styles_change_to_another_latent_at_any_layer_or_nowhere():
    g, drawn = styles_of(3000, 0.9)
    layers = g.architecture.style_layers
    places = []
    for w_NLD in drawn:
        changes = (w_NLD[:, 1:] != w_NLD[:, :-1]).any(dim=2)
        assert (changes == changes[:1]).all()  # one place for the batch
        assert changes[0].sum() <= 1
        places.append(int(changes[0].nonzero()) + 1 if changes[0].any() else layers)
    counts = np.bincount(places, minlength=layers + 1)
    assert counts[0] == 0
    assert counts[layers] / 3000 == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(counts[1:layers] / 3000, 0.9 / (layers - 1), atol=0.025)


def test_without_mixing_all_layers_have_one_style():
    _, drawn = styles_of(20, 0.0)
    assert all((w_NLD == w_NLD[:, :1]).all() for w_NLD in drawn)
