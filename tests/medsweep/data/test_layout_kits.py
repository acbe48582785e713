"""The KiTS19 layout: labels and images come apart, and the missing one is named."""

from functools import partial

import pytest

from helpers.decathlon_folder import touch
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.layouts import kits
from medsweep.errors import UserError

cases = partial(kits.cases, spec=CATALOGUE["kits19"])


def case(number, *stems, ending=".nii.gz"):
    return [f"case_{number:05d}/{stem}{ending}" for stem in stems]


@pytest.mark.parametrize("place", ["", "data"])
def test_pairs_are_found_in_the_folder_or_its_data(tmp_path, place):
    both = ("imaging", "segmentation")
    touch(tmp_path / place, *case(10, *both), *case(9, *both, ending=".nii"), "kits.json")
    listing = cases(tmp_path).require()
    assert [case.id for case in listing.cases] == ["case_00009", "case_00010"]
    assert listing.cases[0].images == (tmp_path / place / "case_00009" / "imaging.nii",)
    assert listing.cases[1].label == tmp_path / place / "case_00010" / "segmentation.nii.gz"
    assert (listing.intensity.window, listing.slice_axis, listing.findings) == ((-79.0, 304.0), "axial", ())


def test_the_test_cases_are_unlabelled_and_a_lost_label_is_not(tmp_path):
    touch(tmp_path, *case(209, "imaging"), *case(210, "imaging"), *case(299, "imaging", "._imaging"))
    listing = cases(tmp_path)
    assert listing.unlabelled == ("case_00210", "case_00299")
    assert [(f.severity, f.case, f.what) for f in listing.findings] == [
        ("note", "-", "1 hidden file (._* and .*) ignored"),
        ("error", "case_00209", "image without label segmentation.nii.gz"),
    ]


def test_a_label_without_image_tells_how_images_are_obtained(tmp_path):
    listing = cases(touch(tmp_path, *case(3, "segmentation")))
    (finding,) = listing.findings
    assert (finding.severity, finding.file) == ("error", str(tmp_path / "case_00003" / "imaging.nii.gz"))
    assert "label without image imaging.nii.gz (python3 -m starter_code.get_imaging" in finding.what


def test_an_empty_case_and_a_double_file_are_errors(tmp_path):
    (tmp_path / "case_00250").mkdir()
    touch(tmp_path, *case(1, "imaging", "segmentation"), *case(1, "segmentation", ending=".nii"))
    listing = cases(tmp_path)
    assert (listing.cases, listing.unlabelled) == ((), ())
    assert [(f.case, f.what) for f in listing.findings] == [
        ("case_00001", "segmentation.nii.gz and segmentation.nii are both there; keep one"),
        ("case_00250", "imaging.nii.gz (or .nii) is missing"),
        ("case_00250", "segmentation.nii.gz (or .nii) is missing"),
    ]


def test_a_folder_without_cases_says_what_belongs_there(tmp_path):
    touch(tmp_path, "case_1/imaging.nii.gz")
    with pytest.raises(UserError, match=r"no folder case_XXXXX in .*\{imaging,segmentation\}"):
        cases(tmp_path)
    with pytest.raises(UserError, match="no data folder"):
        cases(tmp_path / "gone")


def test_real_labels_without_images(real):
    listing = cases(real("kits19"))
    ids = [finding.case for finding in listing.findings]
    assert (len(ids), len(listing.cases), listing.unlabelled) == (24, 0, ())
    assert ids == sorted(ids)
    assert (ids[0], ids[-1]) == ("case_00004", "case_00206")
    assert all("imaging.nii.gz" in f.what and f.file.endswith(f"{f.case}/imaging.nii.gz") for f in listing.findings)
    with pytest.raises(
        UserError, match=r"(?s)have 24 errors; .*\n  case_00004: label without image imaging.nii.gz .*\n  and 14 more"
    ):
        listing.require()
