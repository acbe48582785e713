"""warp-real: real images follow their mask onto another one, and too few that reach it end the arm."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split, unused_patients
from medsweep.data.prepare import run as prepare
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.treatments import TreatConfig
from medsweep.trainers.treatments.base import Pairs, real_pairs
from medsweep.trainers.treatments.run import run
from medsweep.trainers.treatments.warping import centred, demons, least_dice, nearest_masks, nearest_try, warp
from medsweep.trial import PoolDryError

FOLD = Fold(index=0, of=4, patients=3)
Y, X = np.mgrid[:48, :48]


def ellipse(middle, radii, core=0.5):
    """An ellipse of class 1 with one of class 2 inside."""
    distance = np.hypot((Y - middle[0]) / radii[0], (X - middle[1]) / radii[1])
    return (np.where(distance < core, 2, distance < 1)).astype(np.uint8)


ROUND, LONG = ellipse((20, 22), (11, 11)), ellipse((27, 25), (9, 13))


def test_a_mask_and_its_image_are_warped_to_the_target():
    image = np.stack([ROUND * 2.0 + 1, ROUND * -1.0]).astype(np.float32)
    moved, mask = warp(image, ROUND, LONG)
    assert least_dice(ROUND, LONG) < 0.7
    assert least_dice(mask, LONG) > 0.95
    wanted = np.stack([LONG * 2.0 + 1, LONG * -1.0])
    assert (np.abs(moved - wanted) > 0.75).mean() < 0.03
    assert (np.abs(image - wanted) > 0.75).mean() > 0.1


def test_fine_structure_survives_a_warp_to_the_own_mask():
    image = np.random.default_rng(0).standard_normal((2, 48, 48)).astype(np.float32)
    moved, mask = warp(image, ROUND, ROUND)
    np.testing.assert_allclose(moved, image, atol=1e-3)
    np.testing.assert_array_equal(mask, ROUND)


def test_the_nearest_mask_is_the_one_of_the_same_shape_wherever_it_lies():
    far = ellipse((14, 28), (9, 13))
    masks = np.stack([ROUND, far, ellipse((27, 25), (9, 13), core=0), ellipse((24, 24), (4, 4))])
    nearest = nearest_masks(np.stack([LONG, ROUND]), masks, 3)
    assert nearest.shape == (2, 4)
    assert nearest[:, 0].tolist() == [1, 0]
    np.testing.assert_array_equal(centred(far), centred(LONG))


def test_the_next_nearest_is_tried_until_one_is_accepted_and_else_the_best_is_taken():
    other = np.zeros((48, 48), np.uint8)
    other[2:4, 2:4] = 1
    real = Pairs(np.ones((3, 1, 48, 48), np.float32), np.stack([other, LONG, ROUND]))
    place, (_, mask), dice = nearest_try(real, np.array([0, 2, 1]), ROUND)
    assert (place, dice) == (2, 1)
    np.testing.assert_array_equal(mask, ROUND)
    striped = np.where(Y % 3 > 0, ROUND, 0).astype(np.uint8)
    place, _, dice = nearest_try(real, np.array([0, 2]), striped)
    assert 0 < dice < 0.95
    assert place == 2


def test_dice_counts_the_worst_class_and_one_that_is_missing():
    assert least_dice(ROUND, ROUND) == least_dice(ROUND * 0, ROUND * 0) == 1
    assert least_dice(np.minimum(ROUND, 1), ROUND) == 0


def folds(mask, target):
    """Whether the displacement turns some place inside out: a Jacobian determinant that is not positive."""
    (yy, yx), (xy, xx) = (np.gradient(part) for part in demons(mask, target))
    return ((1 + yy) * (1 + xx) - yx * xy).min() <= 0


THIN = ellipse((27, 25), (5, 20))


def test_no_place_is_turned_inside_out():
    assert not folds(ROUND, THIN)
    assert not folds(THIN, ROUND)


def test_a_small_class_is_reached_beside_a_large_one():
    large, small = (ellipse((24, 24), (15, 15), core=0) for _ in range(2))
    large[14:18, 22:26] = 2
    small[16:20, 26:30] = 2
    for mask, target in ((large, small), (ROUND, THIN), (THIN, ROUND)):
        _, moved = warp(np.zeros((1, 48, 48), np.float32), mask, target)
        assert least_dice(moved, target) >= 0.95


@pytest.mark.slow
def test_nearly_every_mask_of_a_real_hippocampus_is_reached(real, tmp_path):
    settings = DataConfig(dataset="hippocampus", root=str(real("Task04_Hippocampus")), resolution=64)
    trial = FakeTrial(tmp_path)
    source = inspect_source(settings, trial.scratch)
    drain(prepare(PrepareConfig(**dict(settings), source=source.fingerprint), {}, trial))
    data, fold = SliceSet.open(trial.output), Fold(index=0, of=5, validation=0.2, patients=40)
    used, unused = split(data.patients, fold).train, unused_patients("warp-real", data.patients, fold)
    rows, others = (data.rows(patients, foreground_only=True) for patients in (used, unused))
    targets = np.array(data.masks[rows[:: len(rows) // 60]])
    real_slices = real_pairs(data, others)
    tries = [
        nearest_try(real_slices, places, target)
        for places, target in zip(nearest_masks(targets, real_slices.masks, 3), targets, strict=True)
    ]
    assert np.mean([dice >= 0.95 for _, _, dice in tries]) >= 0.95
    assert np.median([dice for _, _, dice in tries]) >= 0.985
    folded = [folds(real_slices.masks[place], target) for (place, _, _), target in zip(tries, targets, strict=True)]
    assert np.mean(folded) <= 0.05


def treated(folder, slices, masks):
    data = SliceSet.open(slices)
    images = np.zeros((len(masks), len(data.modalities), 32, 32), np.float32)
    Pool(images, masks, slices_per_patient=3).save(folder / "pool")
    write_fitted_on(folder / "pool", [])
    text = json.dumps({"treatments": [{"kind": "warp-real"}], "fold": FOLD.model_dump(), "seed": 0})
    trial = FakeTrial(folder / "treat")
    drain(run(TreatConfig.model_validate_json(text), {"prepare": slices, "pool": folder / "pool"}, trial))
    return Pool.open(trial.output), json.loads((trial.output / "treat.json").read_text())[0], trial.output


def left_out(slices):
    """The patients in use, those left out, and rows of the latter whose masks are large enough to be warped well."""
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    others = sorted(set(split(data.patients, Fold(index=0, of=4)).train) - set(train))
    rows = data.rows(others, foreground_only=True)
    return train, others, rows[(data.masks[rows] > 0).sum(axis=(1, 2)) > 60]


def test_the_pool_gets_real_images_of_left_out_patients_for_its_own_masks(slices, tmp_path):
    data, (train, others, rows) = SliceSet.open(slices), left_out(slices)
    moved = np.roll(data.masks[rows[:10]], (2, -1), axis=(1, 2))
    strange = np.zeros((1, 32, 32), np.uint8)
    strange[0, ::4, ::4] = 1
    masks = np.concatenate([moved, strange])
    pool, told, output = treated(tmp_path, slices, masks)
    np.testing.assert_array_equal(pool.masks[:10], moved)
    for sample, (image, row) in enumerate(zip(pool.images, pool.rows, strict=True)):
        expected, mask = warp(data.image_rows(pool.rows[sample : sample + 1])[0], data.masks[row], masks[sample])
        np.testing.assert_array_equal(image, expected)
        assert sample == 10 or least_dice(mask, moved[sample]) >= 0.95
    assert told["accepted"] == pytest.approx(10 / 11)
    assert told["slices"] == len(set(pool.rows.tolist()))
    assert (pool.masks[10] != strange[0]).any()
    assert set(pool.rows) <= set(data.rows(others))
    assert json.loads((output / "fitted_on.json").read_text()) == sorted({*train, *others})
    head, _, _ = treated(tmp_path / "head", slices, masks[:4])
    np.testing.assert_array_equal(head.images, pool.images[:4])


def test_a_pool_of_masks_that_no_real_slice_reaches_ends_as_dry(slices, tmp_path):
    strange = np.zeros((2, 32, 32), np.uint8)
    strange[:, ::4, ::4] = 1
    with pytest.raises(PoolDryError, match=r"reached a Dice of 0\.95 in 0 of 2 masks, and at least 80% are needed"):
        treated(tmp_path, slices, strange)


def test_without_left_out_patients_it_is_refused(slices, tmp_path):
    text = {"treatments": [{"kind": "warp-real"}], "fold": FOLD.model_dump() | {"patients": None}, "seed": 0}
    with pytest.raises(ValidationError, match="warp-real needs training patients that the study leaves out"):
        TreatConfig.model_validate_json(json.dumps(text))
    text["fold"]["patients"] = 6
    Pool(np.zeros((1, 2, 32, 32), np.float32), ROUND[None, :32, :32], slices_per_patient=3).save(tmp_path / "pool")
    write_fitted_on(tmp_path / "pool", [])
    inputs = {"prepare": slices, "pool": tmp_path / "pool"}
    stage = run(TreatConfig.model_validate_json(json.dumps(text)), inputs, FakeTrial(tmp_path / "treat"))
    with pytest.raises(UserError, match="warp-real finds no training patient left out"):
        drain(stage)
