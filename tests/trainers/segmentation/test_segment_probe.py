"""Segment configs cut to what their memory is measured by."""

import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, probe, resolve
from medsweep.trainers.segmentation.train import run

FOLD = Fold(index=0, of=4)
WATCHED = FOLD.model_copy(update={"validation": 0.2})


def probed(count=8, fold=WATCHED, seed=1, **settings) -> SegmentConfig:
    given = SegmentSettings(**settings)
    return probe(resolve(given, fold=fold, seed=seed, count=count, candidates=20, unit="slices", resolution=32))


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 2},
        {"steps": 7, "warmup_steps": 5},
        {"learning_rate": 0.5, "weight_decay": 0.0, "schedule": "poly"},
        {"mixing": "pretrain", "pretrain_share": 0.2},
        {"mixing": "fixed-exposure"},
        {"mixing": "fixed-exposure", "synthetic_share": 0.25},
        {"report_every_steps": 3},
    ],
)
def test_a_probe_takes_no_notice_of_what_memory_does_not_depend_on(settings):
    assert probed(**settings) == probed()


@pytest.mark.parametrize(
    "settings",
    [
        {"fold": FOLD},
        {"count": 9},
        {"min_iou": 0.5},
        {"batch_size": 4},
        {"optimizer": "sgd"},
        {"loss": "dice"},
        {"augment": "full"},
        {"slices": "foreground"},
        {"channels": (4, 8)},
        {"network": "attention-unet"},
        {"clip_norm": 0.3},
        {"ema_half_life_steps": 7},
        {"validate_every_steps": 7},
        {"snapshots": 3},
    ],
)
def test_a_probe_keeps_what_memory_depends_on(settings):
    assert probed(**settings) != probed()


def test_a_probe_counts_whether_there_is_a_norm_an_average_or_a_validation_and_not_how_much():
    one = probed(clip_norm=0.3, ema_half_life_steps=7, validate_every_steps=7)
    assert one == probed(clip_norm=3.0, ema_half_life_steps=70, validate_every_steps=2)
    assert (one.clip_norm, one.ema_half_life_steps, one.validate_every_steps) == (1.0, 1, 1)
    assert (one.steps, one.seed) == (2, 0)


def test_a_probe_trains_twice(slices, tmp_path):
    tiny = {"batch_size": 4, "channels": (4, 8), "residual_units": 0}
    asked = probed(0, FOLD, **tiny, steps=20, warmup_steps=5, ema_half_life_steps=9, clip_norm=0.1)
    reports = drain(run(asked, {"prepare": slices}, FakeTrial(tmp_path)))
    assert [report.step for report in reports] == [2, 2]
    assert "gradient_norm" in reports[0].metrics
