"""``medsweep data`` as a user types it, on small folders."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from medsweep.cli import app
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.config import DataConfig
from medsweep.data.layouts.description import FolderDescription
from medsweep.data.phantom import PhantomConfig, write_cohort
from medsweep.data.slices import SliceSet
from medsweep.store.store import Store
from medsweep.validation import parse
from medsweep.yamlfile import read_yaml

DOCS = Path(__file__).parents[3] / "docs"
GUIDES = (DOCS / "reference" / "datasets.md").read_text() + (DOCS / "how-to" / "own-data.md").read_text()

Data = Callable[..., Result]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Data:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["data", *(str(word) for word in words)])


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Three cases in the Decathlon layout; the middle one lacks the tumour."""
    root = tmp_path / "toy"
    rng = np.random.default_rng(0)
    training = []
    for number in (1, 2, 10):
        label = np.zeros((12, 10, 4), np.uint8)
        label[3:6, 3:6, 1:3] = 1
        label[7, 7, 2] = 2 if number != 2 else 0
        pair = {part: f"{part}sTr/toy_{number}.nii.gz" for part in ("image", "label")}
        for part, array in (("image", rng.normal(100, 9, label.shape).astype(np.float32)), ("label", label)):
            (root / f"{part}sTr").mkdir(parents=True, exist_ok=True)
            nib.Nifti1Image(array, np.diag([1, 1, 3, 1])).to_filename(root / pair[part])
        training.append(pair)
    labels = {"0": "background", "1": "organ", "2": "tumour"}
    described = {"name": "toy", "modality": {"0": "MRI"}, "labels": labels, "training": training}
    (root / "dataset.json").write_text(json.dumps(described))
    return root


def plain(result: Result) -> str:
    return " ".join(result.output.split())


def test_the_list_names_every_dataset(data: Data) -> None:
    told = data("list")
    assert told.exit_code == 0
    assert set(CATALOGUE) <= set(told.output.split())


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_description_holds_terms_traps_and_an_example(data: Data, name: str) -> None:
    told = data("describe", name)
    spec = CATALOGUE[name]
    assert told.exit_code == 0, told.output
    assert spec.terms in told.output
    assert spec.where in told.output
    assert all(quirk in told.output for quirk in spec.quirks)
    assert f"dataset: {name}" in told.output


def test_an_unknown_name_is_answered_with_the_nearest(data: Data) -> None:
    told = data("describe", "brats2")
    assert told.exit_code == 2
    assert "no dataset 'brats2' is known; did you mean 'brats20'?" in told.output


def test_check_counts_a_whole_folder(data: Data, toy: Path) -> None:
    told = data("check", "toy", "--root", toy)
    assert told.exit_code == 0, told.output
    assert "toy: cases usable 3, not usable 0, without labels by design 0" in told.output
    assert "slices 12, 6 with foreground" in plain(told)
    assert "tumour 2 2 2 2" in plain(told)
    assert "note toy_2 labelsTr/toy_2.nii.gz no voxel of tumour" in plain(told)


def test_check_fails_on_a_case_that_cannot_be_used_and_names_its_file(data: Data, toy: Path) -> None:
    (toy / "labelsTr" / "toy_10.nii.gz").unlink()
    label = np.full((12, 10, 4), 9, np.uint8)
    nib.Nifti1Image(label, np.diag([1, 1, 3, 1])).to_filename(toy / "labelsTr" / "toy_1.nii.gz")
    told = data("check", "toy", "--root", toy)
    assert told.exit_code == 1
    assert "cases usable 1, not usable 2" in told.output
    assert "undeclared label value 9" in told.output
    levels = re.findall(r"^(error|warning|note) ", told.output, re.MULTILINE)
    assert levels[:3] == ["error", "error", "warning"]


def test_check_of_no_folder_is_one_line(data: Data, tmp_path: Path) -> None:
    told = data("check", "toy", "--root", tmp_path / "nowhere")
    assert told.exit_code == 2
    assert len(told.output.splitlines()) == 1
    assert "nowhere" in told.output


def test_prepare_publishes_once_and_finds_it_again(data: Data, toy: Path, tmp_path: Path) -> None:
    words = ("prepare", "toy", "--root", toy, "--resolution", 16, "--store", "store")
    first = data(*words)
    assert first.exit_code == 0, first.output
    lines = first.output.splitlines()
    assert [line.split()[-1] for line in lines if " of 3 " in line] == ["toy_1", "toy_2", "toy_10"]
    assert "warning, data: toy_10, toy_10.nii.gz: the mask has" in lines[0]
    (published,) = Store(tmp_path / "store").published("prepare")
    assert published.digest[:16] in first.output
    slices = SliceSet.open(Store(tmp_path / "store").output("prepare", published.digest))
    assert slices.masks.shape == (12, 16, 16)
    assert set(slices.patients) == {"toy_1", "toy_2", "toy_10"}
    again = data(*words)
    assert again.exit_code == 0
    assert "is there already" in again.output
    assert published.digest[:16] in again.output
    quiet = data("prepare", "toy", "--root", toy, "--resolution", 32, "--store", "store", "--quiet")
    assert quiet.exit_code == 0
    assert " of 3 " not in quiet.output
    assert "prepared 3 patients" in quiet.output


def test_prepare_tells_what_does_not_fit_in_one_line(data: Data, toy: Path) -> None:
    odd = data("prepare", "toy", "--root", toy, "--resolution", 15, "--store", "store")
    assert odd.exit_code == 2
    assert "resolution" in odd.output
    assert "15" in odd.output
    nib.Nifti1Image(np.full((12, 10, 4), 9, np.uint8), np.eye(4)).to_filename(toy / "labelsTr" / "toy_1.nii.gz")
    broken = data("prepare", "toy", "--root", toy, "--resolution", 16, "--store", "store")
    assert broken.exit_code == 2
    assert "undeclared label value 9" in broken.output


def test_a_made_up_cohort_says_so_wherever_it_goes(data: Data, tmp_path: Path) -> None:
    made = data("phantom", "brats20", "--patients", 2, "--out", "made")
    assert made.exit_code == 0, made.output
    assert "made up 2 patients" in made.output
    assert data("check", "brats20", "--root", "made").exit_code == 0
    sheet = data("preview", "brats20", "--root", "made", "--out", "sheet.png", "--resolution", 32)
    assert sheet.exit_code == 0, sheet.output
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "not to be published" not in sheet.output


def test_a_made_up_cohort_overwrites_nothing(data: Data, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    told = data("phantom", "d-heart", "--patients", 2, "--out", "full")
    assert told.exit_code == 2
    assert "not an empty folder" in told.output
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_cohort_of_an_unknown_dataset_or_size_is_refused(data: Data) -> None:
    assert "did you mean 'd-heart'?" in data("phantom", "d-hart", "--patients", 2, "--out", "x").output
    assert data("phantom", "d-heart", "--patients", 0, "--out", "x").exit_code == 2


def test_a_picture_that_must_not_be_published_says_so(data: Data, tmp_path: Path) -> None:
    assert data("phantom", "ibsr18", "--patients", 2, "--out", "ibsr").exit_code == 0
    (tmp_path / "ibsr" / "README.txt").unlink()  # what is left looks like the real folder
    told = data("preview", "ibsr18", "--root", "ibsr", "--out", "sheet.png", "--resolution", 32, "--patients", 1)
    assert told.exit_code == 0, told.output
    assert "not to be published: terms of ibsr18" in told.output


def test_a_preview_needs_a_png_in_a_folder_that_exists(data: Data, toy: Path) -> None:
    assert data("preview", "toy", "--root", toy, "--out", "sheet.jpg").exit_code == 2
    missing = data("preview", "toy", "--root", toy, "--out", "nowhere/sheet.png")
    assert missing.exit_code == 2
    assert "nowhere" in missing.output


def test_describe_says_that_a_folder_can_be_read_in_two_ways(data: Data, tmp_path: Path) -> None:
    write_cohort("d-heart", PhantomConfig(patients=2, shape=(8, 8, 8)), tmp_path / "cohort")
    told = plain(data("describe", tmp_path / "cohort"))
    assert "can be read in 2 ways, which give classes other names; choose by data.dataset" in told
    assert told.count(" is read as ") == 2


def test_describe_tells_what_a_folder_would_be_read_as(data: Data, toy: Path, tmp_path: Path) -> None:
    told = data("describe", toy)
    assert told.exit_code == 0
    assert f"{toy} is read as a task of the Medical Segmentation Decathlon" in plain(told)
    assert "cases 3 usable, of 3 patients, 0 with errors, 0 without labels by design" in plain(told)
    assert f"dataset: toy root: {toy}" in plain(told)
    other = tmp_path / "other"
    (other / "p1").mkdir(parents=True)
    assert "resolution 32 holds the largest slice (10 x 12 pixels, 10 x 12 mm) unshrunk; the median" in plain(told)
    assert told.output.rstrip().endswith("    resolution: 32")
    assert data("describe", other).exit_code == 1
    assert data("describe", "./gone").exit_code == 2
    above = data("describe", tmp_path)
    assert f"{toy} inside it can be read: medsweep data describe {toy}" in plain(above)


def test_cases_are_left_out_of_check_prepare_and_preview(data: Data, toy: Path) -> None:
    (toy / "labelsTr" / "toy_2.nii.gz").write_text("damaged")
    assert data("check", "toy", "--root", toy).exit_code == 1
    without = ("toy", "--root", toy, "--leave-out", "toy_2")
    assert data("check", *without).exit_code == 0
    assert data("prepare", *without, "--store", "store", "--resolution", 16).exit_code == 0
    assert data("preview", *without, "--out", "sheet.png", "--resolution", 16).exit_code == 0
    wrong = data("check", "toy", "--root", toy, "--leave-out", "toy_20")
    assert wrong.exit_code == 2
    assert "leave_out names 'toy_20', which is no case; did you mean 'toy_2'" in plain(wrong)


def test_the_examples_of_the_guide_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSWEEP_DATA", str(tmp_path))
    sections, descriptions = [], []
    for number, text in enumerate(re.findall(r"```yaml\n(.*?)```", GUIDES, re.DOTALL)):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        yaml = read_yaml(path)
        if "data" in yaml.data:
            sections.append(parse(DataConfig, yaml.data["data"], yaml, ("data",)).dataset)
        else:
            descriptions.append(parse(FolderDescription, yaml.data, yaml))
    assert sections == ["ibsr18", "hippocampus", "my-prostates"]
    named = [tuple(found.stored_classes) for found in descriptions]
    assert named == [("prostate", "lesion"), ("spleen", "liver"), ("tumour",), ("prostate",)]
    assert set(CATALOGUE) <= set(re.findall(r"^\| `([\w-]+)`", GUIDES, re.MULTILINE))
