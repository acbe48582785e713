"""The described folder: patterns find the files, and a mistake in the description is shown with its line."""

import pytest
from pydantic import ValidationError

from helpers.decathlon_folder import touch
from medsweep.data.dataset import Intensity
from medsweep.data.folds import patient_of
from medsweep.data.layouts.description import FolderDescription, read_description
from medsweep.data.layouts.folder import cases
from medsweep.errors import UserError

YAML = """\
modalities:
  T2: "case_{id}/imaging.nii.gz"
  ADC: "case_{id}/adc.nii.gz"
mask: "case_{id}/segmentation.nii.gz"
classes: {prostate: 2, bladder: 1}
regions: {both: [prostate, bladder]}
units: arbitrary
slice_axis: first
intensity: {percentiles: [1, 99]}
"""
ROLES = ("imaging", "adc", "segmentation")


def case(id_, *stems, ending=".nii.gz"):
    return [f"case_{id_}/{stem}{ending}" for stem in stems]


def described(root, text=YAML):
    root.mkdir(exist_ok=True)
    (root / "medsweep.yaml").write_text(text)
    return read_description(root)


def simple(image="img/{id}.nii.gz", mask="seg/{id}.nii.gz"):
    return FolderDescription(modalities={"T1": image}, mask=mask, classes={"x": 1})


def test_the_description_in_the_folder_is_followed(tmp_path):
    touch(tmp_path, *case("10", *ROLES), *case("9", *ROLES, ending=".nii"), "case_9/._adc.nii", "other/below/._adc.nii")
    listing = cases(tmp_path, described(tmp_path)).require()
    assert [found.id for found in listing.cases] == ["9", "10"]
    assert [path.name for path in listing.cases[0].images] == ["imaging.nii", "adc.nii"]
    assert listing.cases[1].label == tmp_path / "case_10" / "segmentation.nii.gz"
    assert (listing.modalities, listing.classes) == (("T2", "ADC"), ("background", "bladder", "prostate"))
    assert (listing.values, listing.regions) == ({0: 0, 1: 1, 2: 2}, {"both": ("prostate", "bladder")})
    assert (listing.slice_axis, listing.choices) == ("first", {"units": "arbitrary"})
    assert listing.intensity == Intensity(percentiles=(1, 99))
    assert [(f.severity, f.what) for f in listing.findings] == [("note", "1 hidden file (._* and .*) ignored")]


def test_an_id_without_one_of_its_files_is_an_error(tmp_path):
    touch(tmp_path, *case("1", *ROLES[:2]), *case("2", *ROLES[1:]), *case("3", *ROLES), *case("4", *ROLES))
    touch(tmp_path, *case("4", "adc", ending=".nii"))
    listing = cases(tmp_path, described(tmp_path))
    assert [found.id for found in listing.cases] == ["3"]
    assert [(f.severity, f.case, f.what) for f in listing.findings] == [
        ("error", "1", "segmentation.nii.gz is missing; list the id under unlabelled if it has none by design"),
        ("error", "2", "imaging.nii.gz is missing"),
        ("error", "4", "adc.nii and adc.nii.gz are both there; keep one"),
    ]


def test_an_id_that_stands_twice_is_the_same_text(tmp_path):
    touch(tmp_path, "p1/p1_t1.nii.gz", "p1/p1_seg.nii.gz", "p2/p1_t1.nii.gz")
    listing = cases(tmp_path, simple("{id}/{id}_t1.nii.gz", "{id}/{id}_seg.nii.gz"))
    assert ([found.id for found in listing.cases], listing.findings) == (["p1"], ())


def test_a_mask_beside_its_image_is_no_image(tmp_path):
    touch(tmp_path, "7.nii.gz", "7_seg.nii.gz", "a+b.nii.gz", "a+b_seg.nii")
    listing = cases(tmp_path, simple("{id}.nii.gz", "{id}_seg.nii.gz")).require()
    assert [found.id for found in listing.cases] == ["7", "a+b"]


def test_a_pattern_is_plain_text_around_the_id(tmp_path):
    touch(tmp_path, "a (1)/7+.nii.gz", "a (1)/8+seg.nii.gz", "a (1)/7+seg.nii.gz", "a (1)/8+.nii")
    listing = cases(tmp_path, simple("a (1)/{id}+.nii.gz", "a (1)/{id}+seg.nii.gz")).require()
    assert [found.id for found in listing.cases] == ["7", "8"]


def test_stored_values_may_have_gaps(tmp_path):
    touch(tmp_path, "img/1.nii", "seg/1.nii")
    given = FolderDescription(modalities={"T1": "img/{id}.nii"}, mask="seg/{id}.nii", classes={"a": 200, "b": 5})
    listing = cases(tmp_path, given)
    assert (listing.classes, listing.values) == (("background", "b", "a"), {0: 0, 5: 1, 200: 2})


def test_no_match_names_the_patterns(tmp_path):
    touch(tmp_path, "img/1.mha", "img/2.nii", "x/1.nii")
    with pytest.raises(UserError, match=r"none of 1 NIfTI .* matches image/\{id\}.nii.gz, seg/\{id\}.nii.gz; mend"):
        cases(touch(tmp_path / "x"), simple("image/{id}.nii.gz"))
    with pytest.raises(UserError, match="no data folder"):
        cases(tmp_path / "gone", simple())


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("case_{id}/adc", "case_1/adc", r":1: modalities: a file pattern holds \{id\}"),
        ('mask: "case_{id}', 'mask: "{case}_{id}', r":4: mask: a file pattern holds \{id\}, .* and no other braces"),
        ('mask: "case', 'mask: "/case', ":4: mask: a file pattern is a path below"),
        ('mask: "case', 'mask: "../case', ":4: mask: a file pattern is a path below"),
        ("segmentation.nii.gz", "segmentation.mgz", ":4: mask: .* ends in .nii or .nii.gz"),
        ("adc.nii", "imaging.nii", "the pattern 'case_{id}/imaging.nii.gz' stands twice"),
        ("bladder: 1", "bladder: 2", ":5: classes: each class needs stored values of its own"),
        ("bladder: 1", "bladder: 0", ":5: classes: the background is 0 and is not listed"),
        ("[prostate, bladder]", "[prostat]", "no class 'prostat'; did you mean 'prostate'"),
        ("{both:", "{bladder:", "region 'bladder' needs classes and a name that no class has"),
        ("slice_axis: first", "slice_axis: frist", ":8: .*did you mean 'first'"),
        ("units:", "unit:", ":7: unknown key 'unit' in the top level; did you mean 'units'"),
    ],
)
def test_a_mistake_in_the_description_is_shown_with_its_line(tmp_path, old, new, what):
    assert old in YAML
    with pytest.raises(UserError, match=f"medsweep.yaml.*{what}"):
        described(tmp_path, YAML.replace(old, new))


def test_several_values_count_as_one_class_and_the_rest_can_be_background(tmp_path):
    touch(tmp_path, *case("1", *ROLES))
    text = YAML.replace("{prostate: 2, bladder: 1}", "{prostate: [5, 2], bladder: 3}")
    listing = cases(tmp_path, described(tmp_path, text + "other_labels: background\n"))
    assert listing.classes == ("background", "prostate", "bladder")
    assert listing.values == {0: 0, 2: 1, 5: 1, 3: 2}
    assert listing.other_values_are_background
    assert listing.choices["other labels"] == "background"
    assert not cases(tmp_path, described(tmp_path)).other_values_are_background
    for wrong in ("{prostate: [1, 2], bladder: 2}", "{prostate: [], bladder: 2}", "{prostate: [0, 1], bladder: 2}"):
        with pytest.raises(UserError, match=r"medsweep\.yaml:5: .*classes"):
            described(tmp_path, YAML.replace("{prostate: 2, bladder: 1}", wrong))


def test_cases_without_labels_by_design_are_no_errors(tmp_path):
    touch(tmp_path, "1.nii", "1_seg.nii", "t_2.nii", "t_3.nii", "t_3_seg.nii", "4.nii")
    description = simple("{id}.nii", "{id}_seg.nii").model_copy(update={"unlabelled": ("t_*", "9")})
    listing = cases(tmp_path, description)
    assert ([case.id for case in listing.cases], listing.unlabelled) == (["1", "t_3"], ("t_2",))
    assert [(finding.case, finding.what) for finding in listing.findings] == [
        ("4", "4_seg.nii is missing; list the id under unlabelled if it has none by design")
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("modalities: {T1: {id}/i.nii}", r':1: not valid YAML: .*; put text with braces in quotes, as "\{id\}/i.nii"'),
        ("modalities:\n  T1: {id}/i.nii", r":2: not valid YAML: .*; put text with braces in quotes, as "),
        ("modalities:\n\tT1: x", ":2: not valid YAML: .*; indent with spaces, not with a tab"),
        ('modalities: "{id}.nii"', r"modalities: each needs a name, as \{T2: \"\{id\}/t2.nii.gz\"\}, got "),
        ('modalities: ["{id}.nii"]', "modalities: each needs a name, as "),
        ("classes: [ball]", r"classes: each needs a name, as \{prostate: 1, lesion: 2\}"),
        ("classes: {1: ball}", "classes: the name comes first, as "),
        ('classes: {ball: "1"}', "classes.ball: a stored value is a whole number without quotes, as "),
        ('label: "{id}.nii"', "unknown key 'label'; here it is called 'mask'"),
        ('images: "{id}.nii"', "unknown key 'images'; here it is called 'modalities'"),
    ],
)
def test_the_mistakes_of_beginners_are_explained(tmp_path, text, what):
    rest = {"modalities": '{T1: "{id}.nii"}', "mask": '"{id}_s.nii"', "classes": "{x: 1}"}
    meant = {"label": "mask", "images": "modalities"}.get(text.split(":")[0], text.split(":")[0])
    lines = [f"{key}: {value}" for key, value in rest.items() if key != meant]
    (tmp_path / "medsweep.yaml").write_text("\n".join([text, *lines, ""]))
    with pytest.raises(UserError, match=what):
        read_description(tmp_path)


def test_the_mistakes_of_beginners_are_told_in_one_go(tmp_path):
    (tmp_path / "medsweep.yaml").write_text("images: {T1: '{id}.nii'}\nlabels: '{id}_s.nii'\nclasses: {x: '1'}\n")
    with pytest.raises(UserError) as told:
        read_description(tmp_path)
    assert sorted(line.split(": ")[0].rpartition(":")[2] for line in told.value.lines) == ["1", "2", "3"]


def test_files_made_from_a_case_are_told_with_the_line_that_ignores_them(tmp_path):
    touch(tmp_path, *(f"{case}{end}.nii.gz" for case in (1, 2) for end in ("", "_seg", "_n4", "_seg_reader2")))
    listing = cases(tmp_path, simple("{id}.nii.gz", "{id}_seg.nii.gz"))
    assert [found.id for found in listing.cases] == ["1", "2"]
    assert {(f.case, f.what.partition("; ")[0]) for f in listing.findings} == {
        (f"{case}{more}", f"there is no mask, and the name is that of another case and {more!r}")
        for case in (1, 2)
        for more in ("_n4", "_seg_reader2")
    }
    mended = simple("{id}.nii.gz", "{id}_seg.nii.gz").model_copy(update={"ignore": ("*_n4.nii*", "*_seg_reader2.nii*")})
    assert cases(tmp_path, mended).findings == ()
    assert all(f"ignore: ['*_{f.case.partition('_')[2]}.nii*']" in f.what for f in listing.findings)


def test_an_empty_description_is_told(tmp_path):
    with pytest.raises(UserError, match=r"medsweep.yaml is empty; a description file holds a mapping of keys$"):
        described(tmp_path, "# nothing yet\n")


def test_two_sites_may_have_the_same_ids(tmp_path):
    for site in ("north", "south"):
        touch(tmp_path, *(f"{site}/images/{n}.nii.gz" for n in (1, 2)), *(f"{site}/masks/{n}.nii" for n in (1, 2)))
    touch(tmp_path, "south/images/test_3.nii.gz", "north/images/4.nii.gz")
    patterns = {"modalities": {"T2": "{site}/images/{id}.nii.gz"}, "mask": "{site}/masks/{id}.nii.gz"}
    listing = cases(tmp_path, FolderDescription(**patterns, classes={"x": 1}, unlabelled=("test_*",)))
    assert [case.id for case in listing.cases] == ["north.1", "north.2", "south.1", "south.2"]
    assert listing.cases[2].label == tmp_path / "south/masks/1.nii"
    assert listing.unlabelled == ("south.test_3",)
    (lost,) = listing.findings
    assert (lost.case, lost.file) == ("north.4", str(tmp_path / "north/masks/4.nii.gz"))
    starred = {"modalities": {"T2": "*/images/{id}.nii.gz"}, "mask": "*/masks/{id}.nii.gz"}
    twice = cases(tmp_path, FolderDescription(**starred, classes={"x": 1})).findings[0]
    assert twice.what.endswith("keep one; if they are of two sites, write {site} in the place of * in all patterns")


def test_a_site_may_hold_patients_and_its_ids_stay_apart(tmp_path):
    touch(tmp_path, "a/p/1.nii", "a/p/1_s.nii", "a/q/1.nii", "a/q/1_s.nii")
    rule = FolderDescription(
        modalities={"T2": "{site}/{patient}/{id}.nii"}, mask="{site}/{patient}/{id}_s.nii", classes={"x": 1}
    )
    listing = cases(tmp_path, rule)
    assert [case.id for case in listing.cases] == ["a.p/1", "a.q/1"]
    assert patient_of(listing.cases[0].id) == "a.p"
    touch(tmp_path, "a.p/q/1.nii", "a.p/q/1_s.nii", "a/p.q/1.nii", "a/p.q/1_s.nii")
    with pytest.raises(
        UserError, match=r"'1' of site 'a' and '1' of site 'a.p' would both have the id a.p.q/1; rename"
    ):
        cases(tmp_path, rule)
    with pytest.raises(ValidationError, match=r"\{site\} stands in all file patterns or in none"):
        FolderDescription(modalities={"T2": "{site}/{id}.nii"}, mask="masks/{id}.nii", classes={"x": 1})
