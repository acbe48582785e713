"""Batches worked in parts: bit-equal where there is one, the whole batch's gradients where there are more, and less
memory."""

import json

import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from helpers.graph_memory import GraphMemory
from helpers.whole_phases import WholePhases
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build, save_segmenter
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings
from medsweep.trainers.stylegan2.cost import divides
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.networks import StyledConv
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.train import run
from medsweep.trainers.training.loop import read

FOLD = Fold(index=1, of=4)
TINY = {
    "batch_size": 8,
    "kimg": 0.048,
    "latent_dim": 8,
    "channel_base": 64,
    "channel_max": 8,
    "minibatch_std_group": 2,
    "path_length_every_steps": 2,
    "r1_every_steps": 2,
    "report_every_steps": 2,
}
MOST = {"augment": "ada", "ada_kimg": 0.05, "mismatch_weight": 0.5, "discriminator_form": "projection"}
ACROSS = [{"lecam_weight": 1.0}, {"spectrum_weight": 1.0}, {"focal_frequency_weight": 100.0}]
DIVISIBLE = [
    ("b-sg", {"augment": "none", "noise": False, "mask_form": "soft-one-hot"}),
    ("m-sg", {"minibatch_std_group": 1}),
    ("c-sg", {"batch_size": 12, "minibatch_std_group": 4, "mismatch_weight": 1.0, "augment": "ada-fixed"}),
    ("c-sg", MOST | {"segmenter_weight": 1.0}),
]


RELATIVISTIC = [
    ("b-sg", {"loss": "relativistic", "augment": "none"}),
    ("c-sg", {"loss": "relativistic", "mismatch_weight": 0.5, "augment": "ada-fixed"}),
]
"""D's last bias has no slope here, and Adam makes steps of its rounding: parts keep gradients, and not weights."""


def tiny(variant: str, **settings: object) -> GanConfig:
    return resolve(GanSettings(**(TINY | settings)), variant, FOLD, 5, 32)


def learner_of(slices, config, parts=1):
    """With noise that is heard and gains of the condition that are open, so that their draws count."""
    torch.set_num_threads(1)
    shape = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0)
    segmenter = build(shape, seed=0).eval().requires_grad_(False) if config.segmenter_weight else None
    data = TrainingSet.load(config, slices, "cpu")
    learner = GanLearner(config, data, "cpu", segmenter=segmenter, micro_batches=parts)
    for layer in learner.networks.g.modules():
        if isinstance(layer, StyledConv) and layer.noise_strength is not None:
            layer.noise_strength.data.fill_(0.3)
    return learner


def equal(one, other) -> bool:
    """Whether two states are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def gradient(network) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])


def gradients(learner) -> dict[str, torch.Tensor]:
    """What each phase leaves, one phase after the other."""
    phases, networks, found = learner.phases, learner.networks, {}
    phases.generator()
    found["generator"] = gradient(networks.g)
    phases.path_length()
    found["path length"] = gradient(networks.g)
    real = learner.batches.real()
    phases.discriminator(real, 3)  # ends no interval of the adapted p, so what was observed is still there
    found["discriminator"] = gradient(networks.d)
    phases.r1(real)
    return found | {"r1": gradient(networks.d)}


def gap(one, other) -> float:
    return float((one - other).norm() / other.norm())


def weights(learner) -> torch.Tensor:
    networks = learner.networks
    return torch.cat([weight.detach().flatten() for net in (networks.g, networks.d) for weight in net.parameters()])


@pytest.mark.parametrize(
    ("variant", "more"), [*DIVISIBLE, *RELATIVISTIC, ("b-sg", {}), ("c-sg", MOST | ACROSS[0] | ACROSS[1] | ACROSS[2])]
)
def test_the_whole_batch_as_one_part_is_bit_equal_to_the_paper(slices, variant, more):
    config = tiny(variant, **more)
    learner, plain = learner_of(slices, config), learner_of(slices, config)
    plain.phases = WholePhases(plain)
    for step in range(1, 5):
        assert learner.step(step) == plain.step(step)
    assert equal(learner.state_dict(), plain.state_dict())


@pytest.mark.parametrize(("variant", "more"), [*DIVISIBLE, *RELATIVISTIC])
def test_parts_have_the_gradients_and_draws_of_the_whole(slices, variant, more):
    config = tiny(variant, **more)
    whole = learner_of(slices, config)
    expected = gradients(whole)
    assert divides(config) == config.batch_size // config.group > 1
    for parts in range(2, min(divides(config), 4) + 1):
        learner = learner_of(slices, config, parts)
        found = gradients(learner)
        assert {name: gap(found[name], expected[name]) < 1e-5 for name in expected} == dict.fromkeys(expected, True)
        assert equal(learner.batches.state_dict(), whole.batches.state_dict())
        assert equal(learner.discriminator.state_dict(), whole.discriminator.state_dict())
        torch.testing.assert_close(learner.phases.mean_path_length, whole.phases.mean_path_length)


@pytest.mark.parametrize(("variant", "more"), DIVISIBLE)
def test_training_in_parts_comes_to_the_same_weights_and_reports(slices, variant, more):
    config = tiny(variant, **more)
    whole = learner_of(slices, config)
    start, said = weights(whole), read([whole.step(step) for step in (1, 2, 3)], last=3)
    for parts in range(2, min(divides(config), 4) + 1):
        learner = learner_of(slices, config, parts)
        for step, expected in zip((1, 2, 3), said, strict=True):
            assert read([learner.step(step)], last=step)[0] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert gap(weights(learner), weights(whole)) < 1e-5
        # Adam turns a gradient that is 0 but for rounding into a step of full length, of which these are free.
        assert gap(weights(learner) - start, weights(whole) - start) < 1e-3


@pytest.mark.parametrize("more", ACROSS)
def test_terms_that_look_across_the_batch_differ_in_parts(slices, monkeypatch, more):
    config = tiny("b-sg", **more)
    assert divides(config) == 1
    with pytest.raises(AssertionError, match="2 micro-batches, 1 are allowed"):
        learner_of(slices, config, 2)
    monkeypatch.setattr("medsweep.trainers.stylegan2.phases.divides", lambda config: 8)
    whole, parted = gradients(learner_of(slices, config)), gradients(learner_of(slices, config, 2))
    phase = "discriminator" if "lecam_weight" in more else "generator"
    assert gap(parted[phase], whole[phase]) > 1e-3


def test_torn_groups_would_differ(slices, monkeypatch):
    """What a part is made of whole groups for: their batch standard deviation."""
    config = tiny("b-sg", minibatch_std_group=4)
    assert divides(config) == 2
    whole = gradients(learner_of(slices, config))
    monkeypatch.setattr("medsweep.trainers.stylegan2.phases.divides", lambda config: 8)
    monkeypatch.setattr(GanConfig, "group", property(lambda config: 2))
    assert gap(gradients(learner_of(slices, config, 4))["discriminator"], whole["discriminator"]) > 1e-3


@pytest.mark.parametrize("phase", ["generator", "path_length", "discriminator", "r1"])
def test_every_phase_holds_the_graph_of_one_part_at_a_time(slices, phase):
    peaks = {}
    for parts in (1, 2, 4):
        learner = learner_of(slices, tiny("c-sg", batch_size=16, mismatch_weight=0.5, channel_base=128), parts)
        real = learner.batches.real()
        given = {"discriminator": (real, 1), "r1": (real,)}.get(phase, ())
        with GraphMemory() as memory:
            getattr(learner.phases, phase)(*given)
            assert memory.now == 0
        peaks[parts] = memory.peak
    assert peaks[2] < 0.6 * peaks[1]
    assert peaks[4] < 0.35 * peaks[1]


def test_a_run_goes_on_in_more_parts_than_it_began_with(slices, tmp_path):
    """As after it ran out of memory."""
    config, inputs = tiny("c-sg", segmenter_weight=0.5), {"prepare": slices, "reference": tmp_path / "reference"}
    inputs["reference"].mkdir()
    shape = SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0)
    save_segmenter(build(shape, seed=0), shape, inputs["reference"])
    seen = split(SliceSet.open(slices).patients, FOLD).train
    (inputs["reference"] / "fitted_on.json").write_text(json.dumps(seen))
    undisturbed = drain(run(config, inputs, FakeTrial(tmp_path / "whole")))
    begun = run(config, inputs, FakeTrial(tmp_path / "parts", due=True))
    next(begun), next(begun)
    begun.close()
    resumed = drain(run(config, inputs, FakeTrial(tmp_path / "parts", micro_batches=4)))
    assert [report.step for report in resumed] == [4, 6]
    for found, expected in zip(resumed, undisturbed[1:], strict=True):
        assert found.metrics == pytest.approx(expected.metrics, rel=1e-2, abs=1e-3)
    assert any(found.metrics != expected.metrics for found, expected in zip(resumed, undisturbed[1:], strict=True))
