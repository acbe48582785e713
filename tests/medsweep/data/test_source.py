"""Which layout reads a dataset: the catalogue's, the user's description, dataset.json, or none with advice."""

from dataclasses import replace

import pytest

from helpers.decathlon_folder import task, touch
from medsweep.data import source
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.config import DataConfig
from medsweep.data.dataset import Case, Listing
from medsweep.data.layouts.description import FolderDescription
from medsweep.data.phantom import PhantomConfig
from medsweep.data.source import inspect_source, list_cases
from medsweep.errors import UserError
from medsweep.identity import canonical

DESCRIPTION = FolderDescription(modalities={"T1": "{id}_t1.nii"}, mask="{id}_seg.nii", classes={"x": 1})
YAML = 'modalities: {T2: "{id}_t2.nii"}\nmask: "{id}_seg.nii"\nclasses: {y: 1}\n'


def test_catalogue_names_go_to_their_layouts(tmp_path):
    roles = ("t1", "t1ce", "t2", "flair", "seg")
    touch(tmp_path / "b", *(f"BraTS20_Training_001/BraTS20_Training_001_{role}.nii" for role in roles))
    touch(tmp_path / "k", "case_00001/imaging.nii.gz", "case_00001/segmentation.nii.gz")
    touch(tmp_path / "i", *(f"IBSR_01/IBSR_01_{stem}.nii.gz" for stem in ("ana_strip", "segTRI_ana")))
    task(tmp_path / "h", "la_003", labels={"0": "background", "1": "left atrium"})
    for written, folder, labels in (("BraTS20", "b", None), ("kits19", "k", None), ("D-Heart", "h", None)):
        listing = list_cases(written, tmp_path / folder, labels=labels).require()
        assert (listing.name, len(listing.cases)) == (written.lower(), 1)
    listing = list_cases("IBSR18", tmp_path / "i", labels="segTRI").require()
    assert (listing.name, listing.choices) == ("ibsr18", {"labels": "segTRI"})


def test_a_catalogue_entry_is_all_that_a_new_layout_needs(tmp_path, monkeypatch):
    def flat(root, spec):
        return Listing(**spec.format_fields(), cases=(Case("a", (root / "a.nii",), root / "a_seg.nii"),))

    spec = replace(CATALOGUE["kits19"], name="flat-ct", layout="flat", list_cases=flat)
    monkeypatch.setattr(source, "CATALOGUE", {**CATALOGUE, "flat-ct": spec})
    listing = list_cases("flat-ct", tmp_path).require()
    assert (listing.name, [case.id for case in listing.cases]) == ("flat-ct", ["a"])
    assert (listing.classes, listing.intensity) == (spec.classes, spec.intensity)


def test_own_data_is_read_by_the_nearest_description(tmp_path):
    task(tmp_path, "s_1")
    assert list_cases("mine", tmp_path).classes == ("background", "anterior", "posterior")
    touch(tmp_path, "1_t1.nii", "1_t2.nii", "1_seg.nii")
    (tmp_path / "medsweep.yaml").write_text(YAML)
    assert list_cases("Mine", tmp_path).classes == ("background", "y")
    listing = list_cases("Mine", tmp_path, description=DESCRIPTION)
    assert (listing.name, listing.classes) == ("Mine", ("background", "x"))


def test_who_knows_a_dataset_says_that_its_slices_may_be_mirrored(tmp_path):
    touch(tmp_path / "own", "a_t2.nii", "a_seg.nii")
    (tmp_path / "own" / "medsweep.yaml").write_text(YAML + "mirrored: left-right\n")
    task(tmp_path / "task", "la_003")
    assert list_cases("own", tmp_path / "own").mirrored == "left-right"
    assert list_cases("mine", tmp_path / "task").mirrored is None
    (tmp_path / "task" / "medsweep.yaml").write_text("mirrored: left-right\n")
    assert list_cases("mine", tmp_path / "task").mirrored == "left-right"
    made_up = {name: DataConfig(dataset=name, phantom=PhantomConfig(patients=2)) for name in ("brats20", "kits19")}
    found = {name: inspect_source(config, tmp_path).mirrored for name, config in made_up.items()}
    assert found == {"brats20": "left-right", "kits19": None}
    config = made_up["kits19"].model_copy(update={"mirrored": "left-right"})
    assert inspect_source(config, tmp_path).mirrored == "left-right"
    assert canonical(config) == canonical(made_up["kits19"]), "nothing is prepared anew for it"


def test_the_private_dataset_needs_a_description(tmp_path):
    task(tmp_path, "s_1")
    with pytest.raises(UserError, match=r"u-pro is private.*write .*medsweep.yaml with modalities: \{T2: "):
        list_cases("U-PRO", tmp_path)
    touch(tmp_path, "1_t2.nii", "1_seg.nii")
    (tmp_path / "medsweep.yaml").write_text(YAML)
    assert list_cases("U-PRO", tmp_path).name == "u-pro"


def test_nothing_to_read_by_names_the_nearest_dataset_and_both_ways(tmp_path):
    with pytest.raises(UserError) as raised:
        list_cases("Brats2020", tmp_path)
    text = str(raised.value)
    assert "did you mean 'brats20'?" in text
    assert "medsweep.yaml with modalities:" in text
    assert "dataset.json, imagesTr and labelsTr" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("dataset", "given", "what"),
    [
        ("kits19", {"labels": "segTRI"}, "labels 'segTRI' has no meaning for dataset 'kits19'"),
        ("mine", {"labels": "segTRI"}, "only ibsr18 has two label files"),
        ("ibsr18", {"labels": "segTRY"}, "ibsr18 has no labels 'segTRY'; did you mean 'segTRI'"),
        ("kits19", {"description": DESCRIPTION}, "'kits19' has a known layout; remove the description"),
    ],
)
def test_an_argument_without_meaning_is_refused(tmp_path, dataset, given, what):
    with pytest.raises(UserError, match=what):
        list_cases(dataset, tmp_path, **given)


def test_a_missing_folder_of_own_data_names_both_ways(tmp_path):
    with pytest.raises(UserError, match=r"no data folder .*gone; .*medsweep.yaml or dataset.json"):
        list_cases("mine", tmp_path / "gone", description=DESCRIPTION)


def test_real_folders(real):
    assert len(list_cases("hippocampus", real("Task04_Hippocampus")).require().cases) == 130
    assert len(list_cases("brats20", real("brats_layout")).require().cases) == 1
