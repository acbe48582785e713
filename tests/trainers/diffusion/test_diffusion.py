"""The diffusion stage: config, learning, parts of batches, sampling with and without masks, divergence."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from helpers.fake_trial import FakeTrial, drain
from helpers.graph_memory import GraphMemory
from medsweep.data.folds import Fold
from medsweep.execution.gpu_memory import SPARE
from medsweep.identity import digest_of
from medsweep.trainers.diffusion.config import DiffusionConfig, DiffusionSettings, resolve
from medsweep.trainers.diffusion.cost import probe
from medsweep.trainers.diffusion.family import DIFFUSION
from medsweep.trainers.diffusion.learner import DiffusionLearner
from medsweep.trainers.diffusion.network import DenoiserArchitecture, build, macs
from medsweep.trainers.diffusion.sampler import load_denoiser
from medsweep.trainers.diffusion.train import run
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generators import Sampling
from medsweep.trainers.training.contract import counted_bytes
from medsweep.trainers.training.loop import read
from medsweep.trial import DivergedError

FOLD = Fold(index=1, of=4)
PEAK_APART = SPARE - 1
"""What a trial is given beyond the peak of its probe, whatever its family."""
TINY = {"kimg": 0.032, "batch_size": 8, "width": 8, "report_every_steps": 2}


def tiny(variant: str, **settings: object) -> DiffusionConfig:
    return resolve(DiffusionSettings(**(TINY | settings)), variant, FOLD, 5, 32)


def learner_of(slices, config: DiffusionConfig, parts: int = 1) -> DiffusionLearner:
    torch.set_num_threads(1)
    return DiffusionLearner(config, TrainingSet.load(config, slices, "cpu"), "cpu", micro_batches=parts)


def address(config: DiffusionConfig) -> str:
    return digest_of("diffusion", 1, config, {})


@pytest.mark.parametrize(
    ("resolution", "widths", "blocks", "batch"),
    [(16, (32, 64), 1, 16), (64, (32, 64, 64, 64), 1, 16), (128, (64, 128, 256, 256, 256), 2, 32)],
)
def test_the_size_follows_from_the_resolution(resolution, widths, blocks, batch):
    config = resolve(DiffusionSettings(), "b-dm", FOLD, 0, resolution)
    assert (DenoiserArchitecture.of(config, 1, 3).widths, config.blocks, config.batch_size) == (widths, blocks, batch)


def test_what_a_variant_does_not_read_makes_no_new_trial():
    assert address(tiny("b-dm", unmasked_share=0.5)) == address(tiny("b-dm"))
    assert address(tiny("c-dm", unmasked_share=0.5)) != address(tiny("c-dm"))


def test_impossible_settings_are_refused():
    with pytest.raises(ValidationError, match="power of two from 16 to 512, got 48"):
        resolve(DiffusionSettings(), "b-dm", FOLD, 0, 48)
    with pytest.raises(ValidationError, match="multiple of 8"):
        DiffusionSettings(width=20)


def test_a_price_follows_the_counted_network():
    small, wide = tiny("b-dm"), tiny("b-dm", width=16)
    assert macs(DenoiserArchitecture.of(wide, 1, 3)) > 3 * macs(DenoiserArchitecture.of(small, 1, 3))
    assert DIFFUSION.stage.length == "diffusion.kimg"
    assert DIFFUSION.stage.hours(tiny("b-dm", kimg=0.064)) == pytest.approx(2 * DIFFUSION.stage.hours(small))
    assert DIFFUSION.stage.hours(wide) > DIFFUSION.stage.hours(small)


def test_a_probe_keeps_what_memory_depends_on_and_nothing_else():
    assert probe(tiny("c-dm", noise_mean=0.0, kimg=7.0, learning_rate=0.1)) == probe(tiny("c-dm"))
    for change in ({"width": 16}, {"blocks": 2}, {"batch_size": 4}):
        assert probe(tiny("c-dm", **change)) != probe(tiny("c-dm"))
    assert probe(tiny("c-dm")).total_steps == 2


def test_memory_does_not_grow_and_a_probe_comes_to_the_same(slices):
    asked = tiny("c-dm", report_every_steps=4, kimg=0.048)
    held, peaks = {}, {}
    for name, config in (("probe", probe(asked)), ("training", asked)):
        with counted_bytes() as held_bytes, GraphMemory() as memory:
            before, steps = held_bytes(), config.total_steps
            learner = learner_of(slices, config)
            for number in range(1, steps + 1):
                read([learner.step(number)], last=number)
                assert memory.now == 0, "a graph outlives its step"
                if number in (2, steps):
                    held[name, number] = held_bytes() - before
        peaks[name] = memory.peak + held[name, steps]
        del learner
    assert held["training", 6] == pytest.approx(held["training", 2], rel=0.01)
    assert peaks["probe"] == pytest.approx(peaks["training"], rel=PEAK_APART)


@pytest.mark.parametrize("variant", ["b-dm", "c-dm"])
def test_parts_have_the_gradients_and_draws_of_the_whole(slices, variant):
    found = []
    for parts in (1, 3):
        learner = learner_of(slices, tiny(variant, unmasked_share=0.5), parts)
        learner.network.unet.out[2].conv.weight.data.normal_(generator=torch.Generator().manual_seed(1))
        learner.step(1)
        found.append(torch.cat([weight.grad.flatten() for weight in learner.network.parameters()]))
        state = learner.rows.random.get_state()
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-5 * float(found[0].abs().max()))
    assert torch.equal(state, learner.rows.random.get_state())


def test_a_few_steps_lower_the_loss_on_slices_seen(slices):
    learner = learner_of(slices, tiny("b-dm", learning_rate=0.002, report_every_steps=40))
    scalars = read([learner.step(number) for number in range(1, 41)], last=40)
    first, last = (np.mean([step["loss"] for step in part]) for part in (scalars[:8], scalars[-8:]))
    assert last < 0.8 * first


def test_held_out_slices_are_watched_where_there_are_any(slices):
    fold = Fold(index=1, of=4, validation=0.2)
    config = resolve(DiffusionSettings(**TINY), "c-dm", fold, 5, 32)
    scalars = read([learner_of(slices, config).step(2)], last=2)[0]
    assert {"loss_seen", "loss_held_out"} <= set(scalars)
    assert "loss_seen" not in learner_of(slices, tiny("c-dm")).step(2)


def published(slices, folder, variant: str, **settings: object):
    trial = FakeTrial(folder)
    drain(run(tiny(variant, **settings), {"prepare": slices}, trial))
    return trial


def test_a_published_network_draws_what_it_drew_before(slices, tmp_path):
    trial = published(slices, tmp_path, "c-dm")
    sampler = load_denoiser(trial.output)
    assert {"denoiser.safetensors", "denoiser.json", "real.png", "samples.png", "hardware.json"} <= {
        path.name for path in trial.output.iterdir()
    }
    numbers = torch.randn(2, sampler.numbers_per_sample, generator=torch.Generator().manual_seed(0))
    labels = np.zeros((2, 32, 32), np.uint8)
    labels[:, 8:20, 8:20] = 1
    drawn = {
        (steps, weight): sampler.with_sampling(Sampling(steps=steps, guidance=weight)).sample(numbers, labels).images
        for steps, weight in ((4, 1.0), (8, 1.0), (4, 0.0), (4, 3.0))
    }
    assert np.array_equal(sampler.with_sampling(Sampling(steps=4)).sample(numbers, labels).images, drawn[4, 1.0])
    assert len({image.tobytes() for image in drawn.values()}) == 4
    with pytest.raises(ValueError, match="c-dm was given no masks"):
        sampler.sample(numbers)


def test_without_weight_a_mask_says_nothing(slices, tmp_path):
    sampler = load_denoiser(published(slices, tmp_path, "c-dm", learning_rate=0.01).output)
    numbers = torch.randn(1, sampler.numbers_per_sample, generator=torch.Generator().manual_seed(0))
    masks = [np.full((1, 32, 32), value, np.uint8) for value in (0, 1)]
    for weight, same in ((0.0, True), (1.0, False)):
        asked = sampler.with_sampling(Sampling(steps=3, guidance=weight))
        first, second = (asked.sample(numbers, mask).images for mask in masks)
        assert np.allclose(first, second, atol=1e-5) is same


def test_channels_are_scaled_to_the_spread_that_the_method_is_made_for(slices):
    learner = learner_of(slices, tiny("b-dm"))
    clean, _ = learner._slices(learner._data, torch.arange(len(learner._data)))
    torch.testing.assert_close(clean.mean(dim=(0, 2, 3)), torch.zeros(clean.shape[1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(clean.std(dim=(0, 2, 3)), torch.full((clean.shape[1],), 0.5), atol=1e-3, rtol=0)
    back = learner.sampler.card.scale.outwards(clean)
    torch.testing.assert_close(back[:, : learner._data.images.shape[1]], learner._data.images, atol=1e-5, rtol=1e-5)


def test_a_loss_that_leaves_the_numbers_is_named(slices, tmp_path):
    with pytest.raises(DivergedError, match=r"(loss|grad_norm) became (nan|inf) at step"):
        published(slices, tmp_path, "b-dm", learning_rate=1e30)


def test_the_network_is_that_of_its_seed_whatever_was_drawn_before():
    shape = DenoiserArchitecture(resolution=16, channels=2, condition_channels=0, width=8, blocks=1)
    first = build(shape, 1)
    torch.rand(3)
    second = build(shape, 1)
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))
