"""The assess stage as a whole, with the control arm's segmenter as the judge."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from fake_trial import FakeTrial, drain

from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from trainers.assessment.config import AssessConfig, hours
from trainers.assessment.masks import DESCRIPTORS
from trainers.assessment.metrics import foreground_dice
from trainers.assessment.score import mean_iou, run
from trainers.pool import Pool
from trainers.segmentation.config import SegmentSettings, resolve
from trainers.segmentation.network import load_segmenter, predict
from trainers.segmentation.train import run as segment

FOLD = Fold(index=0, of=4)


@pytest.fixture(scope="module")
def reference(slices, tmp_path_factory):
    """A control segmenter after a few steps."""
    settings = SegmentSettings(steps=30, batch_size=8, channels=(4, 8), residual_units=0, learning_rate=1e-2)
    trial = FakeTrial(tmp_path_factory.mktemp("reference"))
    config = resolve(settings, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    drain(segment(config, {"prepare": slices}, trial))
    return trial.output


@pytest.fixture(scope="module")
def real(slices):
    """Foreground slices of the training patients, as images and masks."""
    data = SliceSet.open(slices)
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)
    return data.images[rows], data.masks[rows]


def save(folder, images, masks):
    Pool(images=images, masks=masks, slices_per_patient=5).save(folder)
    return folder


def assess(folder, slices, pool, reference, *, fold=FOLD, seed=0):
    trial = FakeTrial(folder)
    inputs = {"prepare": slices, "pool": pool, "reference": reference}
    reports = drain(run(AssessConfig(fold=fold, seed=seed), inputs, trial))
    return reports, trial.output


def test_mean_iou_over_the_classes_present():
    a = np.array([[[1, 1], [2, 0]], [[0, 0], [0, 0]], [[1, 1], [0, 0]], [[0, 0], [0, 0]]])
    b = np.array([[[1, 0], [2, 0]], [[0, 0], [0, 0]], [[0, 0], [1, 1]], [[2, 0], [0, 0]]])
    assert mean_iou(a, b, classes=3).tolist() == [(1 / 2 + 1) / 2, 1.0, 0.0, 0.0]


def test_masks_the_judge_would_draw_score_one(slices, real, reference, tmp_path):
    images, _ = real
    drawn = predict(load_segmenter(reference, "cpu"), torch.from_numpy(images)).argmax(dim=1).numpy().astype(np.uint8)
    wrong = np.where(drawn == 1, 2, 0).astype(np.uint8)
    masks = np.where(np.arange(len(drawn))[:, None, None] % 2, wrong, drawn)
    _, output = assess(tmp_path / "trial", slices, save(tmp_path / "pool", images, masks), reference)
    scores = pd.read_parquet(output / "scores.parquet")
    assert scores["sample"].tolist() == list(range(len(images)))
    assert (scores["iou"][::2] == 1).all()
    seen = (drawn[1::2] > 0).any(axis=(1, 2))
    assert seen.any()
    assert (scores["iou"][1::2][seen] < 1).all()
    found = json.loads((output / "pool.json").read_text())
    assert found["iou_mean"] == pytest.approx(scores["iou"].mean())
    assert found["iou_median"] == pytest.approx(scores["iou"].median())


def test_a_pool_of_real_slices_is_at_the_floor_and_noise_is_far_above(slices, real, reference, tmp_path):
    images, masks = real
    order = np.random.default_rng(0).permutation(len(images))
    noise = np.random.default_rng(1).standard_normal(images.shape).astype(np.float32)
    reports, good = assess(tmp_path / "a", slices, save(tmp_path / "p", images[order], masks[order]), reference)
    _, bad = assess(tmp_path / "b", slices, save(tmp_path / "q", noise, masks), reference)
    good, bad = (json.loads((output / "pool.json").read_text()) for output in (good, bad))
    assert dict(reports[-1].metrics) == good
    assert good["n_real"] == good["n_pool"] == len(images)
    assert 2 <= good["n_matched"] <= len(images) // 2 + 12
    assert good["frechet_floor"] == bad["frechet_floor"] > 0
    assert good["frechet"] < 1.5 * good["frechet_floor"]
    assert bad["frechet"] > 5 * good["frechet"]
    assert good["radial_psd_log_error"] < 1e-4
    assert bad["radial_psd_log_error"] > 0.5


def test_every_metric_tells_real_slices_from_noise_with_empty_masks(slices, real, reference, tmp_path):
    images, masks = real
    order = np.random.default_rng(0).permutation(len(images))
    noise = np.random.default_rng(1).standard_normal(images.shape).astype(np.float32)
    _, good = assess(tmp_path / "a", slices, save(tmp_path / "p", images[order], masks[order]), reference)
    _, bad = assess(tmp_path / "b", slices, save(tmp_path / "q", noise, np.zeros_like(masks)), reference)
    good, bad = (json.loads((output / "pool.json").read_text()) for output in (good, bad))
    assert good["n_equal"] == len(images)
    assert good["n_patients"] == 6
    assert good["frechet_low"] < good["frechet"] < good["frechet_high"]
    assert bad["frechet_low"] > good["frechet_high"]
    assert bad["frechet_random"] > 3 * bad["frechet_random_floor"] > good["frechet_random"]
    assert good["kid_p"] > 0.5
    assert bad["kid_p"] < 0.01
    assert bad["kid"] > bad["kid_floor"] == good["kid_floor"]
    for name in ("precision", "recall", "density", "coverage"):
        assert good[name] >= 1, name
        assert bad[name] < 0.3, name
    assert good["authenticity"] == 0
    assert good["authenticity_real"] > 0.5
    assert good["nearest_ratio"] < 0.05
    assert bad["nearest_ratio"] > 1
    assert good["vendi"] == pytest.approx(good["vendi_real"], rel=1e-3)
    for name in ("high_frequency_log_error", "spectral_slope_difference"):
        assert abs(good[name]) < 1e-4, name
        assert bad[name] > 0.5, name
    assert good["laplacian_ratio"] == pytest.approx(1, rel=1e-4)
    assert bad["laplacian_ratio"] > 2
    assert all(good[f"mask_ks_{name}"] == 0 for name in DESCRIPTORS)
    assert bad["mask_ks_area"] > 0.5
    assert "mask_ks_perimeter" not in bad
    assert good["consistency_gap"] == pytest.approx(0, abs=1e-9)
    assert good["consistency_dice"] > 0.1
    assert bad.get("consistency_dice", 0) == 0


def test_a_handful_of_samples_leaves_out_what_they_do_not_define(slices, real, reference, tmp_path):
    images, masks = real
    _, output = assess(tmp_path / "a", slices, save(tmp_path / "p", images[:4], masks[:4]), reference)
    found = json.loads((output / "pool.json").read_text())
    assert found["n_pool"] == found["n_matched"] == found["n_equal"] == 4
    assert not {"precision", "coverage", "vendi", "frechet_infinity"} & set(found)
    assert {"frechet", "kid", "authenticity", "mask_ks_area"} <= set(found)


def test_dice_leaves_out_samples_without_any_foreground():
    masks = np.array([[[1, 2], [0, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]])
    seen = np.array([[[2, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]])
    assert foreground_dice(masks, seen) == pytest.approx((2 / 3 + 0) / 2)
    assert foreground_dice(masks[1:2], seen[1:2]) is None


def test_the_same_inputs_leave_the_same_bytes(slices, real, reference, tmp_path):
    pool = save(tmp_path / "pool", *real)
    _, first = assess(tmp_path / "a", slices, pool, reference)
    _, again = assess(tmp_path / "b", slices, pool, reference)
    _, other = assess(tmp_path / "c", slices, pool, reference, seed=1)
    for name in ("scores.parquet", "pool.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert (first / "pool.json").read_bytes() != (other / "pool.json").read_bytes()


def test_a_judge_that_saw_the_test_patients_is_refused(slices, real, reference, tmp_path):
    with pytest.raises(UserError, match="was fitted on 2 held-out patients of this fold"):
        assess(tmp_path / "a", slices, save(tmp_path / "p", *real), reference, fold=Fold(index=1, of=4))


def test_too_small_a_pool_is_refused(slices, real, reference, tmp_path):
    images, masks = real
    with pytest.raises(UserError, match="got 1 synthetic ones and 6 training patients"):
        assess(tmp_path / "a", slices, save(tmp_path / "p", images[:1], masks[:1]), reference)


def test_hours_are_small_and_grow():
    few, many = (hours(AssessConfig(fold=FOLD, seed=0, halvings=count)) for count in (1, 50))
    assert 0 < few < many < 1
