"""Learning, not only running: samples come closer to real slices, and C-SG obeys the mask that G is shown."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.folds import Fold, split
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run as prepare
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source
from medsweep.trainers.assessment.config import AssessConfig
from medsweep.trainers.assessment.evidence import PoolEvidence
from medsweep.trainers.assessment.metrics import pool_metrics
from medsweep.trainers.assessment.real_side import RealSide
from medsweep.trainers.generation.data import TrainingSet
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentSettings
from medsweep.trainers.segmentation.config import resolve as resolve_segmenter
from medsweep.trainers.segmentation.network import load_segmenter, predict
from medsweep.trainers.segmentation.train import run as segment
from medsweep.trainers.stylegan2.config import GanSettings
from medsweep.trainers.stylegan2.learner import GanLearner
from medsweep.trainers.stylegan2.resolve import resolve
from medsweep.trainers.stylegan2.sampler import Sampler

FOLD = Fold(index=0, of=3)
POOL = 192


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 made-up patients of 20 slices at 32 pixels; 16 train."""
    trial = FakeTrial(tmp_path_factory.mktemp("cohort"))
    data = DataConfig(dataset="phantom", phantom=PhantomConfig(patients=24, seed=5), resolution=32)
    drain(prepare(PrepareConfig(**dict(data), source=inspect_source(data, trial.scratch).fingerprint), {}, trial))
    return trial.output


@pytest.fixture(scope="module")
def referee(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    """A U-Net trained on the real slices of the training patients."""
    trial = FakeTrial(tmp_path_factory.mktemp("referee"))
    settings = SegmentSettings(steps=250, learning_rate=0.01, channels=(8, 16, 32), augment="rigid")
    config = resolve_segmenter(settings, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    drain(segment(config, {"prepare": cohort}, trial))
    return load_segmenter(trial.output, "cpu")


def trained(cohort: Path, variant: str, kimg: float, snapshots: tuple[float, ...], **settings: object):
    """The learner of a short training, and what it said at some shares of its length."""
    given = GanSettings(preset="tiny", kimg=kimg, r1_gamma_mask_ratio=20.0, report_every_steps=50, **settings)
    config = resolve(given, variant, FOLD, 0, 32)
    data = TrainingSet.load(config, cohort, "cpu")
    learner, kept = GanLearner(config, data, "cpu"), []
    at = {max(1, round(share * config.total_steps)) for share in snapshots}
    for step in range(1, config.total_steps + 1):
        learner.step(step)
        if step in at:
            kept.append(sampled(learner.sampler, data))
    return kept


def sampled(sampler: Sampler, data: TrainingSet) -> Pool:
    numbers_NS = torch.randn(POOL, sampler.numbers_per_sample, generator=torch.Generator().manual_seed(11))
    masks = data.labels[data.spread(POOL)] if sampler.card.variant == "c-sg" else None
    drawn = sampler.sample(numbers_NS, masks)
    return Pool(images=np.clip(drawn.images, -5, 5), masks=drawn.labels, slices_per_patient=12)


def distances(cohort: Path, referee: torch.nn.Module, pools: list[Pool]) -> list[dict[str, float]]:
    data = SliceSet.open(cohort)
    config = AssessConfig(fold=FOLD, seed=0, halvings=4)
    train = split(data.patients, FOLD).train
    real = RealSide.of(config, data, train, referee, fitted_on=train)
    return [pool_metrics(PoolEvidence(config, data, train, pool, real, referee)) for pool in pools]


def consistency(referee: torch.nn.Module, pool: Pool) -> tuple[float, float]:
    """Dice of the foreground between what the referee sees in the images and their own masks, and other samples' masks.

    Organs lie in much the same place in all patients, so masks of others are what obedience is measured against.
    """
    seen = predict(referee, torch.from_numpy(pool.images)).argmax(1).numpy() > 0
    others = np.random.default_rng(0).permutation(len(pool.masks))
    own, strange = (
        float(2 * (seen & given).sum() / (seen.sum() + given.sum()))
        for given in (pool.masks > 0, pool.masks[others] > 0)
    )
    return own, strange


@pytest.mark.slow
def test_samples_come_closer_to_real_slices_and_stay_above_the_floor(cohort, referee):
    early, late = distances(cohort, referee, trained(cohort, "b-sg", 3.2, (0.05, 1.0)))
    assert late["frechet"] <= 0.35 * early["frechet"], json.dumps([early, late])
    assert late["frechet"] > late["frechet_floor"]


@pytest.mark.slow
def test_c_sg_obeys_the_mask_only_where_g_is_shown_it(cohort, referee):
    """The small form, on squares, is in ``test_gan_train``; this is the made-up anatomy, two minutes on one core."""
    settings = {"augment": "none", "mismatch_weight": 0.5}
    (full,) = trained(cohort, "c-sg", 4.8, (1.0,), injection="full", **settings)
    (blind,) = trained(cohort, "c-sg", 4.8, (1.0,), injection="discriminator", **settings)
    own, strange = consistency(referee, full)
    assert own >= 0.7
    assert own > strange + 0.1
    own, strange = consistency(referee, blind)
    assert abs(own - strange) < 0.05
