"""nnU-Net beside the arms of a sweep: a fold goes out as its raw data set, and its predictions are scored like ours."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from helpers.commanding import Medsweep
from helpers.ignoring_cohort import prepared as ignoring
from medsweep.data.config import DataConfig
from medsweep.data.folds import Fold, Split, split
from medsweep.data.ignored import IGNORED
from medsweep.data.nifti import read_image, write_prediction
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source, list_cases
from medsweep.data.volumes import load
from medsweep.errors import UserError
from medsweep.store.store import Store
from medsweep.study.exported_fold import FoldOfSweep, fold_of_sweep
from medsweep.study.nnunet_fold import export_raw
from medsweep.study.outside_scores import read_prediction

SCORES = ["patient", "class", "metric", "fold", "seed", "value", "status", "n_ref", "n_pred", "volume_pred_ml"]


def exported(medsweep: Medsweep, copy: Path, fold: int) -> Path:
    words = ("data", "export-fold", copy / "micro.yaml", "--fold", fold, "--store", copy / "store")
    told = medsweep(*words, "--out", copy / f"fold-{fold}", "--nnunet", 501 + fold)
    assert told.exit_code == 0, told.output
    assert "nnUNetv2_train" in told.output
    (folder,) = (copy / f"fold-{fold}").glob("Dataset*")
    return folder


def prepared(copy: Path) -> SliceSet:
    store = Store.open(copy / "store")
    (published,) = store.published("prepare")
    return SliceSet.open(store.output("prepare", published.digest))


def test_training_patients_go_out_with_labels_and_tested_ones_without(medsweep: Medsweep, copy: Path) -> None:
    folder, slices = exported(medsweep, copy, 1), prepared(copy)
    assert folder.name == "Dataset502_phantomFold1"
    fold = fold_of_sweep(copy / "micro.yaml", Store.open(copy / "store"), 1, None).fold
    groups = split(slices.patients, fold)
    channels = range(len(slices.modalities))
    for name, cases in (("imagesTr", groups.train), ("imagesTs", groups.test)):
        wanted = sorted(f"{case}_{channel:04}.nii.gz" for case in cases for channel in channels)
        assert sorted(path.name for path in (folder / name).iterdir()) == wanted
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [f"{case}.nii.gz" for case in groups.train]
    said = json.loads((folder / "dataset.json").read_text())
    assert said["labels"] == {name: index for index, name in enumerate(slices.classes)}
    assert said["channel_names"] == {str(place): name for place, name in enumerate(slices.modalities)}
    assert (said["numTraining"], said["file_ending"]) == (len(groups.train), ".nii.gz")
    assert json.loads((folder.parent / "fold.json").read_text())["train"] == list(groups.train)


def test_what_goes_out_is_read_back_as_a_raw_data_set_with_the_same_voxels(medsweep: Medsweep, copy: Path) -> None:
    folder, slices = exported(medsweep, copy, 0), prepared(copy)
    listing = list_cases("mine", folder)
    assert [finding.what for finding in listing.findings if finding.severity == "error"] == []
    assert listing.modalities == slices.modalities
    assert listing.classes == slices.classes
    for case in listing.cases:
        loaded = load(case, listing)
        assert np.array_equal(loaded.label_planes(), slices.reference(case.id))
        np.testing.assert_allclose(loaded.grid.affine, slices.volumes[case.id].stored.affine, atol=1e-5)
        assert loaded.image[0].std() > 0
        assert loaded.spacing_mm == slices.volumes[case.id].spacing_mm
    tested = read_image(min((folder / "imagesTs").iterdir()))
    assert tested.array.std() > 0


def test_ignored_voxels_are_the_value_after_the_last_class(tmp_path: Path) -> None:
    slices = ignoring(tmp_path)
    assert slices.ignores
    data = DataConfig(dataset="toy", root=str(tmp_path / "data"), resolution=16)
    groups = Split(train=("p_1", "p_2"), test=("p_3",))
    fold = Fold(index=0, scheme="file", given_patients=groups)
    raw = export_raw(slices.folder, FoldOfSweep(data, inspect_source(data, tmp_path), fold), tmp_path / "out", 7)
    labels = json.loads((raw.folder / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "organ": 1, "core": 2, "ignore": 3}
    for case in groups.train:
        stored = np.asanyarray(nib.load(raw.folder / "labelsTr" / f"{case}.nii.gz").dataobj)
        assert (stored == 3).sum() == (slices.reference(case) == IGNORED).sum() > 0
        assert stored.max() == 3


def test_values_are_class_indices_unless_they_are_said_to_be_stored_ones(copy: Path, tmp_path: Path) -> None:
    slices = replace(prepared(copy), values={0: 0, 7: 1, 9: 2})
    case = slices.patients[0]
    write_prediction(tmp_path / f"{case}.nii.gz", slices.reference(case), slices, case)
    assert np.array_equal(read_prediction(tmp_path, slices, case, stored_values=True), slices.reference(case))
    with pytest.raises(UserError, match="undeclared label values 7, 9"):
        read_prediction(tmp_path, slices, case)


@pytest.fixture
def predicted(medsweep: Medsweep, copy: Path) -> Callable[..., Any]:
    """Scores what the control's networks see as if it came from outside."""
    for fold in (0, 1):
        exported(medsweep, copy, fold)
    where = (copy / "micro.yaml", "--store", copy / "store")
    assert medsweep("predict", *where, "--out", copy / "out", "--arm", "control").exit_code == 0

    def score(*more: Any, name: str = "nnunet", folder: str = "fold-{fold}-seed-0", fitted: str = "fold-{fold}") -> Any:
        words = ("score", where[0], str(copy / "out" / "control" / folder), *where[1:], "--results", copy / "results")
        return medsweep(*words, "--name", name, "--fitted-on", str(copy / fitted / "fold.json"), *more)

    return score


def test_predictions_from_outside_are_scored_like_those_of_our_networks(
    medsweep: Medsweep, copy: Path, predicted: Callable[..., Any]
) -> None:
    told = predicted("--stored-values")
    assert told.exit_code == 0, told.output
    table = pd.read_parquet(copy / "results" / "with-nnunet.parquet")
    outside, control = (table[table["arm"] == arm][SCORES].reset_index(drop=True) for arm in ("nnunet", "control"))
    order = ["fold", "seed", "patient", "class", "metric"]
    outside, control = (frame.sort_values(order, ignore_index=True) for frame in (outside, control))
    pd.testing.assert_frame_equal(outside, control)
    (line,) = [line for line in told.output.splitlines() if line.startswith("medsweep analyse")]
    assert "--control control" in line
    assert "--primary dice" in line
    analysed = medsweep(*line.split()[1:], "--results", copy / "both")
    assert analysed.exit_code == 0, analysed.output
    assert "nnunet" in (copy / "both" / "report.html").read_text()


def test_nothing_is_scored_before_the_sweep_has_run(medsweep: Medsweep, copy: Path) -> None:
    where = (
        copy / "micro.yaml",
        copy / "nowhere" / "{fold}",
        "--store",
        copy / "new",
        "--name",
        "nnunet",
        "--fitted-on",
        "f{fold}.json",
    )
    Store.create(copy / "new")
    told = medsweep("score", *where)
    assert (told.exit_code, told.output) == (
        2,
        "medsweep: the data of micro are not prepared yet; medsweep run first\n",
    )


def spoil(path: Path, change: Callable[[nib.Nifti1Image], nib.Nifti1Image]) -> None:
    image = nib.load(path)
    image = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
    change(image).to_filename(path)


def test_what_cannot_be_scored_is_named_in_one_line(copy: Path, predicted: Callable[..., Any]) -> None:
    def refused(*more: Any, **other: str) -> str:
        told = predicted("--stored-values", *more, **other)
        assert told.exit_code == 2, told.output
        assert told.output.count("\n") == 1, told.output
        return str(told.output)

    assert "fold 1 tests or validates on" in refused(fitted="fold-0")
    (copy / "strangers").mkdir()
    (copy / "strangers" / "fold.json").write_text('{"train": ["case_01", "case_02"]}')
    assert "none of its 2 patients, first 'case_01', is in the training group of fold 0" in refused(fitted="strangers")
    assert "'control' is an arm of micro" in refused(name="control")
    assert "cannot be a file name" in refused(name="a/b")
    assert "write {fold} into FOLDER" in refused(folder="fold-0-seed-0")
    first = min((copy / "out" / "control" / "fold-0-seed-0").iterdir())
    kept = copy / "kept.nii.gz"
    shutil.copy(first, kept)
    spoil(first, lambda image: nib.Nifti1Image(np.asanyarray(image.dataobj)[:-1], image.affine))
    assert "voxels, and" in refused()
    shutil.copy(kept, first)
    spoil(
        first,
        lambda image: nib.Nifti1Image(image.dataobj, image.affine + np.pad([[5.0]], ((0, 3), (3, 0)))),
    )
    assert "voxels off the grid" in refused()
    first.unlink()
    assert "there is no prediction" in refused()


@pytest.mark.parametrize(("number", "words"), [(0, "take one from 1 to 999"), (1000, "take one from 1 to 999")])
def test_a_number_that_nnunet_does_not_take_is_refused(medsweep: Medsweep, copy: Path, number: int, words: str) -> None:
    where = ("data", "export-fold", copy / "micro.yaml", "--fold", 0, "--store", copy / "store")
    told = medsweep(*where, "--out", copy / "out", "--nnunet", number)
    assert told.exit_code == 2
    assert words in told.output
    both = medsweep(*where, "--out", copy / "both", "--nnunet", 501, "--volumes")
    assert both.exit_code == 2
    assert "--volumes" in both.output
