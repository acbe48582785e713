"""What a U-Net is trained on: the order of batches, the filter, and the guard against leaks."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from medsweep.data.fitted_on import require_unseen
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import SegmenterArchitecture
from medsweep.trainers.segmentation.samples import BatchOrder, SliceRows, TrainingSamples, gather
from medsweep.trainers.segmentation.train import UNetLearner

FOLD = Fold(index=0, of=4)


def config(count=0, candidates=0, unit="slices", seed=0, **settings):
    given = SegmentSettings(**({"batch_size": 4} | settings))
    return resolve(given, fold=FOLD, seed=seed, count=count, candidates=candidates, unit=unit, resolution=32)


def drawn(order, steps):
    return np.concatenate([order.batch(step) for step in range(1, steps + 1)])


def make_pool(folder, data, count):
    """Sample i is constant i, so that a test can tell which ones were taken."""
    values = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)
    images = np.broadcast_to(values, (count, *data.images.shape[1:]))
    Pool(images=images, masks=np.ones((count, 32, 32), np.uint8), slices_per_patient=3).save(folder)
    return folder


def test_slices_with_a_class_get_their_share_of_every_batch_and_each_its_turn():
    shown = np.array([1, 4])
    wanted = config(foreground_share=0.33)
    order = BatchOrder(wanted, real=6, synthetic=0, foreground=shown)
    batches = [order.batch(step) for step in range(1, 13)]
    sure = wanted.batch_size - round(wanted.batch_size * 0.67)
    assert sure > 0
    assert all(np.isin(batch[-sure:], shown).all() for batch in batches)
    seen = np.concatenate([batch[-sure:] for batch in batches])
    assert np.ptp(np.bincount(seen)[shown]) <= 1
    rest = np.concatenate([batch[:-sure] for batch in batches])
    assert np.ptp(np.bincount(rest, minlength=6)) <= 1, "the others are all slices, as ever"


def test_a_learner_takes_them_from_the_slices_that_show_a_class(slices):
    data = SliceSet.open(slices)
    wanted = config(foreground_share=1.0, augment="none", channels=(2, 4))
    samples = gather(wanted, data, split(data.patients, FOLD).train, {}, "cpu")
    shown = data.index["foreground"].to_numpy()[samples._sets[0].rows] > 0
    assert np.array_equal(samples.with_foreground(), np.flatnonzero(shown))
    assert not shown.all()
    learner = UNetLearner(wanted, samples, SegmenterArchitecture.of(wanted, modalities=2, classes=3))
    for step in range(1, 9):
        assert (learner._batch(step)[1].flatten(1) > 0).any(dim=1).all()


def test_the_share_is_one_of_the_real_places_and_all_slices_may_have_it():
    shown = np.array([0, 5])
    halves = BatchOrder(config(3, mixing="fixed-exposure", foreground_share=1.0), 6, 3, foreground=shown).batch(1)
    real = halves[halves < 6]
    assert len(real) * 2 == len(halves)
    assert np.isin(real, shown).all()


def test_every_sample_is_seen_equally_often_even_where_a_batch_spans_two_epochs():
    seen = drawn(BatchOrder(config(3), real=6, synthetic=3), steps=9)
    assert np.bincount(seen, minlength=9).tolist() == [4] * 9
    assert sorted(seen[:9]) == list(range(9))


def test_fixed_exposure_takes_half_of_every_batch_from_each_side():
    order = BatchOrder(config(3, mixing="fixed-exposure"), real=6, synthetic=3)
    for step in range(1, 10):
        assert (order.batch(step) < 6).tolist() == [True, True, False, False]


@pytest.mark.parametrize(("share", "made"), [(0.25, 1), (0.75, 3)])
def test_a_share_of_every_batch_is_synthetic_whatever_the_size_of_the_pool(share, made):
    alone = drawn(BatchOrder(config(), real=6, synthetic=0), steps=4)
    for count in (2, 7):
        wanted = config(count, mixing="fixed-exposure", synthetic_share=share)
        order = BatchOrder(wanted, real=6, synthetic=count)
        batches = [order.batch(step) for step in range(1, 5)]
        assert [int((rows >= 6).sum()) for rows in batches] == [made] * 4
        seen = np.concatenate(batches)
        assert seen[seen < 6].tolist() == alone[: 4 * (4 - made)].tolist()


@pytest.mark.parametrize(("share", "stay"), [(1.0, True), (0.5, True), (0.49, False), (0.125, False)])
def test_samples_stay_on_a_gpu_that_the_trial_has_enough_of(slices, monkeypatch, share, stay):
    data, read = SliceSet.open(slices), []
    real = SliceRows(data.images, data.masks, np.arange(10))
    total = SimpleNamespace(total_memory=10 * 32 * 32 * (4 * 2 + 1) * 4 * 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: total)
    monkeypatch.setattr(TrainingSamples, "_read", lambda self, positions: read.append(len(positions)))
    TrainingSamples(real, None, "cuda", gpu_share=share)
    assert read == [10] * stay


def first_pixels(samples, positions):
    return samples.batch(positions)[0][:, 0, 0, 0].tolist()


@pytest.mark.parametrize("count", [2, 7])
def test_arms_see_their_real_samples_in_the_order_of_the_real_only_arm(count):
    alone = drawn(BatchOrder(config(), real=6, synthetic=0), steps=6)
    halves = drawn(BatchOrder(config(count, mixing="fixed-exposure"), real=6, synthetic=count), steps=12)
    assert halves[halves < 6].tolist() == alone.tolist()
    bag = drawn(BatchOrder(config(count), real=6, synthetic=count), steps=4)[: 6 + count]
    assert bag[bag < 6].tolist() == alone[:6].tolist()


def test_pretraining_is_synthetic_first_and_then_real_in_the_order_of_the_real_only_arm():
    order = BatchOrder(config(3, mixing="pretrain", steps=10, pretrain_share=0.4), real=6, synthetic=3)
    seen = [order.batch(step) for step in range(1, 11)]
    assert [bool((rows < 6).any()) for rows in seen] == [False] * 4 + [True] * 6
    assert np.bincount(np.concatenate(seen[:3]), minlength=9)[6:].tolist() == [4] * 3
    alone = drawn(BatchOrder(config(), real=6, synthetic=0), steps=6)
    assert np.concatenate(seen[4:]).tolist() == alone.tolist()


def test_seed_changes_the_order():
    orders = [drawn(BatchOrder(config(seed=seed), real=50, synthetic=0), steps=12).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_only_slices_of_training_patients_and_the_first_samples_are_taken(slices, tmp_path):
    data = SliceSet.open(slices)
    parts = split(data.patients, FOLD)
    found = gather(config(5), data, parts.train, {"pool": make_pool(tmp_path, data, 9)}, "cpu")
    assert (found.real, found.synthetic, found.choice.generated) == (len(data.rows(parts.train)), 5, 5)
    images, masks = found.batch(np.arange(found.real))
    np.testing.assert_array_equal(images, data.images[data.rows(parts.train)])
    np.testing.assert_array_equal(masks, data.masks[data.rows(parts.train)])
    assert first_pixels(found, found.real + np.array([4, 0, 2])) == [4, 0, 2]


def test_pixels_per_class_are_those_of_the_real_slices_alone(slices, tmp_path):
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    found = gather(config(5), data, train, {"pool": make_pool(tmp_path, data, 9)}, "cpu").pixels_per_class(4)
    real = data.masks[data.rows(train)]
    assert found.tolist() == [int((real == label).sum()) for label in range(4)]
    assert found[3] == 0 < found[2]


def test_patients_as_the_unit_and_foreground_slices_only(slices, tmp_path):
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    wanted = config(2, unit="patients", slices="foreground")
    found = gather(wanted, data, train, {"pool": make_pool(tmp_path, data, 9)}, "cpu")
    assert found.synthetic == 6
    assert found.real == len(data.rows(train, foreground_only=True)) < len(data.rows(train))


def test_the_samples_that_pass_are_read_by_number(slices, tmp_path):
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    inputs = {"pool": make_pool(tmp_path / "pool", data, 6), "scores": tmp_path}
    scores = pd.DataFrame({"sample": [5, 4, 3, 2, 1, 0], "iou": [0.9, 0.2, 0.5, 0.8, 0.7, 0.1]})
    scores.to_parquet(tmp_path / "scores.parquet")
    found = gather(config(3, candidates=6, min_iou=0.5), data, train, inputs, "cpu")
    assert first_pixels(found, found.real + np.arange(3)) == [1, 2, 3]
    assert (found.synthetic, found.choice.generated) == (3, 4)


def test_a_pool_of_another_shape_is_refused(slices, tmp_path):
    data = SliceSet.open(slices)
    images = np.zeros((3, 1, 32, 32), np.float32)
    Pool(images=images, masks=np.zeros((3, 32, 32), np.uint8), slices_per_patient=1).save(tmp_path)
    with pytest.raises(UserError, match=r"shape \(1, 32, 32\), the prepared slices are \(2, 32, 32\)"):
        gather(config(2), data, data.patients[:2], {"pool": tmp_path}, "cpu")


def test_what_was_fitted_on_a_test_patient_is_refused(tmp_path):
    (tmp_path / "fitted_on.json").write_text(json.dumps(["a", "b"]))
    require_unseen(tmp_path, ["c"])
    with pytest.raises(UserError, match="fitted on 1 held-out patients of this fold, first 'b'"):
        require_unseen(tmp_path, ["b", "c"])
