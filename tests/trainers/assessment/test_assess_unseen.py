"""Agreement of masks beside reals that the judge has not seen: a planted bias, who is unseen, what is not told."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.fitted_on import read_fitted_on, write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run as prepare
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source
from medsweep.errors import UserError
from medsweep.trainers.assessment.agreement import MEASURES
from medsweep.trainers.assessment.assess import embed, run
from medsweep.trainers.assessment.config import AssessConfig, EmbedConfig
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import JudgeConfig, SegmentConfig, SegmentSettings, judge_of, resolve
from medsweep.trainers.segmentation.train import run as segment

FOLD = Fold(index=0, of=4, patients=7, validation=0.22)
"""Six patients are tested, four watched, seven in use and seven left out."""


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slice set of 24 phantom patients at 32 pixels."""
    trial = FakeTrial(tmp_path_factory.mktemp("prepare"))
    phantom = PhantomConfig(patients=24, seed=5, shape=(36, 32, 8), spacing_mm=(1.8, 1.8, 7.0))
    data = DataConfig(dataset="phantom", phantom=phantom, resolution=32)
    source = inspect_source(data, trial.scratch)
    drain(prepare(PrepareConfig(**dict(data), source=source.fingerprint), {}, trial))
    return Path(trial.output)


def fitted(slices: Path, folder: Path, *, fold: Fold = FOLD, left_out: bool) -> Path:
    settings = SegmentSettings(steps=150, batch_size=8, channels=(8, 16), residual_units=0, learning_rate=1e-2)
    control = resolve(settings, fold=fold, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    config: SegmentConfig = judge_of(control) if left_out else control
    trial = FakeTrial(folder)
    drain(segment(config, {"prepare": slices}, trial))
    return Path(trial.output)


@pytest.fixture(scope="module")
def judges(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The control's segmenter and the one fitted on the patients left out."""
    folder = tmp_path_factory.mktemp("judges")
    return {name: fitted(slices, folder / name, left_out=name == "left-out") for name in ("control", "left-out")}


def pool_of_strangers(slices: Path, folder: Path, grown_px: int) -> Path:
    """Real slices of the test patients, whom no network here has seen, with masks that are too large."""
    data = SliceSet.open(slices)
    rows = data.rows(split(data.patients, FOLD).test, foreground_only=True)
    masks = np.array(data.masks[rows])
    for mask in masks:
        if grown_px:
            near = ndimage.distance_transform_edt(mask == 0, return_indices=True)
            mask[:] = np.where(near[0] <= grown_px, mask[tuple(near[1])], mask)
    Pool(images=data.images[rows], masks=masks, slices_per_patient=5).save(folder)
    write_fitted_on(folder, [])
    return folder


def assessed(
    slices: Path, folder: Path, pool: Path, judge: Path, *, fold: Fold = FOLD, relabelled: bool = False
) -> tuple[dict[str, float], dict[str, str], pd.DataFrame, pd.DataFrame]:
    """Metrics of the pool, what is left out, scores of samples and of real slices."""
    real, trial = FakeTrial(folder / "embed"), FakeTrial(folder)
    inputs = {"prepare": slices, "judge": judge}
    drain(embed(EmbedConfig(fold=fold, seed=0, halvings=2), inputs, real))
    config = AssessConfig(fold=fold, seed=0, halvings=2, relabelled=relabelled)
    drain(run(config, inputs | {"pool": pool, "real": real.output}, trial))
    texts = [json.loads((trial.output / name).read_text()) for name in ("pool_metrics.json", "left_out.json")]
    tables = [trial.output / "scores.parquet", real.output / "real_agreement.parquet"]
    return (*texts, *map(pd.read_parquet, tables))


def test_a_judge_is_fitted_on_the_patients_left_out_and_on_nobody_else(slices, judges):
    patients = split(SliceSet.open(slices).patients, FOLD)
    seen = read_fitted_on(judges["left-out"])
    assert len(seen) == 7
    assert not seen & {*patients.train, *patients.validation, *patients.test}
    assert read_fitted_on(judges["control"]) == set(patients.train)


def test_a_planted_bias_is_found_beside_unseen_reals_and_none_where_there_is_none(slices, judges, tmp_path):
    for name, judge in judges.items():
        pools = [pool_of_strangers(slices, tmp_path / f"{name} {px} px", px) for px in (0, 2)]
        clean, grown = (assessed(slices, pool / "assessed", pool, judge)[0] for pool in pools)
        assert abs(clean["excess_bias_px"]) < 1, name
        assert grown["excess_bias_px"] - clean["excess_bias_px"] == pytest.approx(2, abs=0.6), name
        assert grown["excess_bias_px"] > 1, name
        assert grown["excess_bias_px_low"] < grown["excess_bias_px"] < grown["excess_bias_px_high"], name
        assert clean["excess_bias_px_low"] < 0 < clean["excess_bias_px_high"], name


@pytest.mark.parametrize(("judge", "groups"), [("control", {"watched"}), ("left-out", {"in use", "watched"})])
def test_unseen_reals_are_those_that_the_judge_was_not_fitted_on(slices, judges, tmp_path, judge, groups):
    pool = pool_of_strangers(slices, tmp_path / "pool", 0)
    metrics, left_out, scores, real = assessed(slices, tmp_path / "a", pool, judges[judge])
    assert set(real.loc[real["unseen"], "group"]) == groups
    assert set(real["group"]) == {"in use", "watched"}
    assert metrics["n_unseen"] == real["unseen"].sum()
    assert metrics["n_unseen_patients"] == {"control": 4, "left-out": 11}[judge]
    assert left_out == {}
    means = scores["hd95_px"].mean(), real.loc[real["unseen"], "hd95_px"].mean()
    assert metrics["excess_hd95_px"] == pytest.approx(means[0] - means[1])
    assert metrics["consistency_hd95_px_unseen"] == pytest.approx(means[1])
    assert {f"class_1/{name}" for name in MEASURES} < set(scores.columns)


def test_a_mask_is_held_against_those_of_other_people(slices, judges, tmp_path):
    data = SliceSet.open(slices)
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)
    nearest = {}
    for name, sources in {"painted": rows, "generated": None}.items():
        Pool(data.images[rows], np.array(data.masks[rows]), 5, rows=sources).save(tmp_path / name)
        write_fitted_on(tmp_path / name, [])
        _, _, scores, _ = assessed(slices, tmp_path / name / "a", tmp_path / name, judges["control"])
        nearest[name] = scores["nearest_px"]
    real = pd.read_parquet(tmp_path / "painted" / "a" / "embed" / "output" / "real_abnormality.parquet")
    assert (nearest["generated"] == 0).all()
    assert nearest["painted"].min() > 0
    np.testing.assert_array_equal(nearest["painted"], real["nearest_px"][: len(rows)])
    assert len(real) > len(rows)


def test_a_judge_that_has_seen_all_reals_gives_no_excess_and_says_why(slices, tmp_path):
    fold = FOLD.model_copy(update={"validation": 0.0, "patients": None})
    judge = fitted(slices, tmp_path / "judge", fold=fold, left_out=False)
    pool = pool_of_strangers(slices, tmp_path / "pool", 0)
    metrics, left_out, _, real = assessed(slices, tmp_path / "a", pool, judge, fold=fold)
    assert not real["unseen"].any()
    assert metrics["n_unseen"] == 0
    assert "consistency_hd95_px" in metrics
    assert not [name for name in metrics if "excess_" in name or name.endswith("_px_unseen")]
    assert set(left_out) == {"excess"}
    assert "fitted on all real slices in use" in left_out["excess"]
    assert "replicates.validation" in left_out["excess"]


def test_relabelled_pools_leave_consistency_out_and_say_why(slices, judges, tmp_path):
    pool = pool_of_strangers(slices, tmp_path / "pool", 0)
    np.save(pool / "spoiled.npy", np.arange(len(Pool.open(pool))) % 4 == 0)
    metrics, left_out, scores, _ = assessed(slices, tmp_path / "a", pool, judges["left-out"], relabelled=True)
    assert metrics["spoiled_share"] == pytest.approx(0.25, abs=0.02)
    assert "spoiled_auc" not in metrics
    assert not [name for name in metrics if "excess_" in name or "consistency" in name or name.startswith("iou")]
    assert {"frechet", "n_pool"} <= set(metrics)
    assert set(left_out) == {"consistency", "excess"}
    assert all("by construction" in reason for reason in left_out.values())
    assert "iou" in scores


def test_a_judge_needs_somebody_left_out(slices, tmp_path):
    with pytest.raises(ValueError, match=r"assess\.judge left-out needs training patients that the study leaves out"):
        fitted(slices, tmp_path / "a", fold=FOLD.model_copy(update={"patients": None}), left_out=True)
    with pytest.raises(UserError, match=r"assess\.judge left-out finds no training patient left out of the 14 in use"):
        fitted(slices, tmp_path / "b", fold=FOLD.model_copy(update={"patients": 14}), left_out=True)


def test_a_judge_may_borrow_the_patients_left_out():
    settings = SegmentSettings(steps=2, validate_every_steps=1)
    control = resolve(settings, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    judge = judge_of(control)
    assert isinstance(judge, JudgeConfig)
    assert (judge.cut, judge.borrows) == (FOLD, FOLD.model_copy(update={"patients": None}))
    assert judge.validate_every_steps == 0
