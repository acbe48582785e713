"""The filter: what it keeps, its control of equal retention, and what it does to diversity."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import FITTED_ON, write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.metrics import without_record
from medsweep.trainers.measures.neighbours import prdc
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation import filtering
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.filtering import Choice, choose, survivors
from medsweep.trainers.segmentation.train import run
from medsweep.trial import PoolDryError

FOLD = Fold(index=0, of=4)
IOU = pd.Series([0.1, 0.7, 0.8, 0.5, 0.2, 0.9])


def config(count, candidates=0, unit="slices", seed=0, fold=FOLD, **settings):
    given = SegmentSettings(**settings)
    return resolve(given, fold=fold, seed=seed, count=count, candidates=candidates, unit=unit, resolution=32)


def pool_of(size, areas=None):
    masks = np.zeros((size, 32, 32), np.uint8)
    for mask, area in zip(masks, areas if areas is not None else [1] * size, strict=True):
        mask.flat[:area] = 1
    return Pool(images=np.zeros((size, 1, 32, 32), np.float32), masks=masks, slices_per_patient=3)


def chosen(asked, iou=IOU):
    choice = choose(asked, pool_of(len(iou)), iou)
    return choice.rows.tolist(), choice.generated


def test_fixed_kept_takes_the_first_samples_that_pass():
    assert chosen(config(3, 6, min_iou=0.5)) == ([1, 2, 3], 4)
    assert chosen(config(3, 6, min_iou=0.6)) == ([1, 2, 5], 6)
    assert chosen(config(1, 2, min_iou=0.6, unit="patients")) == ([1, 2, 5], 6)


def test_fixed_generated_takes_those_that_pass_of_the_first():
    def of(count, **settings):
        return chosen(config(count, min_iou=0.5, filter_mode="fixed-generated", **settings))

    assert of(4) == ([1, 2, 3], 4)
    assert of(5) == ([1, 2, 3], 5)
    assert of(6) == ([1, 2, 3, 5], 6)
    assert of(1, unit="patients") == ([1, 2], 3)


def test_without_a_filter_the_first_samples_are_taken():
    choice = choose(config(4), pool_of(6), None)
    assert (choice.rows.tolist(), choice.generated) == ([0, 1, 2, 3], 4)


def test_a_dry_pool_says_how_many_pass_and_what_to_do():
    with pytest.raises(PoolDryError, match=r"2 of 6 .* passed segment.min_iou 0.8 and the arm asks for 3"):
        chosen(config(3, 6, min_iou=0.8))
    with pytest.raises(PoolDryError, match=r"2 of 3 .* asks for 3; .*, raise synthesise.headroom, or drop"):
        chosen(config(3, 3, min_iou=0.5))
    with pytest.raises(PoolDryError, match=r"0 of 1 .*; lower that threshold, raise synthesise.count, or"):
        chosen(config(1, min_iou=0.5, filter_mode="fixed-generated"))
    with pytest.raises(PoolDryError, match="asks for 7 synthetic samples and the pool has 6"):
        chosen(config(3, 7, min_iou=0.5))
    with pytest.raises(PoolDryError, match="asks for 7 synthetic samples and the pool has 6"):
        choose(config(7), pool_of(6), None)


@pytest.mark.parametrize("mode", ["fixed-kept", "fixed-generated"])
def test_the_random_control_keeps_as_many_of_those_looked_at(mode):
    iou = pd.Series(np.random.default_rng(0).random(400))
    for count in (50, 90):
        asked = config(count, 400, min_iou=0.6, filter_mode=mode)
        by_iou, looked_at = chosen(asked, iou)
        drawn, looked_at_too = chosen(asked.model_copy(update={"filter_by": "random"}), iou)
        assert (len(set(drawn)), looked_at_too) == (len(by_iou), looked_at)
        assert drawn == sorted(drawn) != by_iou
        assert drawn[-1] < looked_at
        # blind to the score: as many pass as by chance, where every sample of the filter does
        assert 0.2 < (iou[drawn] >= 0.6).mean() < 0.6


def test_the_random_control_depends_on_fold_and_seed_alone():
    iou = pd.Series(np.tile([0.0, 1.0], 50))

    def drawn(count=20, **more):
        return chosen(config(count, 100, filter_by="random", **({"min_iou": 0.5} | more)), iou)[0]

    assert drawn() == drawn(min_iou=0.9, mixing="fixed-exposure")
    assert drawn() != drawn(seed=1)
    assert drawn() != drawn(fold=Fold(index=1, of=4))
    # one row of places: of the samples that two counts both look at, the smaller count's draw is not drawn anew
    small, large = drawn(20), drawn(30)
    kept_anew_by_chance = 20 * 30 / 60
    assert len(set(small) & set(large)) > 1.2 * kept_anew_by_chance


def write_features(folder, real, pool):
    save_file({"real": real.astype(np.float32), "pool": pool.astype(np.float32)}, folder / "features.safetensors")


@pytest.fixture
def typical(tmp_path):
    """60 real slices all over a plane; of 80 samples the even ones are like them, the odd ones alike."""
    rng = np.random.default_rng(1)
    pool = rng.normal(0, 1, (80, 2))
    pool[1::2] = rng.normal(0, 0.01, (40, 2))
    real = rng.normal(0, 1, (60, 2))
    write_features(tmp_path, real, pool)
    return tmp_path, real.astype(np.float32), pool.astype(np.float32)


ODD, EVEN = np.arange(1, 80, 2), np.arange(0, 80, 2)
ASKED = config(40, 80, min_iou=0.5)


def test_collapse_by_selection_is_seen(typical):
    folder, real, pool = typical
    same = survivors(ASKED, pool_of(80), Choice(ODD, 80), folder)
    spread = survivors(ASKED, pool_of(80), Choice(EVEN, 80), folder)
    assert (same["kept"], same["generated"], same["retention"]) == (40, 80, 0.5)
    assert same["kept_vendi"] < 1.1 < same["random_vendi"] < spread["kept_vendi"]
    assert same["kept_coverage"] < same["random_coverage"] < spread["kept_coverage"]
    for choice, found in ((ODD, same), (EVEN, spread)):
        assert found["kept_coverage"] == pytest.approx(prdc(real, pool[choice])["coverage"])
    assert same["random_vendi"] == spread["random_vendi"]


def test_a_filter_that_drops_nothing_equals_chance(typical):
    found = survivors(ASKED, pool_of(80), Choice(np.arange(50), 50), typical[0])
    assert found["kept_vendi"] == pytest.approx(found["random_vendi"], rel=1e-12)
    assert found["kept_coverage"] == found["random_coverage"]
    assert (found["retention"], found["kept_area_ratio"]) == (1, 1)


def test_samples_behind_those_looked_at_do_not_count(typical, tmp_path):
    folder, real, pool = typical
    choice = Choice(np.arange(0, 30, 2), 30)
    areas = np.arange(80)
    whole = survivors(ASKED, pool_of(80, areas), choice, folder)
    head = tmp_path / "head"
    head.mkdir()
    write_features(head, real, pool[:30])
    assert survivors(ASKED, pool_of(30, areas[:30]), choice, head) == whole
    assert whole["kept_area_ratio"] == pytest.approx(np.arange(0, 30, 2).mean() / np.arange(30).mean())


def test_large_sides_are_thinned_to_equal_sizes(typical, monkeypatch):
    monkeypatch.setattr(filtering, "PAIRS", 20)
    sizes = []
    monkeypatch.setattr(filtering, "_spread", lambda real, x: sizes.append((len(real), len(x))) or {})
    survivors(ASKED, pool_of(80), Choice(EVEN, 80), typical[0])
    assert sizes == [(20, 20)] * (1 + filtering.DRAWS)


def test_undefined_values_are_left_out(tmp_path):
    counts = ["generated", "kept", "retention"]
    pool, empty, choice = np.arange(20.0).reshape(10, 2), pool_of(10, [0] * 10), Choice(np.arange(4), 10)
    write_features(tmp_path, pool[:5], pool)
    assert sorted(survivors(ASKED, empty, choice, tmp_path)) == counts
    assert sorted(survivors(ASKED, pool_of(10), choice, tmp_path)) == sorted([*counts, "kept_area_ratio"])
    write_features(tmp_path, np.zeros((8, 2)), pool)
    found = survivors(ASKED, empty, choice, tmp_path)
    assert sorted(found) == sorted([*counts, "kept_coverage", "random_coverage"])


@pytest.fixture(scope="module")
def inputs(slices, tmp_path_factory):
    """Slices, a pool of 40 training slices of which every other one passes, and pixels as their features."""
    folder, data = tmp_path_factory.mktemp("filter"), SliceSet.open(slices)
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)
    images = data.image_rows(rows)
    Pool(images=images[:40], masks=data.masks[rows[:40]], slices_per_patient=10).save(folder)
    write_fitted_on(folder, [])
    pd.DataFrame({"sample": np.arange(40), "iou": np.tile([0.2, 0.8], 20)}).to_parquet(folder / "scores.parquet")
    pixels = images[:, 0, ::4, ::4].reshape(len(images), -1)
    write_features(folder, pixels, pixels[:40])
    return {"prepare": slices, "pool": folder, "scores": folder}


TINY = {"steps": 4, "batch_size": 4, "channels": (4, 8), "residual_units": 0}


def test_the_stage_reports_what_the_filter_did_and_leaves_it_behind(inputs, tmp_path):
    trial = FakeTrial(tmp_path)
    reports = drain(run(config(8, 20, min_iou=0.5, **TINY), inputs, trial))
    found = json.loads((trial.output / "filter.json").read_text())
    assert (found["kept"], found["generated"], found["retention"]) == (8, 16, 0.5)
    beside = ("coverage", "vendi")
    against_chance = [f"{side}_{name}" for side in ("kept", "random") for name in beside]
    names = ["generated", "kept", "kept_area_ratio", "retention", *against_chance]
    assert sorted(found) == sorted(names)
    exposure = json.loads((trial.output / "exposure.json").read_text())
    assert without_record(exposure) == ()
    assert found.items() <= reports[-1].metrics.items()
    assert found.items() <= exposure.items()
    assert exposure["synthetic_slices"] == 8


def test_missing_features_are_found_before_training(inputs, tmp_path):
    for name in ("scores.parquet", FITTED_ON):
        shutil.copy(inputs["scores"] / name, tmp_path)
    trial = FakeTrial(tmp_path / "trial")
    with pytest.raises(FileNotFoundError, match=r"features\.safetensors"):
        next(run(config(8, 20, min_iou=0.5, **TINY), inputs | {"scores": tmp_path}, trial))
