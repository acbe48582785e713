"""NRRD and MetaImage files, read by SimpleITK under the rules of NIfTI files."""

import gzip
import importlib.util
import json
import re
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from helpers.decathlon_folder import save
from medsweep.data import nifti
from medsweep.data.check import check
from medsweep.data.config import DataConfig
from medsweep.data.layouts.description import FolderDescription
from medsweep.data.source import inspect_source, list_cases
from medsweep.errors import UserError

ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
AFFINE = np.array([[0, -1.5, 0, 9], [2.0, 0, 0, -4], [0, 0, -4.0, 7], [0, 0, 0, 1]])
SHAPE = (6, 5, 4)


def converted(path: Path, nii: Path, *, packed: bool = True) -> Path:
    """``nii`` as a file of the format that ``path`` names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.ReadImage(str(nii))
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    SimpleITK.WriteImage(image, str(path), useCompression=packed)
    return path


def volume(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(50, 20, SHAPE).astype(np.float32)


def labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("packed", [True, False])
def test_voxels_and_geometry_are_those_of_the_nifti_file(tmp_path, ending, packed):
    nii = save(tmp_path / "a.nii.gz", volume(), AFFINE)
    first = nifti.read_image(nii)
    second = nifti.read_image(converted(tmp_path / f"a{ending}", nii, packed=packed))
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_allclose(first.grid.affine, second.grid.affine, atol=1e-5)
    assert (second.grid.axes, second.grid.shape, second.grid.dtype) == (first.grid.axes, SHAPE, "float32")
    nifti.check_pair(first, second)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Task04_Hippocampus", "imagesTr/hippocampus_001.nii.gz"),
        ("Task04_Hippocampus", "labelsTr/hippocampus_004.nii.gz"),
        ("kits19", "case_00061/segmentation.nii.gz"),
        ("kits19", "case_00015/segmentation.nii.gz"),
        ("ct_abdomen", "image.nii.gz"),
        ("brats_layout", "BraTS20_Training_001/BraTS20_Training_001_flair.nii.gz"),
    ],
)
def test_real_files_keep_voxels_and_affine(real, tmp_path, folder, name):
    first = nifti.read_image(real(folder) / name)
    for ending in (".nrrd", ".mha"):
        second = nifti.read_image(converted(tmp_path / f"a{ending}", real(folder) / name))
        np.testing.assert_array_equal(first.array, second.array)
        np.testing.assert_allclose(first.grid.canonical_affine, second.grid.canonical_affine, atol=1e-5)
        assert first.grid.axes == second.grid.axes


def test_channels_are_a_fourth_axis(tmp_path):
    image = SimpleITK.GetImageFromArray(
        np.moveaxis(np.stack([volume(1), volume(2)], -1), (0, 1, 2), (2, 1, 0)), isVector=True
    )
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(nifti.read_image(tmp_path / "a.nrrd", 2).array[1], np.flip(volume(2), (0, 1)))
    np.testing.assert_array_equal(nifti.read_image(tmp_path / "a.nrrd", channel=0).array[0], np.flip(volume(1), (0, 1)))
    with pytest.raises(UserError, match=r"has 4 axes, shape \(6, 5, 4, 2\); expected a 3D volume"):
        nifti.read_image(tmp_path / "a.nrrd")


def spoiled(path: Path, change) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def test_damage_is_found_that_itk_does_not_look_for(tmp_path):
    nii = save(tmp_path / "a.nii.gz", volume(), AFFINE)
    flipped = converted(tmp_path / "flipped.mha", nii)
    head, _, packed = flipped.read_bytes().partition(b"LOCAL\n")
    stored = zlib.compressobj(0)
    wrong = bytearray(stored.compress(zlib.decompress(packed)) + stored.flush())
    wrong[60] ^= 1
    flipped.write_bytes(head + b"LOCAL\n" + wrong)
    assert SimpleITK.ReadImage(str(flipped)).GetSize() == SHAPE
    with pytest.raises(UserError, match=r"flipped.mha is damaged, its packed data do not pass their own check"):
        nifti.read_image(flipped)
    for ending, packed_ in ((".mha", True), (".mha", False), (".nrrd", True), (".nrrd", False)):
        path = spoiled(converted(tmp_path / f"cut{ending}", nii, packed=packed_), lambda content: content[:-40])
        with pytest.raises(
            UserError, match="ends in the middle of its packed data" if packed_ else "ends too early: its"
        ):
            nifti.read_image(path)
    for skip in (b"0", b"-1"):  # -1 lets ITK count from the end, whatever lies there
        path = spoiled(
            converted(tmp_path / "skip.nrrd", nii, packed=False),
            lambda content, skip=skip: content.replace(b"encoding:", b"byte skip: " + skip + b"\nencoding:"),
        )
        np.testing.assert_array_equal(nifti.read_image(path).array, nifti.read_image(nii).array)
        with pytest.raises(UserError, match="calls for 480 bytes of voxels, it has 440"):
            nifti.read_image(spoiled(path, lambda content: content[:-40]))
    short = converted(tmp_path / "short.nrrd", nii)
    content = short.read_bytes().partition(b"\n\n")
    short.write_bytes(content[0] + b"\n\n" + gzip.compress(gzip.decompress(content[2])[:-8]))
    with pytest.raises(UserError, match="calls for 480 bytes of voxels, it has 472"):
        nifti.read_image(short)


@pytest.mark.parametrize(
    ("ending", "change", "message"),
    [
        (
            ".nrrd",
            lambda c: c.replace(b"space: left-posterior-superior\n", b""),
            "does not have space, space directions",
        ),
        (".mha", lambda c: c.replace(b"TransformMatrix", b"SomethingElse"), "does not have a TransformMatrix, so its"),
        (".nrrd", lambda c: c.replace(b"encoding:", b'space units: "m" "m" "m"\nencoding:'), "is measured in m; write"),
        (".mha", lambda c: b"", "is empty, it has 0 bytes"),
        (".mha", lambda c: b"<!DOCTYPE html>", "is a web page"),
        (".nrrd", lambda c: b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (".nrrd", lambda c: b"\x01" * 40, "is no NRRD file, it begins with"),
        (".nrrd", lambda c: re.sub(rb"directions: [(][^,]+,", b"directions: (1,", c), "sheared grid"),
        (".mha", lambda c: c.replace(b"DimSize = 6 5 4", b"DimSize = 6 5 9"), "ends too early|cannot be read"),
        (".mha", lambda c: c.replace(b"NDims = 3", b"NDims = 99"), "has a damaged header, it states 99 axes"),
        (".mha", lambda c: c.replace(b"NDims = 3", b"NDims = -1"), "has a damaged header, it states -1 axes"),
        (".nrrd", lambda c: c.replace(b"sizes: 6", b"sizes: 0"), r"cannot be read by ITK \((?!.*(0x|SimpleITK-build))"),
        (".mha", lambda c: c.replace(b"MET_FLOAT", b"MET_WRONG"), "cannot be read by ITK|voxels of type"),
    ],
)
def test_what_cannot_be_read_right_is_refused(tmp_path, ending, change, message):
    nii = save(tmp_path / "a.nii.gz", volume(), AFFINE)
    path = spoiled(converted(tmp_path / f"a{ending}", nii), change)
    with pytest.raises(UserError, match=message):
        nifti.read_image(path)


def described(root: Path, ending: str) -> FolderDescription:
    for number in (1, 2, 3):
        for role, array in (("img", volume(number)), ("seg", labels(number))):
            converted(
                root / f"p{number}" / f"{role}{ending}", save(root.parent / "nii" / f"{role}.nii.gz", array, AFFINE)
            )
    return FolderDescription(
        modalities={"T1": f"{{id}}/img{ending}"}, mask=f"{{id}}/seg{ending}", classes={"a": 1, "b": 2}
    )


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd"])
def test_a_folder_is_read_by_patterns_that_end_so(tmp_path, ending):
    description = described(tmp_path / "data", ending)
    listing = list_cases("mine", tmp_path / "data", description=description)
    assert listing.findings == ()
    report = check(listing)
    assert [facts.id for facts in report.cases] == ["p1", "p2", "p3"]
    assert report.cases[0].voxels == tuple(np.bincount(labels(1).ravel()).tolist())
    assert not report.findings or all(finding.severity == "note" for finding in report.findings)


def test_a_file_beside_the_head_is_part_of_the_data(tmp_path):
    description = described(tmp_path / "data", ".mhd")
    config = DataConfig(dataset="mine", root=str(tmp_path / "data"), description=description)
    (tmp_path / "cache").mkdir()
    before = inspect_source(config, tmp_path / "cache").fingerprint
    data = tmp_path / "data" / "p1" / "img.zraw"
    data.write_bytes(zlib.compress((volume(1) + 1).tobytes(order="F")))
    assert inspect_source(config, tmp_path / "cache").fingerprint != before
    data.unlink()
    (lost,) = list_cases("mine", tmp_path / "data", description=description).findings
    assert (lost.case, lost.what) == (
        "p1",
        "img.mhd names the file img.zraw with its voxels, which is not there; bring it",
    )


def test_a_raw_folder_of_nnunet_names_its_ending(tmp_path):
    for number in (1, 2):
        nii = save(tmp_path / "nii" / "i.nii.gz", volume(number), AFFINE)
        converted(tmp_path / "raw" / "imagesTr" / f"c_{number}_0000.nrrd", nii)
        nii = save(tmp_path / "nii" / "l.nii.gz", labels(number), AFFINE)
        converted(tmp_path / "raw" / "labelsTr" / f"c_{number}.nrrd", nii)
    about = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nrrd"}
    (tmp_path / "raw" / "dataset.json").write_text(json.dumps(about))
    report = check(list_cases("raw", tmp_path / "raw"))
    assert ([facts.id for facts in report.cases], report.ok) == (["c_1", "c_2"], True)
    (tmp_path / "raw" / "labelsTr" / "c_2.nrrd").unlink()
    (lost,) = list_cases("raw", tmp_path / "raw").findings
    assert lost.what.startswith("c_2.nrrd is missing")


def test_without_the_extra_its_name_is_told(tmp_path, monkeypatch):
    description = described(tmp_path / "data", ".mha")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    advice = r"which SimpleITK reads: pip install 'medsweep\[sitk\]', or convert the files to .nii.gz"
    with pytest.raises(UserError, match=rf"medsweep.yaml names .mha files, {advice}"):
        list_cases("mine", tmp_path / "data", description=description)
    (tmp_path / "data" / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MR"}, "file_ending": ".mha"}))
    with pytest.raises(UserError, match=rf"has file_ending '.mha', {advice}"):
        list_cases("raw", tmp_path / "data")


def test_predictions_are_nifti_files_on_the_grid_of_the_label(tmp_path):
    nii = save(tmp_path / "a.nii.gz", labels(), AFFINE)
    grid = nifti.read_grid(converted(tmp_path / "a.mha", nii))
    image = nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine)
    np.testing.assert_allclose(image.affine, nib.load(nii).affine, atol=1e-5)
    assert (grid.sform_code, grid.qform_code) == (1, 1)


def test_what_no_pattern_matches_is_told_as_of_nifti_files(tmp_path):
    root = tmp_path / "data"
    description = described(root, ".mha")
    (root / "p3" / "img.mha").rename(root / "p3" / "imgg.mha")
    lost, note = list_cases("mine", root, description=description).findings
    assert (lost.severity, lost.case, lost.what) == ("error", "p3", "img.mha is missing")
    assert note.what == (
        "1 file matches no pattern: p3/imgg.mha; the nearest pattern is {id}/img.mha; rename it, or name it under "
        "ignore in medsweep.yaml"
    )
    wrong = description.model_copy(update={"modalities": {"T1": "{id}-img.mha"}, "mask": "{id}-seg.mha"})
    told = r"none of 6 NIfTI and .mha files in .* matches {id}-img.mha, {id}-seg.mha; mend the patterns or data.root"
    with pytest.raises(UserError, match=told):
        list_cases("mine", root, description=wrong)


@pytest.mark.parametrize(
    ("name", "target", "what"),
    [
        ("img.mha", "../.git/annex/objects/x", "img.mha is a link, and the file that it points to is not there: git a"),
        ("img.mha.part", None, "img.mha.part is there: is it a download that was not finished?"),
        ("img.nrrd", None, "img.nrrd is there: convert it with SimpleITK"),
    ],
)
def test_what_stands_in_the_place_of_a_missing_file_is_told(tmp_path, name, target, what):
    description = described(tmp_path / "data", ".mha")
    place = tmp_path / "data" / "p2"
    (place / "img.mha").unlink()
    (place / name).symlink_to(target) if target else (place / name).touch()
    lost = list_cases("mine", tmp_path / "data", description=description).findings[0]
    assert (lost.case, lost.what.startswith(f"img.mha is missing; {what}")) == ("p2", True), lost.what
