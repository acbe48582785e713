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
