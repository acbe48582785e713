"""The IBSR18 layouts: which labels were taken is recorded, and the mirrored Analyze copy is refused."""

from functools import partial

import pytest

from helpers.decathlon_folder import touch
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.layouts import ibsr
from medsweep.errors import UserError

RELEASE = ("ana", "ana_strip", "ana_brainmask", "seg_ana", "segTRI_ana", "segTRI_fill_ana")

cases = partial(ibsr.cases, spec=CATALOGUE["ibsr18"])


def release(root, *numbers, ending=".nii.gz"):
    return touch(root, *(f"IBSR_{n:02d}/IBSR_{n:02d}_{stem}{ending}" for n in numbers for stem in RELEASE))


@pytest.mark.parametrize(("labels", "taken"), [(None, "segTRI_fill"), ("segTRI_fill", "segTRI_fill"), ("segTRI",) * 2])
@pytest.mark.parametrize("place", ["", "IBSR_nifti_stripped"])
def test_the_labels_that_were_taken_are_recorded(tmp_path, place, labels, taken):
    release(tmp_path / place, 2, 1)
    listing = cases(tmp_path, labels=labels).require()
    assert [case.id for case in listing.cases] == ["IBSR_01", "IBSR_02"]
    first = listing.cases[0]
    assert [path.name for path in first.images] == ["IBSR_01_ana_strip.nii.gz"]
    assert first.label.name == f"IBSR_01_{taken}_ana.nii.gz"
    assert listing.choices == {"labels": taken}
    assert (listing.slice_axis, listing.classes[1:]) == ("second", ("csf", "grey-matter", "white-matter"))


def test_a_missing_label_is_an_error_of_its_subject_only(tmp_path):
    release(tmp_path, 1, 2)
    touch(tmp_path, "IBSR_02/._x")
    (tmp_path / "IBSR_01" / "IBSR_01_segTRI_fill_ana.nii.gz").unlink()
    listing = cases(tmp_path)
    assert [case.id for case in listing.cases] == ["IBSR_02"]
    assert [(f.severity, f.what) for f in listing.findings] == [
        ("note", "1 hidden file (._* and .*) ignored"),
        ("error", "IBSR_01_segTRI_fill_ana.nii.gz (or .nii) is missing"),
    ]
    assert len(cases(tmp_path, labels="segTRI").cases) == 2


def test_the_teaching_copy_has_unlabelled_subjects_and_one_label_file(tmp_path):
    touch(tmp_path / "Training_Set", "IBSR_01/IBSR_01.nii.gz", "IBSR_01/IBSR_01_seg.nii.gz")
    touch(tmp_path / "Test_Set", "IBSR_02/IBSR_02.nii.gz")
    listing = cases(tmp_path).require()
    assert ([case.id for case in listing.cases], listing.unlabelled) == (["IBSR_01"], ("IBSR_02",))
    assert listing.cases[0].label.name == "IBSR_01_seg.nii.gz"
    assert listing.choices == {"labels": "seg (teaching copy)"}
    with pytest.raises(UserError, match="one label file; remove labels 'segTRI'"):
        cases(tmp_path, labels="segTRI")
    release(tmp_path / "stripped", 3)
    with pytest.raises(UserError, match=r"holds the NIfTI release .* and the teaching copy"):
        cases(tmp_path)


@pytest.mark.parametrize("name", ["IBSR_01_ana.hdr", "images/analyze/IBSR_01_ana.img", "IBSR_01_ana.img.gz"])
def test_the_analyze_copy_is_refused(tmp_path, name):
    release(tmp_path, 2)
    touch(tmp_path, f"IBSR_01/{name}")
    listing = cases(tmp_path)
    assert [case.id for case in listing.cases] == ["IBSR_02"]
    (finding,) = listing.findings
    assert (finding.severity, finding.file) == ("error", str(tmp_path / "IBSR_01" / name))
    assert "opens mirrored against the NIfTI copy; use the NIfTI release" in finding.what


def test_a_folder_without_subjects_says_what_belongs_there(tmp_path):
    with pytest.raises(UserError, match=r"no folder IBSR_XX in .*IBSR_nifti_stripped/IBSR_XX"):
        cases(tmp_path)
