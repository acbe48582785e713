"""Patients without labels: predicted on their own grids where the training patients' files are gone."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

import medsweep as package
from helpers.column_dictionary import compare, named, sections
from helpers.commanding import Medsweep, decathlon
from helpers.micro import write_micro
from medsweep.data.phantom import PhantomConfig
from medsweep.data.phantom.generic import write_phantom

PATIENTS = "  phantom: {patients: 6, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}\n"
LEARNS = "steps: 120, batch_size: 8, channels: [8, 16], learning_rate: 0.01, augment: none"
NEW = PhantomConfig(patients=2, seed=11, shape=(20, 18, 8), spacing_mm=(2.0, 2.0, 4.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep over files that are gone, and new/ with a patient beside its turned copy."""
    folder = tmp_path_factory.mktemp("predicted")
    root = decathlon(folder)
    changes = [
        ("  dataset: phantom\n" + PATIENTS, f"  dataset: micro\n  root: {root}\n"),
        ("[b-sg, mc-sg]", "[b-sg]"),
        ("steps: 12, batch_size: 4, channels: [4, 8]", LEARNS),
    ]
    sweep = package.open(write_micro(folder, *changes), folder / "store")
    assert sweep.run(runner="local", quiet=True).ok
    root.rename(folder / "away")
    write_phantom(NEW, folder / "made")
    image = nib.load(min((folder / "made" / "imagesTr").glob("*.nii.gz")))
    (folder / "new").mkdir()
    image.to_filename(folder / "new" / "anna.nii.gz")
    turned(image).to_filename(folder / "new" / "bert.nii.gz")
    return folder


def turned(image: nib.Nifti1Image) -> nib.Nifti1Image:
    return image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt("PSL")))


def voxels(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def test_new_patients_are_predicted_however_they_lie(medsweep: Medsweep, folder: Path) -> None:
    words = ["predict", folder / "micro.yaml", "--store", folder / "store", "--on", folder / "new"]
    ended = medsweep(*words, "--out", folder / "one", "--arm", "control", "--probabilities")
    assert ended.exit_code == 0, ended.output
    each = [folder / "one" / "control" / f"fold-{fold}-seed-0" for fold in (0, 1)]
    for network in each:
        anna, bert = nib.load(network / "anna.nii.gz"), nib.load(network / "bert.nii.gz")
        assert anna.shape == (20, 18, 8)
        np.testing.assert_allclose(bert.affine, nib.load(folder / "new" / "bert.nii.gz").affine)
        assert np.asanyarray(anna.dataobj).any()
        np.testing.assert_array_equal(voxels(network / "bert.nii.gz"), np.asanyarray(turned(anna).dataobj))
    table = pd.read_csv(folder / "one" / "volumes.csv")
    assert compare(table.columns, [n for row in sections()["volumes.csv"] for n in named(row[0])]) == ([], [])
    assert len(table) == 2 * 2 * 2
    first = table.query("fold == 0 and patient == 'anna'").set_index("class")
    assert first["voxels"].tolist() == [int((voxels(each[0] / "anna.nii.gz") == value).sum()) for value in (1, 2)]
    assert first["volume_ml"].tolist() == pytest.approx((first["voxels"] * 16 / 1000).tolist())
    assert table["remarks"].isna().all()

    ended = medsweep(*words, "--out", folder / "mean", "--arm", "control", "--ensemble", "folds", "--probabilities")
    assert ended.exit_code == 0, ended.output
    mean = folder / "mean" / "control" / "seed-0"
    for name in first.index:
        maps = [voxels(network / "probabilities" / name / "anna.nii.gz") for network in each]
        found = voxels(mean / "probabilities" / name / "anna.nii.gz")
        np.testing.assert_allclose(found, np.mean(maps, axis=0), atol=1e-6)
    assert pd.read_csv(folder / "mean" / "volumes.csv")["fold"].isna().all()


def test_another_body_part_is_named(medsweep: Medsweep, folder: Path, tmp_path: Path) -> None:
    image = nib.load(folder / "new" / "anna.nii.gz")
    noise = np.random.default_rng(0).lognormal(sigma=2, size=(*image.shape[:3], 2)).astype(np.float32)
    (tmp_path / "odd").mkdir()
    nib.Nifti1Image(noise, image.affine @ np.diag([1, 1, 5, 1])).to_filename(tmp_path / "odd" / "carl.nii.gz")
    (tmp_path / "odd" / "dora.mha").touch()
    where = ["--store", folder / "store", "--on", tmp_path / "odd", "--out", tmp_path / "out", "--ensemble", "all"]
    ended = medsweep("predict", folder / "micro.yaml", *where)
    assert ended.exit_code == 0, ended.output
    assert "warning, carl: 160 mm from feet to head, where the patients of the sweep have 32 to 32 mm" in ended.stderr
    assert "1 file of other formats is there (1 .mha), which is not read" in ended.stderr
    assert "times as far from the middle of the sweep's patients" in ended.stderr
    assert pd.read_csv(tmp_path / "out" / "volumes.csv")["remarks"].str.contains("feet to head").all()
    assert (tmp_path / "out" / "control" / "all-folds-and-seeds" / "carl.nii.gz").is_file()


def test_what_cannot_be_predicted_is_named(medsweep: Medsweep, folder: Path, tmp_path: Path) -> None:
    nib.load(folder / "new" / "anna.nii.gz").slicer[..., 0].to_filename(tmp_path / "anna_T1.nii.gz")
    words = ["predict", folder / "micro.yaml", "--store", folder / "store", "--out", tmp_path / "out"]
    for more, told in [
        (["--on", tmp_path], "patient 'anna' lacks FLAIR (found anna_T1.nii.gz"),
        (["--on", tmp_path / "none"], "there is no folder"),
        (["--on", folder / "new", "--arm", "b-sg count=5"], "did you mean 'b-sg count=4'?"),
        (["--on", folder / "new", "--ensemble", "fold"], "--ensemble 'fold' is none; did you mean 'folds'?"),
        (["--on", folder / "new", "--device", "gpu"], "--device 'gpu' is none; write cpu or cuda"),
        (["--on", folder / "new", "--device", "cuda:x"], "--device 'cuda:x' is none; write cpu or cuda"),
        (["--on", folder / "new", "--device", "cuda:99"], "--device cuda:99: torch finds"),
        (["--ensemble", "folds"], "are for patients without labels; give --on FOLDER"),
    ]:
        ended = medsweep(*words, *more)
        assert (ended.exit_code, told in ended.output) == (2, True), ended.output
    assert not (tmp_path / "out").exists()
