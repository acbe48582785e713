"""The BraTS20 layout: nested copies, whole-suffix names, the mask under another name, validation patients."""

from functools import partial

import pytest

from helpers.decathlon_folder import touch
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.layouts import brats
from medsweep.errors import UserError

ALL = ("t1", "t1ce", "t2", "flair", "seg")

cases = partial(brats.cases, spec=CATALOGUE["brats20"])


def patient(root, number, roles=ALL, ending=".nii.gz", kind="Training"):
    id_ = f"BraTS20_{kind}_{number:03d}"
    return touch(root, *(f"{id_}/{id_}_{role}{ending}" for role in roles)) / id_


def errors(listing):
    return [(finding.case[-3:], finding.what) for finding in listing.findings if finding.severity == "error"]


def test_the_modalities_come_in_a_fixed_order(tmp_path):
    patient(tmp_path, 2, ending=".nii")
    patient(tmp_path, 1)
    listing = cases(touch(tmp_path, "name_mapping.csv")).require()
    assert [case.id for case in listing.cases] == ["BraTS20_Training_001", "BraTS20_Training_002"]
    first = listing.cases[0]
    assert [path.name[21:] for path in first.images] == ["t1.nii.gz", "t1ce.nii.gz", "t2.nii.gz", "flair.nii.gz"]
    assert first.label.name == "BraTS20_Training_001_seg.nii.gz"
    assert (listing.values, listing.stacked, listing.findings) == ({0: 0, 1: 1, 2: 2, 4: 3}, False, ())
    assert listing.regions["WT"] == listing.classes[1:]


def test_the_nested_copy_is_found_and_validation_patients_are_unlabelled(tmp_path):
    training = tmp_path / "BraTS2020_TrainingData" / "MICCAI_BraTS2020_TrainingData"
    patient(training, 7, ending=".nii")
    validation = tmp_path / "BraTS2020_ValidationData" / "MICCAI_BraTS2020_ValidationData"
    patient(validation, 3, ALL[:4], ".nii", "Validation")
    for root in (tmp_path, tmp_path / "BraTS2020_TrainingData", training):
        assert [case.id for case in cases(root).require().cases] == ["BraTS20_Training_007"]
    assert cases(tmp_path).unlabelled == ("BraTS20_Validation_003",)


def test_a_mask_under_another_name_is_taken_with_a_warning(tmp_path):
    folder = patient(tmp_path, 355, ALL[:4], ".nii")
    touch(folder, "W39_1998.09.19_Segm.nii", "._W39_1998.09.19_Segm.nii", "readme.txt")
    listing = cases(tmp_path).require()
    assert listing.cases[0].label == folder / "W39_1998.09.19_Segm.nii"
    assert [(f.severity, f.case[-3:]) for f in listing.findings] == [("note", "-"), ("warning", "355")]
    assert "W39_1998.09.19_Segm.nii is taken as the mask" in listing.findings[1].what


def test_a_mask_whose_name_begins_like_a_modality_is_a_mask(tmp_path):
    touch(patient(tmp_path, 1, ALL[:4]), "BraTS20_Training_001_t1_mask.nii")
    assert cases(tmp_path).require().cases[0].label.name == "BraTS20_Training_001_t1_mask.nii"


def test_two_possible_masks_or_none_are_errors(tmp_path):
    patient(tmp_path, 1, ALL[:4])
    touch(patient(tmp_path, 2, ALL[:4]), "a.nii", "b.nii.gz")
    patient(tmp_path, 3)
    listing = cases(tmp_path)
    assert [case.id[-3:] for case in listing.cases] == ["003"]
    assert errors(listing) == [
        ("001", "BraTS20_Training_001_seg.nii.gz (or .nii) is missing"),
        ("002", "BraTS20_Training_002_seg is missing and a.nii, b.nii.gz could each be the mask"),
    ]


@pytest.mark.parametrize("gone", ["t1", "t1ce"])
def test_a_modality_is_missing_although_another_begins_alike(tmp_path, gone):
    patient(tmp_path, 1, [role for role in ALL if role != gone])
    listing = cases(tmp_path)
    assert (listing.cases, errors(listing)) == (
        (),
        [("001", f"BraTS20_Training_001_{gone}.nii.gz (or .nii) is missing")],
    )


def test_packed_and_unpacked_beside_each_other_are_an_error(tmp_path):
    patient(tmp_path, 1)
    patient(tmp_path, 1, ["seg"], ".nii")
    touch(tmp_path, "BraTS20_Training_001/other.nii")
    listing = cases(tmp_path)
    what = "BraTS20_Training_001_seg.nii.gz and BraTS20_Training_001_seg.nii are both there; keep one"
    assert (listing.cases, errors(listing)) == ((), [("001", what)])


def test_one_patient_in_two_folders_is_an_error(tmp_path):
    patient(tmp_path / "a", 1)
    patient(tmp_path / "b", 1)
    patient(tmp_path / "__MACOSX", 2)
    listing = cases(tmp_path)
    assert listing.cases == ()
    assert [what.startswith("the case is also in") for _, what in errors(listing)] == [True]
    assert "BraTS20_Training_002" not in {finding.case for finding in listing.findings}


def test_a_folder_without_patients_says_what_belongs_there(tmp_path):
    patient(tmp_path / "a" / "b" / "c", 1)
    with pytest.raises(UserError, match=r"no folder BraTS20_Training_XXX in .*\{t1,t1ce,t2,flair,seg\}"):
        cases(tmp_path)
    with pytest.raises(UserError, match="its environment variable is not set"):
        cases(tmp_path / "${MEDSWEEP_DATA}")


def test_a_real_patient(real):
    listing = cases(real("brats_layout")).require()
    assert [case.id for case in listing.cases] == ["BraTS20_Training_001"]
    assert [path.name for path in listing.cases[0].images][1] == "BraTS20_Training_001_t1ce.nii.gz"
    assert listing.findings == ()
