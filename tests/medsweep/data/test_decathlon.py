"""The Decathlon layout: dataset.json decides, and what is wrong with it or the files is named."""

import json

import pytest

from helpers.decathlon_folder import describe, task, touch
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.dataset import Intensity
from medsweep.data.layouts.decathlon import cases
from medsweep.errors import UserError


def test_ids_sort_by_number_and_names_are_lower_case(tmp_path):
    listing = cases(task(tmp_path, "s_10", "s_9", "s_2"))
    assert [case.id for case in listing.cases] == ["s_2", "s_9", "s_10"]
    assert listing.classes == ("background", "anterior", "posterior")
    assert (listing.name, listing.modalities, listing.stacked) == ("Toy", ("MRI",), False)
    assert listing.cases[0].images == (tmp_path / "imagesTr" / "s_2.nii.gz",)
    assert listing.cases[0].label == tmp_path / "labelsTr" / "s_2.nii.gz"
    assert (listing.findings, listing.intensity, dict(listing.choices)) == ((), Intensity(), {})


def test_gaps_between_label_values_are_closed_in_rising_order(tmp_path):
    labels = {"10": "tip", "0": "background", "4": "Enhancing", "1": "core"}
    listing = cases(task(tmp_path, "s_1", labels=labels))
    assert listing.classes == ("background", "core", "enhancing", "tip")
    assert listing.values == {0: 0, 1: 1, 4: 2, 10: 3}


def test_several_modalities_are_one_stacked_file(tmp_path):
    listing = cases(task(tmp_path, "s_1", modality={"1": "ADC", "0": "T2"}))
    assert (listing.modalities, listing.stacked, len(listing.cases[0].images)) == (("T2", "ADC"), True, 1)


def test_hidden_entries_are_dropped_with_one_note(tmp_path):
    task(tmp_path, "s_1", test=["./imagesTs/s_20.nii.gz", "./imagesTs/s_3.nii.gz", "./imagesTs/._s_3.nii.gz"])
    described = json.loads((tmp_path / "dataset.json").read_text())
    described["training"].append({"image": "./imagesTr/._s_1.nii.gz", "label": "./labelsTr/._s_1.nii.gz"})
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    touch(tmp_path, "imagesTr/._s_1.nii.gz", "labelsTr/._s_1.nii.gz", "imagesTr/s_7.nii.gz")
    listing = cases(tmp_path)
    assert [case.id for case in listing.cases] == ["s_1"]
    assert listing.unlabelled == ("s_3", "s_20")
    assert [(finding.severity, finding.what[:14]) for finding in listing.findings] == [("note", "2 hidden files")]


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        (["labelsTr"], "image without label"),
        (["imagesTr"], "label without image"),
        (["imagesTr", "labelsTr"], "neither image nor label"),
    ],
)
def test_a_missing_partner_is_an_error_of_its_case_only(tmp_path, gone, what):
    task(tmp_path, "s_1", "s_2")
    for part in gone:
        (tmp_path / part / "s_2.nii.gz").unlink()
    listing = cases(tmp_path)
    assert [case.id for case in listing.cases] == ["s_1"]
    (finding,) = listing.findings
    assert (finding.severity, finding.case, finding.file) == ("error", "s_2", str(tmp_path / gone[0] / "s_2.nii.gz"))
    assert finding.what.startswith(what)
    with pytest.raises(UserError, match=rf"s_2: {what}"):
        listing.require()


def test_unpacked_files_are_found_and_two_spellings_are_an_error(tmp_path):
    task(tmp_path, "s_1", "s_2")
    (tmp_path / "imagesTr" / "s_1.nii.gz").rename(tmp_path / "imagesTr" / "s_1.nii")
    touch(tmp_path, "labelsTr/s_2.nii")
    listing = cases(tmp_path)
    assert [case.images[0].name for case in listing.cases] == ["s_1.nii"]
    assert [(f.case, f.what) for f in listing.findings] == [
        ("s_2", "s_2.nii.gz and s_2.nii are both there; keep one"),
    ]


def test_a_patient_listed_twice_is_an_error(tmp_path):
    task(tmp_path, "s_1", "s_2")
    describe(tmp_path, [("s_1.nii.gz", "s_1.nii.gz"), ("s_1.nii.gz", "s_1.nii.gz"), ("s_2.nii.gz", "s_2.nii.gz")])
    listing = cases(tmp_path)
    assert [case.id for case in listing.cases] == ["s_2"]
    assert [(f.severity, f.case, f.what) for f in listing.findings] == [
        ("error", "s_1", "listed 2 times under 'training'")
    ]


def test_a_patient_under_training_and_test_is_told(tmp_path):
    listing = cases(task(tmp_path, "s_1", test=[{"image": "imagesTr/s_1.nii.gz"}, "imagesTs/s_2.nii.gz"]))
    assert listing.unlabelled == ("s_2",)
    assert [(f.severity, f.case) for f in listing.findings] == [("warning", "s_1")]


def test_ct_of_an_unknown_task_gets_a_window_and_says_so(tmp_path):
    listing = cases(task(tmp_path / "a", "s_1", modality={"0": "ct"}))
    assert listing.intensity == Intensity(scale="window", window=(-160.0, 240.0))
    assert listing.choices["intensity"].startswith("window -160 to 240 HU")
    mixed = cases(task(tmp_path / "b", "s_1", modality={"0": "CT", "1": "PET"}))
    assert (mixed.intensity, [f.severity for f in mixed.findings]) == (Intensity(), ["warning"])


def test_the_catalogue_decides_for_heart_and_spleen(tmp_path):
    heart, spleen = CATALOGUE["d-heart"], CATALOGUE["d-spleen"]
    root = task(tmp_path / "heart", "la_003", labels={"0": "background", "1": "Left Atrium"})
    listing = cases(root, heart)
    assert (listing.name, listing.classes) == ("d-heart", ("background", "left-atrium"))
    assert (listing.modalities, listing.intensity) == (("MR",), Intensity(scale="z-score", inside="all"))
    with pytest.raises(UserError, match=r"dataset.json has the labels .*left atrium.* but d-spleen has .*spleen"):
        cases(root, spleen)
    ct = task(tmp_path / "ct", "spleen_2", labels={"0": "background", "1": "spleen"}, modality={"0": "CT"})
    assert cases(ct, spleen).intensity.window == (-57.0, 164.0)
    assert not cases(ct, spleen).choices
    task(ct, "spleen_2", labels={"0": "background", "1": "spleen"})
    with pytest.raises(UserError, match="has the modality MRI, but d-spleen is CT"):
        cases(ct, spleen)


def test_a_missing_folder_says_what_belongs_there(tmp_path):
    with pytest.raises(UserError, match=r"no data folder .*gone; .*dataset.json, imagesTr and labelsTr.*MEDSWEEP_DATA"):
        cases(tmp_path / "gone")
    with pytest.raises(UserError, match="its environment variable is not set"):
        cases(tmp_path / "${MEDSWEEP_DATA}" / "x")


def test_a_folder_one_too_high_is_recognised(tmp_path):
    task(tmp_path / "Task09_Spleen", "s_1")
    with pytest.raises(UserError, match=r"no dataset.json in .*Task09_Spleen"):
        cases(tmp_path)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"labels": {"1": "core", "4": "enhancing"}}, "must give 0 to the background, got 1, 4"),
        ({"labels": {"0": "background", "core": 1}}, "numbers first, got the key 'core'"),
        ({"labels": {"background": 0, "core": "1"}}, "must give 'core' a whole number or a list of them, got '1'"),
        ({"labels": {"background": 0, "core": 1, "rim": 1}}, "gives 1 to 'core' and to 'rim'; keep one"),
        ({"labels": {"core": 1, "all": [1, 2]}}, "must give 0 to the background, got 1, 2"),
        ({"labels": {"0": "background"}}, "2 to 256 different names"),
        ({"labels": {"0": "a", "1": "A"}}, "2 to 256 different names"),
        ({"labels": ["a"]}, "needs 'labels'"),
        ({"modality": None}, "needs 'modality'"),
        ({"modality": {"0": "T1", "2": "T2"}}, "from 0 without gap, got 0, 2"),
        ({"training": []}, "lists no labelled case"),
        ({"training": "all"}, "needs a list 'training'"),
        ({"training": ["imagesTr/s_1.nii.gz"]}, "needs the paths 'image' and 'label'"),
        ({"test": "none"}, "needs a list 'test'"),
        ({"test": [3]}, "each entry of 'test' is the path of an image, got 3"),
    ],
)
def test_a_broken_description_is_refused(tmp_path, changes, what):
    with pytest.raises(UserError, match=what):
        cases(task(tmp_path, "s_1", **changes))


@pytest.mark.parametrize("text", ["{", json.dumps([1])])
def test_json_that_is_no_description_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset\.json (is not valid JSON|must hold an object)"):
        cases(tmp_path)


def pair(name: str, **more: object) -> dict[str, object]:
    return {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz", **more}


def errors(root) -> list[tuple[str, str]]:
    return [(found.case, found.what) for found in cases(root).findings if found.severity == "error"]


def test_a_list_that_the_folder_contradicts_is_an_error(tmp_path):
    task(tmp_path, "s_1", "s_2", "s_3", training=[pair("s_1")], numTraining=3)
    unlisted = "labelled in the folder and not under 'training' in dataset.json; list it, or leave the case out"
    assert errors(tmp_path) == [("s_2", unlisted), ("s_3", unlisted)]
    task(tmp_path, "s_1", "s_2", "s_3", numTraining=5)
    assert errors(tmp_path) == [("-", "numTraining is 5, and there are 3 cases; mend the list or the number")]
    task(tmp_path, "s_1", "s_2", "s_3", numTraining=4, training=[pair(name) for name in ("s_1", "s_2", "s_3", "._s_3")])
    assert errors(tmp_path) == []


def test_labelled_cases_of_other_lists_are_read_and_told(tmp_path):
    task(
        tmp_path, "s_1", "s_2", "s_3", training=[pair("s_1")], validation=[pair("s_2"), pair("s_1")], test=[pair("s_3")]
    )
    listing = cases(tmp_path)
    assert [case.id for case in listing.cases] == ["s_1", "s_2", "s_3"]
    assert [finding.what for finding in listing.findings] == [
        "1 labelled cases under 'validation' are read with those under 'training'",
        "1 labelled cases under 'test' are read with those under 'training'",
    ]


def test_labelled_cases_of_one_name_in_two_lists_are_no_one_case(tmp_path):
    other = {"image": "imagesTs/s_1.nii.gz", "label": "labelsTs/s_1.nii.gz"}
    touch(task(tmp_path, "s_1", test=[other]), *other.values())
    what = "./imagesTr/s_1.nii.gz and imagesTs/s_1.nii.gz have one name; two cases need two: rename the files, or "
    what += "give patterns with {site} in medsweep.yaml"
    assert errors(tmp_path) == [("s_1", what)]
    own = [{role: f"{name}/{role}.nii.gz" for role in ("image", "label")} | {"patient": name} for name in ("ann", "bo")]
    touch(tmp_path, *(entry[role] for entry in own for role in ("image", "label")))
    task(tmp_path, training=own[:1], validation=own[1:], numTraining=2)
    listing = cases(tmp_path)
    assert [case.id for case in listing.cases] == ["ann/image", "bo/image"]
    assert [finding.severity for finding in listing.findings] == ["note"]


def test_an_unlabelled_image_with_the_name_of_a_labelled_one_is_told_by_its_path(tmp_path):
    task(tmp_path, "s_1", test=["imagesTs/s_1.nii.gz", "imagesTs/s_9.nii.gz"])
    listing = cases(tmp_path)
    assert (listing.unlabelled, listing.findings) == (("s_1", "s_9"), ())
    task(tmp_path, "s_1", test=["imagesTr/s_1.nii.gz"])
    (warning,) = cases(tmp_path).findings
    assert warning.what == "listed under 'training' and under 'test'; taken as labelled"


def test_an_entry_may_name_its_patient(tmp_path):
    task(tmp_path, "a", "b", training=[pair("a", patient="ann"), pair("b", patient="ann")])
    assert [case.id for case in cases(tmp_path).cases] == ["ann/a", "ann/b"]
    task(tmp_path, "a", training=[pair("a", patient=7)])
    with pytest.raises(UserError, match="'patient' of an entry is a name without slash, in quotes, got 7"):
        cases(tmp_path)


def test_paths_and_text_from_windows_are_read(tmp_path):
    task(tmp_path, "s_1", training=[{"image": ".\\imagesTr\\s_1.nii.gz", "label": ".\\labelsTr\\s_1.nii.gz"}])
    path = tmp_path / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    listing = cases(tmp_path)
    assert listing.cases[0].label == tmp_path / "labelsTr/s_1.nii.gz"
    assert [finding.what for finding in listing.findings] == ["paths with backslashes are read as paths with slashes"]


def test_a_key_twice_is_refused(tmp_path):
    path = task(tmp_path, "s_1") / "dataset.json"
    path.write_text(path.read_text().replace('"2": "Posterior"', '"2": "Posterior", "2": "Tail"'))
    with pytest.raises(UserError, match=r"dataset.json has the key '2' twice in one object; keep one"):
        cases(tmp_path)


def test_channel_names_and_reversed_labels_are_read_in_any_task(tmp_path):
    task(tmp_path, "s_1", labels={"background": 0, "Core": 4}, channel_names={"0": "T2"}, modality=None, foreign=[1])
    listing = cases(tmp_path)
    assert (listing.modalities, listing.classes, listing.values) == (("T2",), ("background", "core"), {0: 0, 4: 1})


def test_hippocampus(real):
    listing = cases(real("Task04_Hippocampus")).require()
    assert (len(listing.cases), listing.findings, listing.unlabelled) == (130, (), ())
    assert listing.classes == ("background", "anterior", "posterior")
    assert listing.cases[0].id == "hippocampus_001"


def test_files_of_one_name_in_two_folders_are_told_with_both_paths(tmp_path):
    task(tmp_path, "s_1")
    described = json.loads((tmp_path / "dataset.json").read_text())
    described["training"] = [
        {role: f"{role}sTr/{site}/1.nii.gz" for role in ("image", "label")} for site in ("north", "south")
    ]
    (tmp_path / "dataset.json").write_text(json.dumps(described | {"numTraining": 1}))
    touch(tmp_path, *(entry[role] for entry in described["training"] for role in entry))
    found = cases(tmp_path)
    assert [(f.severity, f.case, f.what) for f in found.findings] == [
        (
            "error", "1",
            "imagesTr/north/1.nii.gz and imagesTr/south/1.nii.gz have one name; two cases need two: rename the files, "
            "or give patterns with {site} in medsweep.yaml",
        )
    ]  # fmt: skip
    assert len(found.recognised) == 4
