"""What a folder would be read as, and the first description of one that nothing describes."""

import json

import numpy as np
import pytest

from helpers.decathlon_folder import save, task, touch
from medsweep.data.layouts.description import read_description
from medsweep.data.recognise import draft, readings
from medsweep.data.source import list_cases
from medsweep.errors import UserError


def told(root) -> list[tuple[str, str]]:
    return [(found.name, found.how) for found in readings(root)]


def test_every_layout_is_recognised(tmp_path):
    task(tmp_path / "Task01_Toy", "a")
    assert told(tmp_path / "Task01_Toy") == [("task01_toy", "a task of the Medical Segmentation Decathlon")]
    raw = touch(tmp_path / "Dataset1", "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(described))
    assert told(raw) == [("dataset1", "a raw folder of nnU-Net")]
    kits = touch(tmp_path / "kits19", "case_00000/imaging.nii.gz", "case_00000/segmentation.nii.gz")
    (found,) = readings(kits)
    assert (found.name, len(found.listing.cases)) == ("kits19", 1)
    mine = touch(tmp_path / "mine", "1.nii", "1_s.nii")
    assert told(mine) == []
    (mine / "medsweep.yaml").write_text('modalities: {T1: "{id}.nii"}\nmask: "{id}_s.nii"\nclasses: {x: 1}\n')
    assert told(mine) == [("mine", "a folder that medsweep.yaml describes")]
    with pytest.raises(UserError, match=r"no folder .*gone"):
        readings(tmp_path / "gone")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{id}/img.nii.gz", "{id}/seg.nii.gz"),
        ("{id}.nii.gz", "{id}_seg.nii.gz"),
        ("patient{id}_frame01.nii.gz", "patient{id}_frame01_gt.nii.gz"),
        ("sub-{id}/anat/sub-{id}_T1w.nii.gz", "sub-{id}/anat/sub-{id}_mask.nii.gz"),
    ],
)
def test_a_draft_describes_the_folder_it_was_made_of(tmp_path, image, mask):
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1], labels[2, 2, 2] = 1, 4
    for number in ("001", "002", "010"):
        save(tmp_path / image.replace("{id}", number), np.ones((4, 4, 4), np.float32))
        save(tmp_path / mask.replace("{id}", number), labels)
    (tmp_path / "medsweep.yaml").write_text(draft(tmp_path) + "\n")
    assert read_description(tmp_path).classes == {"label-1": 1, "label-4": 4}
    listing = list_cases("mine", tmp_path)
    assert (len(listing.cases), listing.findings) == (3, ())
    assert all("seg" in c.label.name or "gt" in c.label.name or "mask" in c.label.name for c in listing.cases)


def test_names_that_tell_nothing_give_no_draft(tmp_path):
    assert draft(touch(tmp_path, "1.nii", "2.nii")) == ""


def test_a_root_one_folder_too_high_names_the_folder_inside(tmp_path):
    touch(tmp_path, "set/1.nii", "set/1_s.nii")
    (tmp_path / "set/medsweep.yaml").write_text('modalities: {T1: "{id}.nii"}\nmask: "{id}_s.nii"\nclasses: {x: 1}\n')
    with pytest.raises(UserError, match=r"set inside it can be read: is data.root one folder too high"):
        list_cases("mine", tmp_path)
    touch(tmp_path / "clone", "repo/data/case_00000/imaging.nii.gz", "repo/data/case_00000/segmentation.nii.gz")
    with pytest.raises(UserError, match=r"no folder case_XXXXX .*repo inside it can be read: is data.root one folder"):
        list_cases("kits19", tmp_path / "clone")


def test_names_of_which_no_mask_fits_an_image_give_no_draft(tmp_path):
    assert draft(touch(tmp_path, "image.nii.gz", "totalsegmentator_labels.nii.gz")) == ""


def test_a_mask_of_many_structures_gives_a_class_for_each(tmp_path):
    save(tmp_path / "1.nii.gz", np.ones((8, 8, 4), np.float32))
    save(tmp_path / "1_seg.nii.gz", np.arange(256, dtype=np.uint8).reshape(8, 8, 4))
    assert "label-1: 1, " in draft(tmp_path)
    assert "label-255: 255}" in draft(tmp_path)


def volumes(root, *names: str) -> None:
    """An image or, by its name, a mask with the values 1 and 4 under each name."""
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1], labels[2, 2, 2] = 1, 4
    for name in names:
        is_mask = any(word in name for word in ("dseg", "mask", "_seg"))
        save(root / name, labels if is_mask else np.ones((4, 4, 4), np.float32))


def read_by_draft(root):
    (root / "medsweep.yaml").write_text(draft(root) + "\n")
    listing = list_cases("mine", root)
    assert [finding for finding in listing.findings if finding.severity != "note"] == []
    return listing


def test_a_bids_dataset_has_its_subjects_as_patients(tmp_path):
    for person, session in (("01", "a"), ("01", "b"), ("02", "a"), ("03", "a")):
        name = f"sub-{person}_ses-{session}"
        place = f"sub-{person}/ses-{session}/anat/{name}"
        volumes(tmp_path, f"{place}_T1w.nii.gz", f"{place}_acq-fast_T2w.nii.gz")
        volumes(tmp_path, f"derivatives/manual/{place}_space-orig_dseg.nii.gz")
    volumes(tmp_path, "sub-01/ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz")
    (tmp_path / "derivatives" / "manual" / "dseg.tsv").write_text("index\tname\n0\tBackground\n1\tLeft heart\n")
    described = draft(tmp_path)
    assert 'T1w: "sub-{patient}/ses-{id}/anat/sub-{patient}_ses-{id}_T1w.nii.gz"' in described
    assert 'classes: {"Left heart": 1, label-4: 4}' in described
    assert "ignore: [func]" in described
    listing = read_by_draft(tmp_path)
    assert [case.id for case in listing.cases] == ["01/a", "01/b", "02/a", "03/a"]
    assert listing.modalities == ("T1w", "T2w")
    assert listing.cases[1].label.name == "sub-01_ses-b_space-orig_dseg.nii.gz"


def test_a_bids_dataset_without_sessions_and_with_masks_of_structures(tmp_path):
    for person in ("01", "02"):
        place = f"sub-{person}/anat/sub-{person}"
        volumes(tmp_path, f"{place}_T1w.nii.gz")
        for label in ("liver", "spleen"):
            path = tmp_path / f"derivatives/manual/{place}_label-{label}_mask.nii.gz"
            save(path, np.eye(4, dtype=np.uint8)[:, :, None] * np.ones((1, 1, 4), np.uint8))
    assert '  liver: "derivatives/manual/sub-{id}/anat/sub-{id}_label-liver_mask.nii.gz"' in draft(tmp_path)
    listing = read_by_draft(tmp_path)
    assert [case.id for case in listing.cases] == ["01", "02"]
    assert listing.classes == ("background", "liver", "spleen")


def test_sites_with_the_same_names_are_told_from_cases(tmp_path):
    names = [f"{site}/{number:03}{part}.nii.gz" for site in "AB" for number in range(1, 5) for part in ("", "_seg")]
    volumes(tmp_path, *names, "template.nii.gz")
    assert 'mask: "{site}/{id}_seg.nii.gz"' in draft(tmp_path)
    assert [case.id for case in read_by_draft(tmp_path).cases][:2] == ["A.001", "A.002"]


def test_masks_of_older_names_are_known_too(tmp_path):
    for person in ("01", "02", "03"):
        volumes(tmp_path, f"sub-{person}/anat/sub-{person}_T2w.nii.gz")
        volumes(tmp_path, f"derivatives/labels/sub-{person}/anat/sub-{person}_T2w_seg.nii.gz")
    assert 'mask: "derivatives/labels/sub-{id}/anat/sub-{id}_T2w_seg.nii.gz"' in draft(tmp_path)
    assert read_by_draft(tmp_path).modalities == ("T2w",)
