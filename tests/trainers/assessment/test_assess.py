"""The assess stage as a whole, with the control arm's segmenter as the judge."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import read_fitted_on, write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.metrics import without_record
from medsweep.pool_metrics import POOLS
from medsweep.trainers.assessment.agreement import MEASURES
from medsweep.trainers.assessment.assess import embed, run
from medsweep.trainers.assessment.config import (
    AssessConfig,
    EmbedConfig,
    embed_gpu_hours,
    embed_hours,
    embed_probe,
    gpu_hours,
    hours,
    probe,
)
from medsweep.trainers.assessment.masks import DESCRIPTORS, mean_iou
from medsweep.trainers.assessment.metrics import POOL_METRICS
from medsweep.trainers.assessment.real_side import RealSide
from medsweep.trainers.assessment.views import look
from medsweep.trainers.measures.spectra import laplacian_variance, mean_power
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import feature_layers, features, load_segmenter, predict
from medsweep.trainers.segmentation.train import run as segment

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
    write_fitted_on(folder, [])
    return folder


def assess(folder, slices, pool, reference, *, fold=FOLD, seed=0, inception=None):
    trial = FakeTrial(folder)
    inputs = {"prepare": slices, "judge": reference}
    real = FakeTrial(folder / "embed")
    drain(embed(EmbedConfig(fold=fold, seed=seed, halvings=8, inception=inception), inputs, real))
    inputs |= {"pool": pool, "real": real.output}
    reports = drain(run(AssessConfig(fold=fold, seed=seed, inception=inception), inputs, trial))
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
    metrics = json.loads((output / "pool_metrics.json").read_text())
    assert metrics["iou_mean"] == pytest.approx(scores["iou"].mean())
    assert metrics["iou_median"] == pytest.approx(scores["iou"].median())


def test_a_pool_of_real_slices_is_at_the_floor_and_noise_is_far_above(slices, real, reference, tmp_path):
    images, masks = real
    order = np.random.default_rng(0).permutation(len(images))
    noise = np.random.default_rng(1).standard_normal(images.shape).astype(np.float32)
    reports, good = assess(tmp_path / "a", slices, save(tmp_path / "p", images[order], masks[order]), reference)
    _, bad = assess(tmp_path / "b", slices, save(tmp_path / "q", noise, masks), reference)
    good, bad = (json.loads((output / "pool_metrics.json").read_text()) for output in (good, bad))
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
    good, bad = (json.loads((output / "pool_metrics.json").read_text()) for output in (good, bad))
    assert without_record(good) == without_record(bad) == ()
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
    assert good["consistency_dice"] == pytest.approx(good["consistency_dice_in_use"], abs=1e-9)
    assert good["consistency_dice"] > 0.1
    assert bad.get("consistency_dice", 0) == 0
    for name in ("hd95", "assd"):
        assert good[f"consistency_{name}_px"] == pytest.approx(good[f"consistency_{name}_px_in_use"]), name
        assert good[f"consistency_{name}_px"] > 0, name
    assert not [name for name in bad if "_px" in name and "_in_use" not in name]
    assert good["frechet_decoder"] < 1.5 * good["frechet_decoder_floor"]
    assert bad["frechet_decoder"] > 5 * bad["frechet_decoder_floor"]
    assert good["frechet_decoder_dims"] == bad["frechet_decoder_dims"] == min(64, len(images) // 4, 22)
    assert good["mask_nearest_hd95_px"] == 0
    assert good["mask_nearest_hd95_gap_px"] < 0


def test_the_features_left_behind_are_those_of_each_sample_alone(slices, real, reference, tmp_path):
    images, masks = real
    _, many = assess(tmp_path / "a", slices, save(tmp_path / "p", images, masks), reference)
    _, few = assess(tmp_path / "b", slices, save(tmp_path / "q", images[:7], masks[:7]), reference)
    many, few = (load_file(output / "features.safetensors") for output in (many, few))
    assert set(many) == {"pool", "real"}
    assert many["pool"].dtype == many["real"].dtype == np.float32
    assert np.array_equal(few["pool"], many["pool"][:7])
    assert np.array_equal(few["real"], many["real"])
    expected = features(load_segmenter(reference, "cpu"), torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(many["pool"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(many["real"], expected, rtol=1e-4, atol=1e-5)


def test_spoiled_samples_are_found_by_their_iou(slices, real, reference, tmp_path):
    images, _ = real
    model = load_segmenter(reference, "cpu")
    drawn = predict(model, torch.from_numpy(images)).argmax(dim=1).numpy().astype(np.uint8)
    spoiled = np.arange(len(drawn)) % 3 == 0
    masks = np.where(spoiled[:, None, None], np.roll(drawn, 9, axis=1), drawn)
    flagged = Pool(images=images, masks=masks, slices_per_patient=5, spoiled=spoiled)
    flagged.save(tmp_path / "pool")
    write_fitted_on(tmp_path / "pool", [])
    _, output = assess(tmp_path / "a", slices, tmp_path / "pool", reference)
    metrics = json.loads((output / "pool_metrics.json").read_text())
    assert metrics["spoiled_share"] == pytest.approx(spoiled.mean())
    assert metrics["spoiled_auc"] > 0.9
    assert without_record(metrics) == ()
    _, output = assess(tmp_path / "b", slices, save(tmp_path / "plain", images, masks), reference)
    assert not {"spoiled_share", "spoiled_auc"} & set(json.loads((output / "pool_metrics.json").read_text()))


class Grid(torch.nn.Module):
    """As an Inception-v3 whose 2048 features are the average grey of a grid."""

    def forward(self, images):
        return (torch.nn.functional.adaptive_avg_pool2d(images[:, :1].float(), (32, 64)).flatten(start_dim=1),)


def test_inception_sees_damage_and_needs_its_file_before_anything_else(slices, real, reference, tmp_path, monkeypatch):
    images, masks = real
    with pytest.raises(UserError, match="there is no file"):
        assess(tmp_path / "z", tmp_path, tmp_path, tmp_path, inception=str(tmp_path / "none.pth"))
    asked = []
    monkeypatch.setattr(
        "medsweep.trainers.assessment.assess.load_extractor", lambda *given: asked.append(given) or Grid()
    )
    moved = [save(tmp_path / f"p{shift}", np.roll(images, shift, axis=-1), masks) for shift in (0, 2, 6)]
    found = []
    for pool in moved:
        _, output = assess(tmp_path / f"trial-{pool.name}", slices, pool, reference, inception="w.pth")
        found.append(json.loads((output / "pool_metrics.json").read_text()))
    assert asked == [(Path("w.pth"), "cpu")] * 6
    assert without_record(found[0]) == ()
    floor = found[0]["frechet_inception_floor"]
    assert [each["frechet_inception_floor"] for each in found] == [floor] * 3
    assert found[0]["frechet_inception"] < 1.5 * floor
    for name in ("frechet_inception", "kid_inception"):
        assert np.all(np.diff([each[name] for each in found]) > 0), name
    assert abs(found[0]["kid_inception"]) < found[2]["kid_inception"] / 3


ELSEWHERE = {"summary", "valid_share", "survivors", "exposure", "without_doubted", "profile"}
"""Functions of other stages that measure pools."""


def gloss(evidence):
    """A metric that nobody recorded."""
    return {"gloss": float(len(evidence.pool))}


def test_the_table_of_functions_leaves_what_the_records_describe(slices, real, reference, tmp_path, monkeypatch):
    images, masks = real
    monkeypatch.setattr("medsweep.trainers.assessment.assess.load_extractor", lambda *given: Grid())
    monkeypatch.setattr("medsweep.trainers.assessment.metrics.POOL_METRICS", (*POOL_METRICS, gloss))
    spoiled = np.arange(len(images)) % 3 == 0
    Pool(images=images, masks=masks, slices_per_patient=5, spoiled=spoiled).save(tmp_path / "pool")
    write_fitted_on(tmp_path / "pool", [])
    _, output = assess(tmp_path / "a", slices, tmp_path / "pool", reference, inception="w.pth")
    metrics = json.loads((output / "pool_metrics.json").read_text())
    assert without_record(metrics) == ("gloss",)
    recorded = {name for name, metric in POOLS.items() if metric.computed_by not in ELSEWHERE}
    # it takes 100 samples on each side, and the other a third level of the network
    unseen = {name for name in recorded if "excess_" in name or name.endswith("_unseen")}
    # nor are there patients that the judge has not seen
    unseen |= {name for name in recorded if "law_" in name and "law_look" not in name and "quantiles" not in name}
    assert set(metrics) - {"gloss"} == recorded - {"frechet_infinity", "gram_ratio_2"} - (unseen - {"n_unseen"})
    assert all(function.__doc__ for function in POOL_METRICS)


def test_twenty_samples_define_all_that_is_new(slices, real, reference, tmp_path):
    images, masks = real
    _, output = assess(tmp_path / "a", slices, save(tmp_path / "p", images[:20], masks[:20]), reference)
    metrics = json.loads((output / "pool_metrics.json").read_text())
    measures = ["frechet_decoder", "frechet_decoder_floor", "frechet_decoder_dims"]
    measures += ["mask_nearest_hd95_px", "mask_nearest_hd95_px_real", "mask_nearest_hd95_gap_px"]
    measures += [f"consistency_{name}{side}" for name in MEASURES for side in ("", "_in_use")]
    assert set(measures) <= set(metrics)
    assert np.isfinite(list(metrics.values())).all()


def test_a_handful_of_samples_leaves_out_what_they_do_not_define(slices, real, reference, tmp_path):
    images, masks = real
    _, output = assess(tmp_path / "a", slices, save(tmp_path / "p", images[:4], masks[:4]), reference)
    metrics = json.loads((output / "pool_metrics.json").read_text())
    assert metrics["n_pool"] == metrics["n_matched"] == metrics["n_equal"] == 4
    assert not {"precision", "coverage", "vendi", "frechet_infinity"} & set(metrics)
    assert {"frechet", "kid", "authenticity", "mask_ks_area"} <= set(metrics)


def test_the_same_inputs_leave_the_same_bytes(slices, real, reference, tmp_path):
    pool = save(tmp_path / "pool", *real)
    _, first = assess(tmp_path / "a", slices, pool, reference)
    _, again = assess(tmp_path / "b", slices, pool, reference)
    _, other = assess(tmp_path / "c", slices, pool, reference, seed=1)
    for name in ("scores.parquet", "pool_metrics.json", "features.safetensors"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    assert (first / "pool_metrics.json").read_bytes() != (other / "pool_metrics.json").read_bytes()


def test_a_judge_that_saw_the_test_patients_is_refused(slices, real, reference, tmp_path):
    with pytest.raises(UserError, match="was fitted on 2 held-out patients of this fold"):
        assess(tmp_path / "a", slices, save(tmp_path / "p", *real), reference, fold=Fold(index=1, of=4))


def test_too_small_a_pool_is_refused(slices, real, reference, tmp_path):
    images, masks = real
    with pytest.raises(UserError, match="got 1 synthetic ones; ask for a larger pool"):
        assess(tmp_path / "a", slices, save(tmp_path / "p", images[:1], masks[:1]), reference)


def test_too_few_patients_are_refused(slices, reference, tmp_path):
    few = FOLD.model_copy(update={"patients": 1})
    with pytest.raises(UserError, match="2 foreground slices in each half of the training patients, got 1 patients"):
        drain(
            embed(
                EmbedConfig(fold=few, seed=0, halvings=2),
                {"prepare": slices, "judge": reference},
                FakeTrial(tmp_path),
            )
        )


def test_the_real_side_is_read_as_it_was_written_and_says_whom_it_was_fitted_on(slices, real, reference, tmp_path):
    trials = [FakeTrial(tmp_path / name) for name in ("a", "b")]
    config, inputs = EmbedConfig(fold=FOLD, seed=0, halvings=3), {"prepare": slices, "judge": reference}
    for trial in trials:
        drain(embed(config, inputs, trial))
    files = sorted(path.name for path in trials[0].output.iterdir())
    assert files == [
        "fitted_on.json", "real_abnormality.parquet", "real_agreement.parquet", "real_features.safetensors",
        "real_fine_texture.json", "real_fine_texture.safetensors", "real_left_out_owners.parquet", "real_numbers.json",
        "real_shapes.parquet",
    ]  # fmt: skip
    assert all((trials[0].output / name).read_bytes() == (trials[1].output / name).read_bytes() for name in files)
    data, judge = SliceSet.open(slices), load_segmenter(reference, "cpu")
    train = split(data.patients, FOLD).train
    assert read_fitted_on(trials[0].output) == set(train)
    written, found = RealSide.of(config, data, train, judge, Grid(), fitted_on=train), tmp_path / "real"
    found.mkdir()
    written.save(found)
    again = RealSide.open(found)
    for field in dataclasses.fields(RealSide):
        one, other = getattr(again, field.name), getattr(written, field.name)
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other)
        else:
            np.testing.assert_equal(np.asarray(one), np.asarray(other))


def test_a_view_is_what_the_slow_way_sees(slices, real, reference):
    images, _ = real
    judge = load_segmenter(reference, "cpu")
    view = look(judge, images, np.arange(len(images)), 5)
    assert np.array_equal(view.predicted, predict(judge, torch.from_numpy(images)).argmax(dim=1).numpy())
    slow = features(judge, torch.from_numpy(images), feature_layers(judge)).numpy()
    np.testing.assert_allclose(view.layers, slow, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(view.power, 32**2 * mean_power(images)[:, :17], rtol=1e-9)
    np.testing.assert_allclose(view.laplacian, laplacian_variance(images), rtol=1e-9)
    assert len(view.random) == 5
    alone = look(judge, images[:7], np.arange(7), 5)
    assert np.array_equal(alone.layers, view.layers[:7])
    assert np.array_equal(alone.random, view.random)


def test_hours_are_small_and_grow():
    few, many = (hours(AssessConfig(fold=FOLD, seed=0, halvings=count)) for count in (1, 50))
    assert 0 < few < many < 1
    assert hours(AssessConfig(fold=FOLD, seed=0, inception="w.pth")) > many
    assert gpu_hours(AssessConfig(fold=FOLD, seed=0, halvings=1)) == few
    assert few < gpu_hours(AssessConfig(fold=FOLD, seed=0, inception="w.pth")) < many
    real = [EmbedConfig(fold=FOLD, seed=0, halvings=8, inception=weights) for weights in (None, "w.pth")]
    assert 0 < embed_hours(real[0]) == embed_gpu_hours(real[0]) < embed_gpu_hours(real[1]) < embed_hours(real[1]) < 1


def test_a_probe_runs_the_networks_and_hardly_any_draws():
    asked = AssessConfig(fold=FOLD, seed=4, halvings=9, bootstraps=500, permutations=999)
    assert probe(asked) == probe(AssessConfig(fold=FOLD, seed=0))
    assert (probe(asked).halvings, probe(asked).bootstraps, probe(asked).permutations) == (1, 20, 19)
    assert probe(asked.model_copy(update={"inception": "w.pth"})) != probe(asked)
    real = EmbedConfig(fold=FOLD, seed=4, halvings=9)
    assert embed_probe(real) == EmbedConfig(fold=FOLD, seed=0, halvings=1)
