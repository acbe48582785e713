"""Which files are whose, and what is said where that cannot be told."""

from pathlib import Path

import numpy as np
import pytest

from helpers.decathlon_folder import save, touch
from medsweep.data.new_patients import PatientFiles, find_patients, mask_values, read_patient
from medsweep.errors import UserError

BRATS = ("flair", "t1", "t1ce", "t2")


@pytest.mark.parametrize(
    "names",
    [
        [f"BraTS20_001/BraTS20_001_{name}.nii.gz" for name in BRATS],
        [f"BraTS20_001/{name}.nii" for name in BRATS],
        [f"imagesTs/BraTS20_001_000{channel}.nii.gz" for channel in range(4)],
        [f"BraTS20_001-{name.upper()}.nii.gz" for name in BRATS],
    ],
)
def test_modalities_are_told_by_names_and_numbers(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names, ".hidden/x.nii.gz", "._x.nii.gz", "notes.txt")
    (patient,) = find_patients(tmp_path, BRATS)
    assert patient.id == "BraTS20_001"
    assert [path.relative_to(tmp_path).as_posix() for path in patient.images] == names


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["b_0000.nii.gz", "a_0000.nii.gz"], ["a", "b"]),
        (["case_0000.nii.gz", "case_0001.nii.gz"], ["case_0000", "case_0001"]),
        (["sub/p7.nii"], ["p7"]),
        (["a/mri.nii.gz", "b/MRI.nii"], ["a", "b"]),
        (["a_MRI.nii.gz", "b.nii.gz"], ["a", "b"]),
        (["__MACOSX/x.nii.gz", "p.nii.gz/anything.nii"], ["anything"]),
    ],
)
def test_a_file_is_a_patient_where_there_is_one_modality(tmp_path: Path, names: list[str], ids: list[str]) -> None:
    touch(tmp_path, *names)
    assert [patient.id for patient in find_patients(tmp_path, ("MRI",))] == ids


def test_all_patients_that_lack_a_modality_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{id_}_{name}.nii.gz" for id_ in "abc" for name in BRATS if name != "t2" or id_ == "b"))
    told = r"'a' lacks t2 .*add a_t2.nii.gz or a_0003.nii.gz\npatient 'c' lacks t2"
    with pytest.raises(UserError, match=told):
        find_patients(tmp_path, BRATS)


def test_what_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        find_patients(tmp_path / "nowhere", BRATS)
    with pytest.raises(UserError, match="no NIfTI file"):
        find_patients(tmp_path, BRATS)
    touch(tmp_path, "one/p.nii.gz", "two/p.nii")
    with pytest.raises(UserError, match="patient 'p' has two files of one kind"):
        find_patients(tmp_path, ("MRI",))
    save(tmp_path / "odd" / "p_seg.nii.gz", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(UserError, match=r"p_seg.nii.gz says no modality .*end its name with one of flair, t1"):
        find_patients(tmp_path / "odd", BRATS)


def test_linked_folders_are_looked_into_and_other_formats_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "far/p1/MRI.nii.gz", "odd/p2.mha")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "p1").symlink_to(tmp_path / "far" / "p1")
    assert [patient.id for patient in find_patients(tmp_path / "new", ("MRI",))] == ["p1"]
    told = r"no NIfTI file .* 1 file of other formats is there \(1 .mha\), which is not read; .* keeps the geometry$"
    with pytest.raises(UserError, match=told):
        find_patients(tmp_path / "odd", ("MRI",))


def test_grids_are_compared_over_the_whole_volume_however_it_is_stored(tmp_path: Path) -> None:
    affine = np.eye(4)[[2, 0, 1, 3]]
    volume = np.random.default_rng(0).random((4, 5, 60), np.float32)
    first = save(tmp_path / "a.nii", volume, affine)
    turned = affine.copy()
    turned[1, 2] = 0.004  # a quarter of a voxel at the far end of the longest axis
    second = save(tmp_path / "b.nii", volume, turned)
    with pytest.raises(UserError, match=r"do not lie on one grid \(0.24 voxels apart\)"):
        read_patient(PatientFiles("p", (first, second), ("T1", "T2")))
    assert len(read_patient(PatientFiles("p", (first, first), ("T1", "T2"))).volumes) == 2


def test_a_mask_is_told_from_an_image() -> None:
    rng = np.random.default_rng(0)
    mask = (rng.random((80, 20, 8)) > 0.5).astype(np.float32)
    assert mask_values(mask * 7) == 2
    assert mask_values(mask / 3) == 0
    assert mask_values(rng.integers(-1000, 1000, (80, 20, 8)).astype(np.float32)) == 0
