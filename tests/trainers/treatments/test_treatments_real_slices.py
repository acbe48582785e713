"""The treat stage on real slices alone: no pool goes in, one of the size asked for comes out."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from helpers.fake_trial import FakeTrial, drain
from medsweep.config import EXTENT
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.pool import Pool
from medsweep.trainers.treatments import TreatConfig, TreatSettings
from medsweep.trainers.treatments.run import run

FOLD = Fold(index=0, of=4, patients=3)
FRESH = {"kind": "fresh-real"}
SOURCES = [{"kind": "duplicate-real"}, FRESH, {"kind": "k-unique-real", "patients": 2}]
CHAIN = [
    FRESH,
    {"kind": "corrupt-labels", "bias_px": 1.0, "random_px": 0.5, "share": 0.5},
    {"kind": "mismatch", "share": 0.5},
    {"kind": "histogram"},
    {"kind": "noise", "sd": 0.2},
]
LISTS = [*([one] for one in SOURCES), CHAIN]


def config(treatments, fold=FOLD, **size):
    text = json.dumps({"treatments": treatments, "fold": fold.model_dump(), "seed": 5} | size)
    return TreatConfig.model_validate_json(text)


def made(folder, slices, treatments, pool=None, **size):
    """The pool, what is told of it, and its folder."""
    trial = FakeTrial(folder)
    inputs = {"prepare": slices} | ({} if pool is None else {"pool": pool})
    reports = drain(run(config(treatments, **size), inputs, trial))
    assert reports[-1].step == reports[-1].total == len(treatments) + 1
    return Pool.open(trial.output), reports[-1].metrics, trial.output


@pytest.mark.parametrize("treatments", LISTS, ids=lambda treatments: treatments[-1]["kind"])
def test_twenty_are_the_head_of_fifty_and_a_replaced_pool_of_as_many_is_the_same(treatments, slices, tmp_path):
    many, told, output = made(tmp_path / "many", slices, treatments, count=50)
    few, _, _ = made(tmp_path / "few", slices, treatments, count=20)
    given = tmp_path / "given"
    zeros = np.zeros((20, *many.images.shape[1:]), np.float32)
    Pool(images=zeros, masks=zeros[:, 0].astype(np.uint8), slices_per_patient=1).save(given)
    write_fitted_on(given, [])
    replaced, _, _ = made(tmp_path / "replaced", slices, treatments, pool=given)
    assert (len(many), len(few)) == (50, 20)
    for other in (few, replaced):
        np.testing.assert_array_equal(other.images, many.images[:20])
        np.testing.assert_array_equal(other.masks, many.masks[:20])
    assert (many.spoiled is None) == (treatments is not CHAIN)
    if treatments is CHAIN:
        assert 0 < many.spoiled.sum() < 50
        np.testing.assert_array_equal(few.spoiled, many.spoiled[:20])
    assert told[f"0-{treatments[0]['kind']}/samples"] == 50
    data = SliceSet.open(slices)
    train = split(data.patients, FOLD).train
    assert many.slices_per_patient == data.slices_per_patient(train)
    everyone = split(data.patients, Fold(index=0, of=4)).train
    seen = everyone if treatments[0] is FRESH else train
    assert json.loads((output / "fitted_on.json").read_text()) == sorted(seen)


def test_count_in_patients_takes_as_many_slices_as_training_patients_have(slices, tmp_path):
    data = SliceSet.open(slices)
    each = data.slices_per_patient(split(data.patients, FOLD).train)
    pool, _, _ = made(tmp_path, slices, [FRESH], count=2, unit="patients")
    assert len(pool) == 2 * each > 2


def test_the_count_is_an_extent():
    assert TreatConfig.fields_marked(EXTENT) == {"count"}


@pytest.mark.parametrize(
    ("treatments", "needed"),
    [
        ([], True),
        ([{"kind": "noise", "sd": 0.1}], True),
        *(([one], False) for one in SOURCES),
        (CHAIN, False),
        ([SOURCES[0], {"kind": "match-spectrum"}], False),
        ([SOURCES[0], {"kind": "match-spectrum", "target": "pool"}], True),
        ([SOURCES[0], {"kind": "blur", "sigma_px": 1.0}, {"kind": "histogram", "target": "pool"}], True),
    ],
)
def test_a_pool_is_needed_unless_real_slices_replace_it_and_nothing_imitates_it(treatments, needed):
    assert TreatSettings.model_validate({"treatments": treatments}).needs_pool == needed


@pytest.mark.parametrize(
    ("treatments", "count", "message"),
    [
        ([FRESH], 0, "give count: 1 or more"),
        ([{"kind": "noise", "sd": 0.1}], 4, "no input 'pool'"),
        ([FRESH, {"kind": "histogram", "target": "pool"}], 4, "no input 'pool'"),
    ],
)
def test_what_cannot_be_made_without_a_pool_is_refused(treatments, count, message, slices, tmp_path):
    with pytest.raises(UserError, match=message):
        made(tmp_path, slices, treatments, count=count)


def test_a_count_beside_a_pool_is_refused(slices, tmp_path):
    _, _, output = made(tmp_path / "pool", slices, [FRESH], count=3)
    with pytest.raises(UserError, match=r"count of 5 and the pool in .* has 3 samples"):
        made(tmp_path / "again", slices, [FRESH], pool=output, count=5)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        config([FRESH], count=-1)


def test_fresh_patients_are_declared_and_need_a_limit():
    assert config(CHAIN).borrows == Fold(index=0, of=4)
    assert config(SOURCES[:1]).borrows is None
    with pytest.raises(ValidationError, match=r"set data\.patients below the training group"):
        config([FRESH], fold=Fold(index=0, of=4))
