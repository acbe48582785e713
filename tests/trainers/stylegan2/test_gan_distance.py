"""The Fréchet distance that is watched during training: what it sees, and that training does not notice it."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.generation.sample_distance import SAMPLES, SampleDistance
from medsweep.trainers.measures.frechet import frechet
from medsweep.trainers.random_features import RandomFeatures
from medsweep.trainers.stylegan2.config import GanConfig, GanSettings, Variant
from medsweep.trainers.stylegan2.diagnostics import distance_of
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.train import run
from medsweep.trial import DivergedError

TINY = {"batch_size": 4, "kimg": 0.024, "latent_dim": 8, "channel_base": 64, "channel_max": 8, "report_every_steps": 2}


def tiny(variant: str) -> GanConfig:
    return resolve(GanSettings(**TINY), variant, Fold(index=1, of=4), 5, 32)


@pytest.mark.parametrize("variant", get_args(Variant))
def test_it_changes_no_weight_and_draws_from_no_stream_of_the_training(slices, tmp_path, monkeypatch, variant):
    def weights(name: str) -> bytes:
        drain(run(tiny(variant), {"prepare": slices}, FakeTrial(tmp_path / name)))
        return (tmp_path / name / "output" / "generator.safetensors").read_bytes()

    looked = weights("looked")
    monkeypatch.setattr(SampleDistance, "value", lambda self, step: 0.0)
    assert weights("blind") == looked


def test_it_is_the_distance_of_the_samples_that_the_sampler_makes_from_the_slices(slices):
    learner = GanLearner(tiny("b-sg"), (data := TrainingSet.load(tiny("b-sg"), slices, "cpu")), "cpu")
    learner.step(1)
    found = distance_of(learner.sampler, data, 7)
    count = min(SAMPLES, len(data))
    numbers_NS = torch.randn(count, learner.sampler.numbers_per_sample, generator=torch.Generator().manual_seed(7))
    made = torch.from_numpy(learner.sampler.sample(numbers_NS).images)
    real = data.intensity.to_slices(data.images[torch.from_numpy(data.spread(count))])
    network = RandomFeatures(real.shape[1])
    assert found.value(1) == pytest.approx(frechet(network(real).numpy(), network(made).numpy()), rel=1e-3)
    assert found.value(1) == found.value(2), "nothing is drawn anew"


def test_better_samples_are_nearer(slices):
    data = TrainingSet.load(tiny("b-sg"), slices, "cpu")
    distance = distance_of(GanLearner(tiny("b-sg"), data, "cpu").sampler, data, 7)
    far = distance.value(1)
    rows = torch.from_numpy((data.spread(SAMPLES) + 1) % len(data))
    distance._samples = lambda part: data.images[rows[part]]
    assert distance.value(1) < 0.1 * far


def test_each_report_tells_it_and_the_thousands_of_images(slices, tmp_path):
    reports = drain(run(tiny("c-sg"), {"prepare": slices}, FakeTrial(Path(tmp_path))))
    assert [report.metrics["kimg"] for report in reports] == pytest.approx([0.008, 0.016, 0.024])
    assert all(np.isfinite(report.metrics["frechet_random"]) for report in reports)


def test_samples_that_are_not_finite_are_named(slices):
    data = TrainingSet.load(tiny("b-sg"), slices, "cpu")
    distance = distance_of(GanLearner(tiny("b-sg"), data, "cpu").sampler, data, 7)
    broken = replace(data, images=data.images * float("nan"))
    distance._samples = lambda part: broken.images[part]
    with pytest.raises(DivergedError, match="no longer finite at step 3"):
        distance.value(3)
