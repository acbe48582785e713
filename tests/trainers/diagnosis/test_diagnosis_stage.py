"""The diagnose stage as a whole, on a small trained network."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.fitted_on import write_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.diagnosis.config import DiagnoseConfig
from medsweep.trainers.diagnosis.diagnose import run
from medsweep.trainers.diagnosis.probes import Sources, joined
from medsweep.trainers.pool import Pool
from medsweep.trainers.segmentation.config import SegmentConfig, SegmentSettings, resolve
from medsweep.trainers.segmentation.train import run as segment

FOLD = Fold(index=0, of=4, validation=0.4)


def training(count=24, **settings) -> SegmentConfig:
    tiny = {"steps": 60, "batch_size": 4, "channels": (4, 8), "residual_units": 0, "learning_rate": 3e-3}
    given = SegmentSettings(**(tiny | {"snapshots": 5, "augment": "none"} | settings))
    return resolve(given, fold=FOLD, seed=0, count=count, candidates=0, unit="slices", resolution=32)


@pytest.fixture(scope="module")
def inputs(slices, tmp_path_factory):
    """A pool of real slices with bright images, the network trained on it, and the control's."""
    folder, data = tmp_path_factory.mktemp("diagnosis"), SliceSet.open(slices)
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)[:24]
    Pool(images=data.images[rows] + 3, masks=data.masks[rows], slices_per_patient=8, rows=rows).save(folder / "pool")
    write_fitted_on(folder / "pool", [])
    found = {"prepare": slices, "pool": folder / "pool"}
    drain(segment(training(), found, arm := FakeTrial(folder / "arm")))
    drain(segment(training(count=0), {"prepare": slices}, control := FakeTrial(folder / "control")))
    return found | {"network": arm.output, "reference": control.output}


def diagnosed(inputs, folder, **settings):
    trial = FakeTrial(folder)
    drain(run(DiagnoseConfig(fold=FOLD, seed=0, segment=training(**settings)), inputs, trial))
    return pd.read_parquet(trial.output / "diagnose.parquet"), trial.output


def test_the_table_tells_gradients_losses_features_and_statistics(inputs, tmp_path):
    table, output = diagnosed(inputs, tmp_path)
    assert list(table) == ["when", "quantity", "group", "source", "value"]
    assert not table.duplicated(["when", "quantity", "group", "source"]).any()
    # 60 steps leave no room for five snapshots
    assert set(table["when"]) == {"early", "late", "25", "75", "100"}
    value = table.set_index(["when", "quantity", "group", "source"])["value"]
    levels = {"encoder 1", "bottleneck", "head"}
    gradients = {"cosine_with_held_out", "norm_ratio", "influence", "influence_preconditioned", "noise_scale"}
    late = table[table["when"] == "late"]
    assert set(late["quantity"]) == gradients
    assert set(late["group"]) == levels | {"all"}
    assert value["100", "cross_entropy", "all", "train"] < value["25", "cross_entropy", "all", "train"]
    gap = value["100", "cross_entropy", "all", "held-out"] - value["100", "cross_entropy", "all", "train"]
    assert value["100", "generalisation_gap", "all", "held-out - train"] == pytest.approx(gap)
    assert value["100", "domain_auc", "encoder 1", "pool"] > 0.95
    assert value["100", "control_domain_auc", "encoder 1", "pool"] > 0.95
    assert value["100", "domain_auc", "encoder 1", "train"] < 0.9
    assert value["100", "mean_shift", "encoder 1", "pool"] > value["100", "mean_shift", "encoder 1", "train"]
    assert 0 < value["100", "cka_with_control", "bottleneck", "held-out"] < 1
    shifts = table[table["quantity"] == "batch_norm_kl"]
    assert len(shifts) == 3 - 1
    assert (shifts["value"] > 0).all()
    # images that are brighter by the same everywhere differ in their low band alone
    assert value["100", "influence_of_real_high_band", "all", "pool"] == pytest.approx(0, abs=1e-3)
    for network in ("", "control_"):
        gap = value["100", f"{network}band_gap", "all", "pool"]
        assert gap > 0.1
        assert value["100", f"{network}low_band_effect", "all", "pool"] == pytest.approx(gap, rel=1e-4)
        assert 0 < value["100", f"{network}texture_slope_p", "all", "pool"] <= 1
    train = split(SliceSet.open(inputs["prepare"]).patients, FOLD).train
    assert json.loads((output / "fitted_on.json").read_text()) == list(train)


def test_noise_in_the_images_takes_influence_that_the_real_high_band_gives_back(inputs, tmp_path):
    pool, noise = Pool.open(inputs["pool"]), np.random.default_rng(0)
    images = (pool.images - 3 + noise.normal(0, 3, pool.images.shape)).astype(np.float32)
    Pool(images, pool.masks, pool.slices_per_patient, rows=pool.rows).save(tmp_path / "pool")
    write_fitted_on(tmp_path / "pool", [])
    table, _ = diagnosed(inputs | {"pool": tmp_path / "pool"}, tmp_path / "trial")
    value = table.set_index(["when", "quantity", "group", "source"])["value"]
    assert value["100", "influence_of_real_high_band", "all", "pool"] > 0.05
    assert not (table["quantity"] == "influence_of_real_high_band")[table["when"] != "100"].any()


def test_visits_of_one_patient_are_one_group(inputs):
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    groups = split(data.patients, FOLD)
    named = {visit: f"anna/{number}" for number, visit in enumerate(groups.train)}
    visits = replace(data, index=data.index.replace({"patient": named}))
    cases = groups.model_copy(update={"train": tuple(named.values())})
    halves = Sources(visits, cases, pool, np.arange(len(pool))).draw(np.random.default_rng(0), again=False)
    for source in ("train", "pool"):
        assert len(set(joined(halves, source).groups)) == 1, source
    assert len(set(joined(halves, "held-out").groups)) == len(groups.validation)


def test_samples_that_contradict_the_training_are_told_by_gradients_and_losses(inputs, tmp_path):
    """The same network, asked about real slices with foreground and background changed over."""
    pool, data = Pool.open(inputs["pool"]), SliceSet.open(inputs["prepare"])
    images, masks = data.images[pool.rows], (pool.masks == 0).astype(np.uint8)
    Pool(images, masks, pool.slices_per_patient).save(tmp_path / "pool")
    write_fitted_on(tmp_path / "pool", [])
    table, _ = diagnosed(inputs | {"pool": tmp_path / "pool"}, tmp_path / "trial")
    value = table.set_index(["when", "quantity", "group", "source"])["value"]
    assert not table["quantity"].str.contains("band").any(), "no mask of this pool is that of a real slice"
    assert value["early", "influence", "all", "pool"] < 0
    assert (
        value["early", "cosine_with_held_out", "all", "pool"]
        < 0
        < value["early", "cosine_with_held_out", "all", "train"]
    )
    assert value["late", "norm_ratio", "all", "pool"] > 2
    assert value["100", "cross_entropy", "all", "pool"] > 3 * value["100", "cross_entropy", "all", "train"]
    assert value["100", "memorisation_gap", "all", "train - pool"] < 0


def test_the_same_trial_leaves_the_same_table(inputs, tmp_path):
    first, again = (diagnosed(inputs, tmp_path / name)[0] for name in "ab")
    pd.testing.assert_frame_equal(first, again)


def test_what_has_seen_a_validation_patient_is_refused(inputs, tmp_path):
    watched = split(SliceSet.open(inputs["prepare"]).patients, FOLD).validation
    for name in ("images.npy", "masks.npy", "pool.json"):
        (tmp_path / name).write_bytes((inputs["pool"] / name).read_bytes())
    (tmp_path / "fitted_on.json").write_text(json.dumps([watched[0]]))
    with pytest.raises(UserError, match=f"first '{watched[0]}'"):
        diagnosed(inputs | {"pool": tmp_path}, tmp_path / "trial")


def test_a_pool_of_one_sample_has_no_halves(inputs, tmp_path):
    with pytest.raises(UserError, match="needs 2 pool slices with foreground, there are 1"):
        diagnosed(inputs, tmp_path, count=1)


@pytest.mark.parametrize(
    ("steps", "percents", "again"),
    [(400, (25, 75, 100), False), (1000, (10, 25, 50, 75, 100), False), (1200, (10, 25, 50, 75, 100), True)],
)
def test_a_short_training_is_looked_at_less(steps, percents, again):
    config = DiagnoseConfig(fold=FOLD, seed=0, segment=training(steps=steps, batch_size=16))
    assert (config.percents, config.again) == (percents, again)
    assert np.isfinite(config.segment.steps)


def test_real_slices_taken_as_they_are_have_no_second_image(inputs, tmp_path):
    pool, data = Pool.open(inputs["pool"]), SliceSet.open(inputs["prepare"])
    Pool(data.images[pool.rows], pool.masks, pool.slices_per_patient, rows=pool.rows).save(tmp_path / "pool")
    write_fitted_on(tmp_path / "pool", [])
    table, _ = diagnosed(inputs | {"pool": tmp_path / "pool"}, tmp_path / "trial")
    assert not table["quantity"].str.contains("band").any()
