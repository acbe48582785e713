"""imitate: the look it reaches, the limits it stops at, and what treat.json tells of it."""

import json

import numpy as np
import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.trainers.measures.texture import class_local_sd
from medsweep.trainers.pool import Pool
from medsweep.trainers.treatments import TreatConfig, look
from medsweep.trainers.treatments.base import Pairs, real_pairs
from medsweep.trainers.treatments.images import blur
from medsweep.trainers.treatments.look import KS_LIMIT, POWER_LIMIT, SLACK, ImageLook, imitate, match_local_sd
from medsweep.trainers.treatments.run import run

FOLD = Fold(index=0, of=4, patients=3)


@pytest.fixture
def real(slices):
    data = SliceSet.open(slices)
    return real_pairs(data, data.rows(split(data.patients, FOLD).train, foreground_only=True))


@pytest.fixture
def blurred(slices):
    """Slices of other patients, blurred."""
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    others = [patient for patient in split(data.patients, Fold(index=0, of=4)).train if patient not in train]
    pairs = real_pairs(data, data.rows(others, foreground_only=True))
    return pairs._replace(images=blur(pairs.images, 1.0))


def treated(folder, slices, pool, treatments):
    Pool(pool.images, pool.masks, slices_per_patient=3).save(folder / "pool")
    write_fitted_on(folder / "pool", [])
    text = json.dumps({"treatments": treatments, "fold": FOLD.model_dump(), "seed": 0})
    trial = FakeTrial(folder / "treat")
    drain(run(TreatConfig.model_validate_json(text), {"prepare": slices, "pool": folder / "pool"}, trial))
    return Pool.open(trial.output), json.loads((trial.output / "treat.json").read_text())


def test_a_blurred_pool_gets_the_look_of_real_slices_within_the_limits(slices, real, blurred, tmp_path):
    pool, (told,) = treated(tmp_path, slices, blurred, [{"kind": "imitate"}])
    target, made = ImageLook.of(real, 3), ImageLook.of(Pairs(pool.images, pool.masks), 3)
    before = ImageLook.of(blurred, 3)
    assert target.power_error(before) > 1
    assert target.ks(before) > 0.3
    assert target.power_error(made) < POWER_LIMIT
    assert target.ks(made) < KS_LIMIT
    assert target.distance(made) < 0.1 * target.distance(before)
    assert (told["log_power_error"], told["class_ks"]) == (target.power_error(made), target.ks(made))
    assert told["delivered"] == pytest.approx(1 - target.distance(made) / target.distance(before))
    np.testing.assert_array_equal(pool.masks, blurred.masks)
    # what is where comes from the pool still
    assert np.corrcoef(pool.images.ravel(), blurred.images.ravel())[0, 1] > 0.7


def test_real_slices_take_the_look_of_the_pool_and_the_delivered_share_is_told(slices, blurred, tmp_path):
    head = {"kind": "imitate", "target": "pool", "measured": 8}
    pool, (_, told) = treated(tmp_path, slices, blurred, [{"kind": "duplicate-real"}, head])
    target = ImageLook.of(Pairs(blurred.images[:8], blurred.masks[:8]), 3)
    assert target.power_error(ImageLook.of(Pairs(pool.images, pool.masks), 3)) == told["log_power_error"] < POWER_LIMIT
    assert told["class_ks"] < KS_LIMIT
    assert told["delivered"] == pytest.approx(1, abs=0.1)


def test_no_share_is_told_where_nothing_is_asked(slices, real, tmp_path):
    _, (told,) = treated(tmp_path, slices, real, [{"kind": "imitate"}])
    assert "delivered" not in told


def test_a_sample_stops_at_the_limits_and_after_four_rounds_at_the_latest(real, blurred, monkeypatch):
    rounds = []
    plain = look._round
    monkeypatch.setattr(look, "_round", lambda *given: rounds.append(0) or plain(*given))
    target, one = ImageLook.of(real, 3), Pairs(blurred.images[:1], blurred.masks[:1])
    imitate(one, target)
    assert len(rounds) == 1
    rounds.clear()
    monkeypatch.setattr(look, "KS_LIMIT", 0.0)
    imitate(one, target)
    assert len(rounds) == 4


def test_local_sd_is_matched_class_by_class_around_the_local_mean():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((3, 2, 64, 64)).astype(np.float32) + 7
    masks = np.zeros((3, 64, 64), np.uint8)
    masks[:, :, 32:] = 1
    target = np.array([[0.6, 1.0], [2.0, np.nan]])
    matched = match_local_sd(images, masks, target)
    own = class_local_sd(images, masks, 2)
    assert class_local_sd(matched, masks, 2)[:, 0] == pytest.approx(target[:, 0], rel=0.1)
    assert class_local_sd(matched, masks, 2)[1, 1] == pytest.approx(own[1, 1], rel=0.02)
    assert matched.mean() == pytest.approx(7, abs=0.02)


def looks(values):
    quantiles = np.quantile(values, np.linspace(0, 1, 513))[None, None]
    empty = np.zeros((1, 1))
    return ImageLook(quantiles, empty, empty, empty)


def test_ks_is_the_largest_gap_of_two_distributions_but_for_the_slack():
    x = np.linspace(0, 1, 2000)
    assert looks(x).ks(looks(x + 0.3)) == pytest.approx(0.3 - SLACK, abs=0.01)
    assert looks(x + 0.3).ks(looks(x)) == pytest.approx(0.3 - SLACK, abs=0.01)
    assert looks(np.zeros(50)).ks(looks(np.linspace(-0.04, 0.04, 50))) == 0
    assert looks(np.zeros(50)).ks(looks(np.ones(50))) == 1
