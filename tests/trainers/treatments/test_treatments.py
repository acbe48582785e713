"""Treatments: each does what it says, sample by sample, and the stage leaves a whole pool."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build, predict, save_segmenter
from medsweep.trainers.treatments import TreatConfig, TreatSettings, gpu_hours, hours, probe
from medsweep.trainers.treatments.images import add_noise, blur, match_histogram, mean_quantiles
from medsweep.trainers.treatments.run import run

FOLD = Fold(index=0, of=4)
IMAGES = np.random.default_rng(0).standard_normal((6, 2, 32, 32)).astype(np.float32)
ALL = [{"kind": "noise", "sd": 0.1}, {"kind": "blur", "sigma_px": 0.7}, {"kind": "histogram"}, {"kind": "relabel"}]


def config(treatments, seed=0):
    text = json.dumps({"treatments": treatments, "fold": FOLD.model_dump(), "seed": seed})
    return TreatConfig.model_validate_json(text)


@pytest.fixture(scope="module")
def model():
    return build(SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0), seed=1).eval()


@pytest.fixture
def inputs(slices, model, tmp_path):
    reference = tmp_path / "reference"
    reference.mkdir()
    save_segmenter(model, SegmenterArchitecture(modalities=2, classes=3, channels=(4, 8), residual_units=0), reference)
    write_fitted_on(reference, [])
    Pool(images=IMAGES, masks=np.ones((6, 32, 32), np.uint8), slices_per_patient=3).save(tmp_path / "pool")
    write_fitted_on(tmp_path / "pool", [])
    return {"prepare": slices, "pool": tmp_path / "pool", "reference": reference}


def treated(folder, inputs, treatments, seed=0):
    trial = FakeTrial(folder)
    reports = drain(run(config(treatments, seed), inputs, trial))
    return reports, trial.output


def test_noise_has_the_deviation_asked_for_and_its_own_seed_per_sample():
    noise = add_noise(IMAGES, 0.5, seed=1) - IMAGES
    assert noise.dtype == np.float32
    assert noise.std(axis=(1, 2, 3)) == pytest.approx(0.5, rel=0.06)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    assert not np.allclose(noise, add_noise(IMAGES, 0.5, seed=2) - IMAGES)


def test_blur_keeps_flat_planes_and_spreads_a_point_by_its_deviation():
    assert blur(np.full((1, 1, 16, 16), 3, np.float32), 1.5) == pytest.approx(3, rel=1e-5)
    point = np.zeros((1, 1, 33, 33), np.float32)
    point[0, 0, 16, 16] = 1
    spread = blur(point, 2.0)[0, 0]
    assert spread.sum() == pytest.approx(1, rel=1e-5)
    assert (spread.sum(axis=0) * (np.arange(33) - 16) ** 2).sum() == pytest.approx(4, rel=0.02)


def test_relabelled_masks_are_what_the_segmenter_sees(model, inputs, tmp_path):
    masks = Pool.open(treated(tmp_path / "a", inputs, [{"kind": "relabel"}])[1]).masks
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, predict(model, torch.from_numpy(IMAGES)).argmax(dim=1))
    assert len(np.unique(masks)) > 1


def test_matched_images_have_the_mean_real_histogram_and_keep_their_order():
    real = np.random.default_rng(1).gamma(2.0, 1.0, (5, 2, 32, 32)).astype(np.float32)
    quantiles = mean_quantiles(real)
    np.testing.assert_allclose(quantiles[1], np.sort(real[:, 1].reshape(5, -1), axis=1).mean(axis=0), rtol=1e-5)
    matched = match_histogram(IMAGES, quantiles)
    for sample, channel in np.ndindex(6, 2):
        np.testing.assert_allclose(np.sort(matched[sample, channel].ravel()), quantiles[channel], rtol=1e-5)
        order = np.argsort(IMAGES[sample, channel], axis=None)
        assert (np.diff(matched[sample, channel].ravel()[order]) >= 0).all()


def test_equal_pixels_stay_equal():
    image = np.zeros((1, 1, 2, 4), np.float32)
    image[0, 0, 1] = [1, 1, 2, 3]
    matched = match_histogram(image, np.arange(8.0)[None])
    assert matched[0, 0].tolist() == [[1.5, 1.5, 1.5, 1.5], [4.5, 4.5, 6.0, 7.0]]


def test_a_smaller_pool_is_a_prefix_of_the_treated_larger_one(inputs, tmp_path):
    _, large = treated(tmp_path / "large", inputs, ALL)
    Pool(images=IMAGES[:4], masks=np.ones((4, 32, 32), np.uint8), slices_per_patient=3).save(tmp_path / "few")
    write_fitted_on(tmp_path / "few", [])
    _, small = treated(tmp_path / "small", inputs | {"pool": tmp_path / "few"}, ALL)
    few, many = Pool.open(small), Pool.open(large)
    assert (len(few), len(many), many.slices_per_patient) == (4, 6, 3)
    np.testing.assert_array_equal(few.images, many.images[:4])
    np.testing.assert_array_equal(few.masks, many.masks[:4])
    assert not np.array_equal(many.images, IMAGES)
    assert (many.masks != 1).any()


def test_histogram_is_matched_to_training_slices_alone(inputs, tmp_path):
    data = SliceSet.open(inputs["prepare"])
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)
    _, output = treated(tmp_path / "a", inputs, [{"kind": "histogram"}])
    np.testing.assert_array_equal(Pool.open(output).images, match_histogram(IMAGES, mean_quantiles(data.images[rows])))


def test_treatments_are_applied_in_the_order_given(inputs, tmp_path):
    noise, smooth = ALL[0], ALL[1]
    _, rough = treated(tmp_path / "a", inputs, [smooth, noise])
    _, fine = treated(tmp_path / "b", inputs, [noise, smooth])
    rough, fine = (np.diff(Pool.open(output).images).std() for output in (rough, fine))
    assert rough > fine


def test_outputs_reports_and_repeatability(inputs, tmp_path):
    (inputs["pool"] / "fitted_on.json").write_text('["somebody"]')
    reports, output = treated(tmp_path / "a", inputs, ALL)
    assert [(report.step, report.total) for report in reports] == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    names = ["fitted_on.json", "grid.png", "images.npy", "masks.npy", "pool.json", "treat.json"]
    assert sorted(path.name for path in output.iterdir()) == names
    train = split(SliceSet.open(inputs["prepare"]).patients, FOLD).train
    assert json.loads((output / "fitted_on.json").read_text()) == sorted(["somebody", *train])
    _, again = treated(tmp_path / "b", inputs, ALL)
    for name in names:
        assert (output / name).read_bytes() == (again / name).read_bytes()
    _, other = treated(tmp_path / "c", inputs, ALL, seed=1)
    assert (output / "images.npy").read_bytes() != (other / "images.npy").read_bytes()


def test_an_input_that_saw_a_test_patient_is_refused(inputs, tmp_path):
    test = split(SliceSet.open(inputs["prepare"]).patients, FOLD).test
    (inputs["reference"] / "fitted_on.json").write_text(json.dumps([test[1]]))
    with pytest.raises(UserError, match=test[1]):
        treated(tmp_path / "a", inputs, ALL)


def test_only_relabelling_needs_the_reference():
    assert [TreatSettings(treatments=config([one]).treatments).needs_reference for one in ALL] == [
        False,
        False,
        False,
        True,
    ]
    assert not TreatSettings().needs_reference


def test_a_probe_lets_the_reference_see_the_pool_and_nothing_else(inputs, tmp_path):
    assert [one.kind for one in probe(config(ALL, seed=3)).treatments] == ["relabel"]
    real = [{"kind": "duplicate-real"}, *ALL, {"kind": "relabel"}]
    assert [one.kind for one in probe(config(real)).treatments] == ["duplicate-real", "relabel"]
    assert probe(config(ALL, seed=3)) == probe(probe(config(ALL)))
    trial = FakeTrial(tmp_path / "probed")
    assert len(drain(run(probe(config(ALL)), inputs, trial))) == 2


def test_a_gpu_is_of_use_to_relabelling_alone():
    assert [gpu_hours(config([one])) is not None for one in ALL] == [False, False, False, True]


def test_hours_grow_with_the_list():
    assert 0 < hours(config([])) < hours(config(ALL)) < 0.1


@pytest.mark.parametrize("wrong", [{"kind": "sharpen"}, {"kind": "noise"}, {"kind": "blur", "sigma_px": 0.0}])
def test_treatments_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        config([wrong])
