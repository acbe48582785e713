"""The Decathlon layout: dataset.json decides, and what is wrong with it or the files is named."""

import json

import numpy as np
import pytest
from decathlon_folder import cohort, describe

from medsweep.data.decathlon import cases
from medsweep.errors import UserError

PAIR = (np.ones((3, 3, 3), np.float32), np.zeros((3, 3, 3), np.uint8))


def test_ids_sort_by_number_and_names_are_lower_case(tmp_path):
    layout = cases(cohort(tmp_path, {"s_10": PAIR, "s_9": PAIR, "s_2": PAIR}))
    assert [case.id for case in layout.cases] == ["s_2", "s_9", "s_10"]
    assert layout.classes == ("background", "anterior", "posterior")
    assert layout.modalities == ("MRI",)
    assert layout.cases[0].label == tmp_path / "labelsTr" / "s_2.nii.gz"


def test_stray_files_are_no_patients(tmp_path):
    cohort(tmp_path, {"s_1": PAIR})
    describe(tmp_path, [("s_1.nii.gz", "s_1.nii.gz"), ("._s_1.nii.gz", "._s_1.nii.gz")])
    (tmp_path / "imagesTr" / "._s_1.nii.gz").write_bytes(b"x")
    (tmp_path / "imagesTr" / "s_7.nii.gz").write_bytes(b"x")
    assert [case.id for case in cases(tmp_path).cases] == ["s_1"]


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        (["labelsTr"], "s_2: image without label"),
        (["imagesTr"], "s_2: label without image"),
        (["imagesTr", "labelsTr"], "s_2: neither image nor label"),
    ],
)
def test_a_missing_partner_is_named(tmp_path, gone, what):
    cohort(tmp_path, {"s_1": PAIR, "s_2": PAIR})
    for part in gone:
        (tmp_path / part / "s_2.nii.gz").unlink()
    with pytest.raises(UserError, match=rf"{what}; .*dataset.json lists .*{gone[0]}/s_2.nii.gz, which is not there"):
        cases(tmp_path)


def test_a_missing_folder_says_what_belongs_there(tmp_path):
    with pytest.raises(UserError, match=r"no data folder .*gone; .*dataset.json, imagesTr and labelsTr.*MEDSWEEP_DATA"):
        cases(tmp_path / "gone")
    with pytest.raises(UserError, match="its environment variable is not set"):
        cases(tmp_path / "${MEDSWEEP_DATA}" / "x")


def test_a_folder_one_too_high_is_recognised(tmp_path):
    cohort(tmp_path / "Task09_Spleen", {"s_1": PAIR})
    with pytest.raises(UserError, match=r"no dataset.json in .*Task09_Spleen"):
        cases(tmp_path)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"labels": {"0": "background", "1": "core", "4": "enhancing"}}, "numbered 0, 1, 2 without gap, got 0, 1, 4"),
        ({"labels": {"0": "background"}}, "2 to 256 different names"),
        ({"labels": {"0": "a", "1": "A"}}, "2 to 256 different names"),
        ({"labels": ["a"]}, "needs 'labels'"),
        ({"modality": None}, "needs 'modality'"),
        ({"training": []}, "lists no labelled case"),
        ({"training": "all"}, "needs a list 'training'"),
        ({"training": ["imagesTr/s_1.nii.gz"]}, "needs the paths 'image' and 'label'"),
    ],
)
def test_a_broken_description_is_refused(tmp_path, changes, what):
    with pytest.raises(UserError, match=what):
        cases(cohort(tmp_path, {"s_1": PAIR}, **changes))


def test_a_patient_listed_twice_is_refused(tmp_path):
    cohort(tmp_path, {"s_1": PAIR})
    describe(tmp_path, [("s_1.nii.gz", "s_1.nii.gz")] * 2)
    with pytest.raises(UserError, match="lists 's_1' 2 times"):
        cases(tmp_path)


@pytest.mark.parametrize("text", ["{", json.dumps([1])])
def test_json_that_is_no_description_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset\.json (is not valid JSON|must hold an object)"):
        cases(tmp_path)


def test_hippocampus(real):
    layout = cases(real("Task04_Hippocampus"))
    assert len(layout.cases) == 130
    assert layout.classes == ("background", "anterior", "posterior")
    assert layout.cases[0].id == "hippocampus_001"
