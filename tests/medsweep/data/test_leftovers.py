"""What no pattern matches is named: misspelt folders, derived files, other formats, folders around a file."""

import os
from pathlib import PurePosixPath

import pytest

from helpers.decathlon_folder import touch
from medsweep.data.layouts import kits
from medsweep.data.layouts.case_files import candidates, pick
from medsweep.data.layouts.description import FolderDescription
from medsweep.data.layouts.leftovers import _nearest
from medsweep.data.source import list_cases
from medsweep.errors import UserError


def described(image: str = "{id}/img.nii.gz", mask: str = "{id}/seg.nii.gz", **more: object) -> FolderDescription:
    return FolderDescription(modalities={"T1": image}, mask=mask, classes={"x": 1}, **more)


def told(root, **more: object) -> list[tuple[str, str]]:
    listing = list_cases("mine", root, description=described(**more))
    return [(finding.severity, finding.what) for finding in listing.findings]


def test_a_misspelt_case_is_a_warning_with_the_nearest_pattern(tmp_path):
    touch(tmp_path, *(f"p1/{name}.nii.gz" for name in ("img", "seg")), "p2/image.nii.gz", "p2/mask.nii.gz")
    touch(tmp_path, "more/p3/img.nii.gz", "p1/img_n4.nii.gz")
    warning, note = told(tmp_path)
    assert warning == (
        "warning",
        "2 folders match no pattern: more, p2; the nearest pattern is {id}/img.nii.gz (a case may be lost); rename "
        "them, or name them under ignore in medsweep.yaml",
    )
    assert note[0] == "note"
    assert note[1].startswith("1 file matches no pattern: p1/img_n4.nii.gz; the nearest pattern is {id}/img.nii.gz;")


def test_what_is_declared_unused_is_neither_named_nor_matched(tmp_path):
    touch(tmp_path, "1.nii.gz", "1_seg.nii.gz", "1_n4.nii.gz", "old/2.nii.gz", "old/deep/3.nii")
    flat = {"image": "{id}.nii.gz", "mask": "{id}_seg.nii.gz"}
    assert any(level == "error" and "ignore: ['*_n4.nii*']" in what for level, what in told(tmp_path, **flat))
    assert told(tmp_path, **flat, ignore=("*_n4.nii.gz", "old")) == []
    assert told(tmp_path, **flat, ignore=("*_n4.nii.gz", "old", "gone/*")) == [
        ("note", "ignore names 'gone/*', which nothing matches")
    ]


def test_files_of_other_kinds_and_empty_folders_are_counted(tmp_path):
    touch(tmp_path, "p1/img.nii.gz", "p1/seg.nii.gz", "README.txt", "people.csv", "docs/a.txt", "docs/b.txt")
    (tmp_path / "empty").mkdir()
    assert told(tmp_path) == [
        (
            "note",
            "4 paths of other kinds, not read: 2 .txt, 1 .csv, 1 empty folders; in docs, empty, people.csv",
        )
    ]


def test_other_formats_are_named_with_how_to_convert_them(tmp_path):
    touch(tmp_path, "p1/img.nii.gz", "p1/seg.nii.gz", "p2/img.mha", "p2/seg.mha", "p3/1.dcm")
    assert told(tmp_path) == [
        (
            "warning",
            "3 files of other formats are there (2 .mha, 1 .dcm), which are not read; convert them with SimpleITK, "
            "sitk.WriteImage(sitk.ReadImage('a.mha'), 'a.nii.gz'), which keeps the geometry, or read them by "
            "patterns that end in .mha (medsweep[sitk]), or convert each series "
            "with dcm2niix -z y -o OUT FOLDER",
        )
    ]
    touch(tmp_path / "none", "1.nrrd", "1_seg.nrrd")
    with pytest.raises(UserError, match=r"none of 0 NIfTI files .*; 2 files of other formats are there \(2 .nrrd\)"):
        told(tmp_path / "none", image="{id}.nii.gz", mask="{id}_seg.nii.gz")
    missing = pick(touch(tmp_path / "b", "case_t1.mha"), "case", "case_t1")
    assert missing.what.startswith("case_t1.nii.gz (or .nii) is missing; case_t1.mha is there: convert it with Simple")


def test_volumes_packed_otherwise_are_named_and_not_counted_as_other_kinds(tmp_path):
    touch(tmp_path, "p1/img.nii.gz", "p1/seg.nii.gz", "p2/img.nii.bz2", "p2/seg.nii.bz2", "task.zip")
    warning, note = told(tmp_path)
    what = "2 files of other formats are there (2 .bz2), which are not read; unpack them to .nii or .nii.gz"
    assert warning == ("warning", what)
    assert note[1].startswith("1 path of other kinds, not read: 1 .zip")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("img.nii.bz2", "img.nii.bz2 is there: unpack it to .nii or .nii.gz"),
        ("img.nii.gz.part", "img.nii.gz.part is there: is it a download that was not finished?"),
        ("img.mha", "img.mha is there: convert it with SimpleITK"),
    ],
)
def test_what_stands_in_the_place_of_a_missing_file_is_told(tmp_path, name, what):
    touch(tmp_path, f"p1/{name}", "p1/seg.nii.gz")
    assert any(level == "error" and said.startswith(f"img.nii.gz is missing; {what}") for level, said in told(tmp_path))


@pytest.mark.parametrize(
    ("target", "how"), [("../.git/annex/objects/x", ": git annex get"), ("loop", ""), ("img.nii.gz", "")]
)
def test_a_link_to_nothing_is_no_missing_file(tmp_path, target, how):
    touch(tmp_path, "p1/seg.nii.gz", "p2/img.nii.gz", "p2/seg.nii.gz")
    (tmp_path / "p1/img.nii.gz").symlink_to(target)
    ((level, what),) = told(tmp_path)
    link = "img.nii.gz is missing; img.nii.gz is a link, and the file that it points to is not there"
    assert (level, what.startswith(f"{link}{how}")) == ("error", True)


def test_links_to_no_folder_and_closed_folders_are_warned_of(tmp_path, monkeypatch):
    touch(tmp_path, "p1/img.nii.gz", "p1/seg.nii.gz", "p3/img.nii.gz", "p3/seg.nii.gz")
    (tmp_path / "p2").symlink_to("/nowhere/p2")
    scandir = os.scandir

    def refuse(place):
        if str(place).endswith("p3"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    ignore = "or write the name under ignore in medsweep.yaml"
    assert told(tmp_path) == [
        ("warning", f"1 folder may not be read: p3 (a case may be lost); mend the permissions, {ignore}"),
        ("warning", f"1 link to what is not there: p2 (a case may be lost); bring what is meant, {ignore}"),
    ]
    assert told(tmp_path, ignore=("p2", "p3")) == []


def test_a_known_layout_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    touch(tmp_path, "case_00001/imaging.nii.gz", "case_00001/segmentation.nii.gz")

    def refuse(place):
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match=r"may not be read; mend its permissions"):
        list_cases("kits19", tmp_path)


def test_endings_count_in_any_case(tmp_path):
    touch(tmp_path, "p1/img.NII.GZ", "p1/seg.Nii", "p2/img.nii.gz", "p2/seg.nii")
    listing = list_cases("mine", tmp_path, description=described())
    assert [(case.id, case.label.name) for case in listing.cases] == [("p1", "seg.Nii"), ("p2", "seg.nii")]
    assert listing.findings == ()
    assert candidates(tmp_path / "p1", "img") == [tmp_path / "p1/img.NII.GZ"]


@pytest.mark.parametrize("inside", ["img.nii.gz", "anything.nii"])
def test_a_folder_around_a_file_stands_for_the_file(tmp_path, inside):
    touch(tmp_path, f"p1/img.nii.gz/{inside}", "p1/seg.nii.gz")
    listing = list_cases("mine", tmp_path, description=described())
    assert listing.cases[0].images == (tmp_path / "p1/img.nii.gz" / inside,)
    what = f"1 volume read from a folder that has the name of a file: p1/img.nii.gz/{inside}"
    assert [finding.what for finding in listing.findings] == [what]
    assert candidates(tmp_path / "p1", "img") == [tmp_path / "p1/img.nii.gz" / inside]


def test_two_volumes_in_such_a_folder_are_not_guessed_between(tmp_path):
    touch(tmp_path, "p1/img.nii.gz/a.nii", "p1/img.nii.gz/b.nii", "p1/seg.nii.gz")
    what = "img.nii.gz is missing; img.nii.gz is a folder without one volume in it: put the file in its place"
    assert ("error", what) in told(tmp_path)


def test_a_known_layout_names_odd_folders_and_reads_ignore_from_medsweep_yaml(tmp_path):
    for name in ("case_00001", "case_3", "Case_00005"):
        touch(tmp_path, f"{name}/imaging.nii.gz", f"{name}/segmentation.nii.gz")
    (warning,) = list_cases("kits19", tmp_path).findings
    near = kits.PATTERNS[0]
    assert warning.what.startswith(f"2 folders match no pattern: Case_00005, case_3; the nearest pattern is {near}")
    (tmp_path / "medsweep.yaml").write_text('ignore: ["case_3", "Case_*"]\n')
    assert list_cases("kits19", tmp_path).findings == ()
    (tmp_path / "medsweep.yaml").write_text('unlabelled: ["case_3"]\n')  # read for described folders alone
    with pytest.raises(UserError, match=r"medsweep.yaml:1: unknown key 'unlabelled'"):
        list_cases("kits19", tmp_path)


def test_a_folder_that_links_back_to_its_parent_is_walked_once(tmp_path):
    touch(tmp_path, "p1/img.nii.gz", "p1/seg.nii.gz")
    (tmp_path / "p1/loop").symlink_to(tmp_path)
    assert told(tmp_path) == []


def test_a_pattern_of_the_same_folder_is_nearest():
    file = PurePosixPath("imagesTr/case_4.nii.gz")
    assert _nearest(file, ("imagesTr/{id}_XXXX.nii.gz", "labelsTr/{id}.nii.gz")) == "imagesTr/{id}_XXXX.nii.gz"
    assert _nearest(file, ("labelsTr/{id}.nii.gz",)) == "labelsTr/{id}.nii.gz"
