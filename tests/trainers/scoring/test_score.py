"""The score stage: what it leaves of a published network, and whom it refuses to test."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.scoring.config import ScoreConfig
from medsweep.trainers.scoring.score import draw_overlay, evaluate, run
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trainers.segmentation.train import run as segment

FOLD = Fold(index=0, of=4)
WATCHED = Fold(index=0, of=4, validation=0.3)
TINY = {"steps": 12, "batch_size": 4, "channels": (4, 8), "residual_units": 0, "validate_every_steps": 4}
FILES = ["metrics.parquet", "overlay.png"]


def trained(slices, folder, fold):
    config = resolve(SegmentSettings(**TINY), fold=fold, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    trial = FakeTrial(folder)
    drain(segment(config, {"prepare": slices}, trial))
    return trial.output


@pytest.fixture(scope="module")
def network(slices, tmp_path_factory):
    return trained(slices, tmp_path_factory.mktemp("network"), FOLD)


@pytest.fixture(scope="module")
def watched(slices, tmp_path_factory):
    """A network whose best weights were looked for."""
    return trained(slices, tmp_path_factory.mktemp("watched"), WATCHED)


def score(folder, inputs, fold=FOLD):
    trial = FakeTrial(folder)
    return drain(run(ScoreConfig(fold=fold), inputs, trial)), trial.output


def test_outputs_and_report(slices, network, tmp_path):
    (report,), output = score(tmp_path, {"prepare": slices, "network": network})
    assert sorted(path.name for path in output.iterdir()) == FILES
    assert set(report.metrics) == {"test_dice", "test_dice_organ", "test_dice_lesion", "test_structures"}
    assert report.metrics["test_structures"] > 0
    assert report.pictures["overlay"].exists()


def test_the_overlay_shows_the_worst_patients(slices, network, tmp_path, monkeypatch):
    monkeypatch.setattr("medsweep.trainers.scoring.score.SHOWN_PATIENTS", 1)
    monkeypatch.setattr(
        "medsweep.trainers.scoring.score.worst_first", lambda table: sorted(set(table["patient"]))[::-1]
    )
    _, output = score(tmp_path, {"prepare": slices, "network": network})
    data, model = SliceSet.open(slices), load_segmenter(network, "cpu")
    first, *_, last = sorted(split(data.patients, FOLD).test)
    drawn = {one: draw_overlay(model, data, [one], tmp_path / f"{one}.png").read_bytes() for one in (first, last)}
    assert (output / "overlay.png").read_bytes() == drawn[last] != drawn[first]


def test_metrics_table(slices, network, tmp_path):
    _, output = score(tmp_path, {"prepare": slices, "network": network})
    table = pd.read_parquet(output / "metrics.parquet")
    table = table[table["metric"].isin(["dice", "hd95_mm"])]
    data = SliceSet.open(slices)
    patients = split(data.patients, FOLD).test
    keys = [(p, c, m) for p in patients for c in data.classes[1:] for m in ("dice", "hd95_mm")]
    assert list(table[["patient", "class", "metric"]].itertuples(index=False, name=None)) == keys
    assert [str(kind) for kind in table[["value", "n_ref", "n_pred", "tp", "diagonal_mm"]].dtypes] == [
        "float64",
        "int64",
        "int64",
        "int64",
        "float64",
    ]
    for row in table.to_dict("records"):
        reference = data.reference(row["patient"]) == data.classes.index(row["class"])
        assert row["n_ref"] == reference.sum()
        assert row["diagonal_mm"] == pytest.approx(np.hypot(36 * 1.8, np.hypot(32 * 1.8, 12 * 5.0)))
        if row["status"] == "ok" and row["metric"] == "dice":
            assert row["value"] == pytest.approx(2 * row["tp"] / (row["n_ref"] + row["n_pred"]))


def test_validation_patients_and_the_best_weights_are_scored_apart(slices, network, watched, tmp_path):
    other = Path(shutil.copytree(watched, tmp_path / "other"))
    shutil.copy(network / "network.safetensors", other / "best.safetensors")
    (report,), output = score(tmp_path, {"prepare": slices, "network": other}, WATCHED)
    data = SliceSet.open(slices)
    patients = split(data.patients, WATCHED)
    assert sorted(path.name for path in output.iterdir()) == sorted(
        [*FILES, "metrics_best.parquet", "validation.parquet"]
    )
    assert set(pd.read_parquet(output / "validation.parquet")["patient"]) == set(patients.validation)
    assert set(pd.read_parquet(output / "metrics.parquet")["patient"]) == set(patients.test)
    best, last = (evaluate(load_segmenter(folder, "cpu"), data, patients.test) for folder in (network, watched))
    pd.testing.assert_frame_equal(pd.read_parquet(output / "metrics_best.parquet"), best)
    pd.testing.assert_frame_equal(pd.read_parquet(output / "metrics.parquet"), last)
    assert not best.equals(last)
    kept = json.loads((watched / "best.json").read_text())
    assert (report.metrics["best_step"], report.metrics["best_validation_dice"]) == (kept["step"], kept["dice"])
    assert report.metrics["validation_structures"] > 0
    assert {"best_test_dice", "validation_dice", "test_dice"} <= set(report.metrics)


def test_the_same_network_gives_the_same_bytes(slices, watched, tmp_path):
    inputs = {"prepare": slices, "network": watched}
    outputs = [score(tmp_path / name, inputs, WATCHED)[1] for name in ("first", "again")]
    for path in outputs[0].iterdir():
        assert path.read_bytes() == (outputs[1] / path.name).read_bytes()


@pytest.mark.parametrize("held_out", ["test", "validation"])
def test_a_network_that_has_seen_a_held_out_patient_is_refused(slices, watched, tmp_path, held_out):
    leaky = tmp_path / "leaky"
    shutil.copytree(watched, leaky)
    patient = getattr(split(SliceSet.open(slices).patients, WATCHED), held_out)[0]
    (leaky / "fitted_on.json").write_text(json.dumps([patient]))
    with pytest.raises(UserError, match=f"first '{patient}'"):
        score(tmp_path / "trial", {"prepare": slices, "network": leaky}, WATCHED)


def test_a_network_of_another_fold_is_refused(slices, network, tmp_path):
    with pytest.raises(UserError, match="held-out patients of this fold"):
        score(tmp_path, {"prepare": slices, "network": network}, Fold(index=1, of=4))
