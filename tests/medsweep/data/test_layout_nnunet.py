"""Raw folders of nnU-Net: channels by suffix, labels by name, regions, and a list that must agree."""

import json
from pathlib import Path

import pytest

from helpers.decathlon_folder import describe, touch
from medsweep.data.layouts.nnunet import cases, is_nnunet
from medsweep.data.source import list_cases
from medsweep.errors import UserError

V2 = {
    "channel_names": {"0": "T2", "1": "ADC"},
    "labels": {"background": 0, "Prostate": 1, "Lesion": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def raw(root: Path, *ids: str, channels: int = 2, **changes: object) -> Path:
    """Empty files of a raw folder of version 2."""
    touch(root, *(f"imagesTr/{id_}_{channel:04d}.nii.gz" for id_ in ids for channel in range(channels)))
    touch(root, *(f"labelsTr/{id_}.nii.gz" for id_ in ids))
    (root / "dataset.json").write_text(json.dumps({**V2, "numTraining": len(ids), **changes}))
    return root


def told(root: Path) -> list[tuple[str, str, str]]:
    return [(found.severity, found.case, found.what) for found in list_cases("mine", root).findings]


def test_version_2_is_read_from_the_folders(tmp_path):
    raw(tmp_path, "p_10", "p_2")
    touch(tmp_path, "imagesTs/p_3_0000.nii.gz", "imagesTs/p_3_0001.nii.gz", "labelsTr/._p_2.nii.gz")
    listing = list_cases("mine", tmp_path)
    assert [case.id for case in listing.cases] == ["p_2", "p_10"]
    assert [path.name for path in listing.cases[0].images] == ["p_2_0000.nii.gz", "p_2_0001.nii.gz"]
    assert (listing.modalities, listing.stacked, listing.unlabelled) == (("T2", "ADC"), False, ("p_3",))
    assert (listing.classes, listing.values) == (("background", "prostate", "lesion"), {0: 0, 1: 1, 2: 2})
    assert [finding.what for finding in listing.findings] == ["1 hidden file (._* and .*) ignored"]


def test_regions_become_regions_and_a_value_that_only_they_name_a_class(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    listing = cases(raw(tmp_path, "a", labels=labels, regions_class_order=[1, 2, 3]))
    assert listing.classes == ("background", "label-1", "label-2", "enhancing")
    assert dict(listing.regions) == {"whole": ("label-1", "label-2", "enhancing"), "core": ("label-2", "enhancing")}


def test_the_background_comes_first_whatever_the_values(tmp_path):
    listing = cases(raw(tmp_path, "a", labels={"liver": 2, "bed": -1, "background": 0}))
    assert (listing.classes, listing.values) == (("background", "bed", "liver"), {0: 0, -1: 1, 2: 2})


def test_the_ignore_label_is_no_class_and_is_told(tmp_path):
    listing = cases(raw(tmp_path, "a", labels={"background": 0, "liver": 1, "ignore": 2}))
    assert (listing.classes, listing.values) == (("background", "liver"), {0: 0, 1: 1})
    what = "label 2 is 'ignore': nobody labelled these voxels, and losses and scores leave them out"
    assert (listing.findings[0].what, listing.ignored_value) == (what, 2)


def test_a_region_has_no_ignored_voxels_and_their_value_needs_room(tmp_path):
    with pytest.raises(UserError, match=r"a region with 2, which is 'ignore'; take it out there"):
        cases(raw(tmp_path / "a", "a", labels={"background": 0, "liver": 1, "all": [1, 2], "ignore": 2}))
    with pytest.raises(UserError, match=r"gives 'ignore' the values \[2, 3\]; give it one"):
        cases(raw(tmp_path / "d", "a", labels={"background": 0, "liver": 1, "ignore": [2, 3]}))
    many = {"background": 0, **{f"organ {value}": value for value in range(1, 256)}}
    assert len(cases(raw(tmp_path / "b", "a", labels=many)).classes) == 256
    with pytest.raises(UserError, match="must be 2 to 255 different names"):
        cases(raw(tmp_path / "c", "a", labels={**many, "ignore": 256}))


def test_version_1_lists_names_without_channels(tmp_path):
    touch(tmp_path, *(f"imagesTr/{id_}_0000.nii.gz" for id_ in "abc"), *(f"labelsTr/{id_}.nii.gz" for id_ in "abc"))
    describe(tmp_path, [("a.nii.gz", "a.nii.gz"), ("d.nii.gz", "d.nii.gz")], numTraining=3)
    assert is_nnunet(tmp_path)
    unlisted = "labelled in the folder and not under 'training' in dataset.json; list it, or leave the case out"
    assert told(tmp_path) == [
        ("error", "d", "listed in dataset.json and in no folder"),
        ("error", "b", unlisted),
        ("error", "c", unlisted),
        ("error", "-", "numTraining is 3, and there are 2 cases; mend the list or the number"),
    ]
    assert [case.id for case in cases(tmp_path).cases] == ["a", "b", "c"]


def test_missing_partners_and_surplus_channels_are_errors_of_their_case(tmp_path):
    raw(tmp_path, "a", "b", "c")
    (tmp_path / "imagesTr/a_0001.nii.gz").unlink()
    (tmp_path / "labelsTr/b.nii.gz").unlink()
    touch(tmp_path, "imagesTr/c_0002.nii.gz")
    assert told(tmp_path) == [
        ("error", "a", "a_0001.nii.gz (or .nii) is missing"),
        ("error", "b", "b.nii.gz (or .nii) is missing"),
        ("error", "c", "c_0002.nii.gz is a channel beyond the 2 that dataset.json names; mend one of them"),
    ]
    assert list_cases("mine", tmp_path).cases == ()


def test_a_count_that_the_folder_contradicts_is_an_error(tmp_path):
    raw(tmp_path, "a", "b", numTraining=3)
    assert told(tmp_path) == [
        ("error", "-", "numTraining is 3, and there are 2 cases; mend the list or the number"),
    ]


def test_formats_that_are_not_read_say_how_to_convert_them(tmp_path):
    raw(tmp_path, "a", file_ending=".mgz")
    with pytest.raises(UserError, match=r"has file_ending '.mgz', which is not read; convert it with SimpleITK"):
        cases(tmp_path)


def test_a_decathlon_task_is_not_taken_for_it(tmp_path):
    touch(tmp_path, "imagesTr/la_0000.nii.gz", "labelsTr/la_0000.nii.gz")
    describe(tmp_path, [("la_0000.nii.gz", "la_0000.nii.gz")])
    assert not is_nnunet(tmp_path)
