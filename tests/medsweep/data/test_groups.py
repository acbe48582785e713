"""Several cases of one patient: visits, frames and sides are named by their patient."""

import pytest

from helpers.decathlon_folder import task, touch
from medsweep.data.layouts.description import FolderDescription, PatientColumn
from medsweep.data.source import list_cases, without
from medsweep.errors import UserError


def described(image: str, mask: str, **more: object) -> FolderDescription:
    return FolderDescription(modalities={"T1": image}, mask=mask, classes={"x": 1}, **more)


def ids(root, description: FolderDescription) -> list[str]:
    return [case.id for case in list_cases("mine", root, description=description).cases]


def frames(root):
    """Two frames of each of two hearts, in one folder."""
    return touch(root, *(f"patient{p}_frame{f}{end}.nii" for p, f in ((1, 1), (1, 12), (2, 10)) for end in ("", "_gt")))


def test_sessions_in_the_file_patterns(tmp_path):
    image, mask = "sub-{patient}/ses-{id}/anat/sub-{patient}_ses-{id}_T1w.nii.gz", "derivatives/manual/{}_seg.nii.gz"
    mask = mask.format(image.removesuffix(".nii.gz"))
    for subject, session in (("01", "pre"), ("01", "post"), ("02", "pre")):
        for pattern in (image, mask):
            touch(tmp_path, pattern.replace("{patient}", subject).replace("{id}", session))
    assert ids(tmp_path, described(image, mask)) == ["01/post", "01/pre", "02/pre"]
    listing = list_cases("mine", tmp_path, description=described(image, mask))
    assert listing.findings == ()
    (tmp_path / mask.replace("{patient}", "02").replace("{id}", "pre")).unlink()
    error, _ = list_cases("mine", tmp_path, description=described(image, mask)).findings
    assert (error.case, error.file.endswith("ses-pre/anat/sub-02_ses-pre_T1w_seg.nii.gz")) == ("02/pre", True)


def test_a_pattern_of_the_id_gives_the_patient(tmp_path):
    description = described("{id}.nii", "{id}_gt.nii", patient="{patient}_frame*")
    expected = ["patient1/patient1_frame1", "patient1/patient1_frame12", "patient2/patient2_frame10"]
    assert ids(frames(tmp_path), description) == expected
    touch(tmp_path, "other.nii", "other_gt.nii")
    listing = list_cases("mine", tmp_path, description=description)
    assert [case.id for case in listing.cases] == expected
    (lost,) = listing.findings
    assert (lost.severity, lost.case) == ("error", "other")
    assert lost.what == "the id does not match patient: '{patient}_frame*', so nothing tells whose case this is"


def test_a_table_gives_the_patient(tmp_path):
    rule = PatientColumn(file="who.tsv", case="scan", patient="person")
    rows = "scan\tperson\npatient1_frame1\tann\npatient1_frame12\tann\npatient2_frame10\tbo\n"
    (tmp_path / "who.tsv").write_text(rows)
    description = described("{id}.nii", "{id}_gt.nii", patient=rule, ignore=("who.tsv",))
    expected = ["ann/patient1_frame1", "ann/patient1_frame12", "bo/patient2_frame10"]
    assert ids(frames(tmp_path), description) == expected
    (tmp_path / "who.tsv").write_text("scan\tperson\npatient1_frame1\tann\npatient1_frame1\tbo\n")
    with pytest.raises(UserError, match="gives 'patient1_frame1' to 'ann' and to 'bo'; a case is of one patient"):
        ids(tmp_path, description)
    (tmp_path / "who.tsv").write_text("scan\towner\n")
    with pytest.raises(UserError, match="has no column 'scan'"):
        ids(tmp_path, description)
    with pytest.raises(UserError, match=r"no file .*whom.tsv, which patient names; did you mean 'who.tsv'"):
        ids(tmp_path, description.model_copy(update={"patient": rule.model_copy(update={"file": "whom.tsv"})}))


def test_a_case_without_a_patient_in_the_table_is_told(tmp_path):
    rule = PatientColumn(file="who.csv", case="scan", patient="person")
    (tmp_path / "who.csv").write_text("scan,person\npatient1_frame1, \npatient1_frame12\npatient2_frame10,bo\n")
    description = described("{id}.nii", "{id}_gt.nii", patient=rule, ignore=("who.csv",))
    listing = list_cases("mine", frames(tmp_path), description=description)
    assert [case.id for case in listing.cases] == ["bo/patient2_frame10"]
    what = "who.csv has no row with this id under 'scan' and a name under 'person', so nothing tells whose case this is"
    assert [(finding.severity, finding.case, finding.what) for finding in listing.findings] == [
        ("error", "patient1_frame1", what),
        ("error", "patient1_frame12", what),
    ]


def test_remarks_give_a_decathlon_task_patients(tmp_path):
    task(tmp_path, "a_left", "a_right", "b_left")
    (tmp_path / "medsweep.yaml").write_text('patient: "{patient}_*"\n')
    listing = list_cases("kidneys", tmp_path)
    assert [case.id for case in listing.cases] == ["a/a_left", "a/a_right", "b/b_left"]


def test_a_patient_is_left_out_with_all_cases(tmp_path):
    description = described("{id}.nii", "{id}_gt.nii", patient="{patient}_frame*")
    listing = list_cases("mine", frames(tmp_path), description=description)
    assert [case.id for case in without(listing, ["patient1"]).cases] == ["patient2/patient2_frame10"]
    assert len(without(listing, ["patient1/patient1_frame1"]).cases) == 2
    with pytest.raises(UserError, match="leave_out names 'patint1', which is no case; did you mean 'patient1'"):
        without(listing, ["patint1"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patient": "frame*"}, "holds {patient} once"),
        ({"patient": "{patient}{id}"}, "holds {patient} once"),
        ({"patient": "{patient}*"}, "text must stand between"),
        ({"image": "{patient}/{id}.nii"}, "{patient} stands in all file patterns or in none"),
        ({"image": "{patient}/x.nii"}, "a file pattern holds {id}"),
    ],
)
def test_wrong_rules_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said.replace("{", r"\{").replace("}", r"\}")):
        described(**{"image": "{id}.nii", "mask": "{id}_gt.nii"} | wrong)


def test_patterns_and_rule_do_not_both_name_the_patient(tmp_path):
    touch(tmp_path, "p/1.nii", "p/1_gt.nii")
    with pytest.raises(UserError, match="name the patient already, as in 'p/1'; remove patient"):
        ids(tmp_path, described("{patient}/{id}.nii", "{patient}/{id}_gt.nii", patient="{patient}_*"))


def test_a_star_stands_for_any_folder_or_part_of_a_name(tmp_path):
    touch(tmp_path, "train/1.nii", "train/1_gt.nii", "validation/2.nii", "validation/2_gt.nii", "test/3.nii")
    touch(tmp_path, "test/3_gt.nii")
    assert ids(tmp_path, described("*/{id}.nii", "*/{id}_gt.nii")) == ["1", "2", "3"]
    touch(tmp_path, "test/1.nii")
    listing = list_cases("mine", tmp_path, description=described("*/{id}.nii", "*/{id}_gt.nii"))
    assert [(finding.case, finding.what) for finding in listing.findings] == [
        (
            "1",
            "test/1.nii and train/1.nii are both there; keep one; if they are of two sites, write {site} in the place "
            "of * in all patterns",
        )
    ]


SITES = ("site1_001", "site1_002", "site2_001")
MANY = tuple(f"{ward}_{number}" for ward in ("w1", "w2") for number in range(12))


def test_ids_that_look_like_visits_are_told(tmp_path):
    plain = described("{id}.nii", "{id}_gt.nii")
    (warning,) = list_cases("mine", frames(tmp_path / "a"), description=plain).findings
    assert (warning.severity, warning.what) == (
        "warning",
        "3 cases look like those of 2 patients (patient1 has 2); if they are, say so with patient: in medsweep.yaml, "
        "or one person is trained on and tested",
    )
    for names in (
        ("case_001", "case_002"),
        ("BraTS20_Training_001", "BraTS20_Training_002"),
        ("1_t1", "2_t1"),
        SITES,
        MANY,
    ):
        root = touch(tmp_path / names[0], *(f"{name}{end}.nii" for name in names for end in ("", "_gt")))
        assert list_cases("mine", root, description=plain).findings == ()
