"""What an outside generator of a fold is given: the slices of its training patients, their ids, and nobody else's."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.data.folds import split
from medsweep.data.slices import SliceSet
from medsweep.store.store import Store
from medsweep.study.exported_fold import fold_of_sweep
from medsweep.trainers.synthesis.pair_files import find_pairs

ARMS = """factors: {}
arms:
  mine: {synthesise.folder: "fold-{fold}/pool", synthesise.count: 4}
"""
FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
VALIDATION = ("{folds: 2, seeds: 1}", "{folds: 2, seeds: 1, validation: 0.3}")


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """It names a pool that is still to be made."""
    return write_micro(tmp_path, (FACTORS, ARMS), VALIDATION)


def test_the_training_slices_of_the_fold_are_written_and_no_others(
    medsweep: Medsweep, sweep: Path, tmp_path: Path
) -> None:
    out = tmp_path / "fold-1"
    told = medsweep("data", "export-fold", sweep, "--fold", 1, "--out", out, "--store", tmp_path / "store")
    assert told.exit_code == 0, told.output
    store = Store.open(tmp_path / "store")
    (published,) = store.published("prepare")
    slices = SliceSet.open(store.output("prepare", published.digest))
    groups = split(slices.patients, fold_of_sweep(sweep, store, 1, None).fold)
    assert groups.validation
    rows = slices.rows(groups.train, foreground_only=True)
    assert np.array_equal(np.load(out / "images.npy"), slices.images[rows])
    assert np.array_equal(np.load(out / "masks.npy"), slices.masks[rows])
    assert pd.read_csv(out / "slices.csv")["case"].tolist() == slices.index["patient"].to_numpy()[rows].tolist()
    about = json.loads((out / "fold.json").read_text())
    assert about["train"] == list(groups.train)
    assert (about["fold"], about["resolution"], about["range"]) == (1, 16, [-5, 5])
    text = "".join(path.read_text() for path in out.rglob("*") if path.suffix in (".json", ".csv", ".yaml"))
    assert not [case for case in (*groups.test, *groups.validation) if case in text]
    assert f"{len(rows)} slices of the {len(groups.train)} training patients of fold 1" in told.output


def test_volumes_hold_all_slices_of_the_same_patients_as_a_pool_is_read(
    medsweep: Medsweep, sweep: Path, tmp_path: Path
) -> None:
    words = ("data", "export-fold", sweep, "--fold", 0, "--out", tmp_path / "out", "--store", tmp_path / "store")
    assert medsweep(*words, "--volumes").exit_code == 0
    store = Store.open(tmp_path / "store")
    (published,) = store.published("prepare")
    slices = SliceSet.open(store.output("prepare", published.digest))
    train = json.loads((tmp_path / "out" / "fold.json").read_text())["train"]
    found = find_pairs(tmp_path / "out" / "volumes", 2)
    images, masks = found.read(0, found.samples)
    rows = slices.rows(train)
    assert np.array_equal(images, slices.images[rows])
    assert np.array_equal(masks, slices.masks[rows])


def test_what_is_asked_wrongly_is_told_in_one_line(medsweep: Medsweep, sweep: Path, tmp_path: Path) -> None:
    def told(*words: object, of: Path = sweep) -> str:
        found = medsweep("data", "export-fold", of, "--store", tmp_path / "store", "--out", tmp_path / "out", *words)
        assert found.exit_code == 2
        assert not (tmp_path / "out").exists()
        return found.output

    assert "--fold 7 is none of the folds of micro, which are 0, 1" in told("--fold", 7)
    assert "--arm 'mino' is no arm of micro; did you mean 'mine'?" in told("--fold", 0, "--arm", "mino")
    two = ARMS + "  few: {data.patients: 1, synthesise.folder: 'few-{fold}/pool', synthesise.count: 4}\n"
    differ = write_micro(tmp_path, (FACTORS, two), name="differ.yaml")
    assert "differ in data.patients or in their slices; say with --arm" in told("--fold", 0, of=differ)
    words = ("data", "export-fold", differ, "--store", tmp_path / "store", "--out", tmp_path / "few", "--fold", 0)
    assert medsweep(*words, "--arm", "few").exit_code == 0
    assert len(json.loads((tmp_path / "few" / "fold.json").read_text())["train"]) == 1
    again = medsweep(*words)
    assert again.exit_code == 2
    assert "is not an empty folder" in again.output
