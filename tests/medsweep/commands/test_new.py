"""``medsweep new`` writes a sweep that can be planned as it is, and says what to type."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from helpers.commanding import Medsweep, decathlon
from medsweep.commands import start, sweeps
from medsweep.data.phantom import DATASETS
from medsweep.study.new_sweep import Found, name_of, side_of, sweep_text
from medsweep.study.session import open_sweep
from medsweep.study.stages import SCHEMA
from medsweep.sweep.arms import arms
from medsweep.sweep.load import load_sweep


def plain_folder(folder: Path, patients: int = 5) -> Path:
    """Images and masks side by side, which nothing describes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(patients):
        mask = np.zeros((20, 16, 4), np.uint8)
        mask[4:12, 4 : 9 + number % 3, 1:3] = 1
        image = rng.normal(100, 20, mask.shape) + 50 * mask
        for name, voxels in (("t1", image.astype(np.int16)), ("seg", mask)):
            nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])).to_filename(folder / f"p{number}_{name}.nii.gz")
    return folder


def test_a_folder_that_can_be_read_gets_a_sweep(
    medsweep: Medsweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = medsweep("new", "--root", decathlon(tmp_path), "--size", "demo")
    assert told.exit_code == 0, told.output
    lines = told.output.splitlines()
    path = next(tmp_path.glob("*-first.yaml"))
    assert lines[-1] == f"run it:             medsweep run {path.name}"
    opened = open_sweep(path, tmp_path / "store")
    assert any("real patient" in arm.name for arm in opened.plan.arms)
    assert opened.notes == (), "all that it says is read"
    again = medsweep("new", "--root", tmp_path / "Task99_Micro", "--size", "demo")
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.output


def test_a_folder_that_nothing_describes_gets_a_description_first(
    medsweep: Medsweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = plain_folder(tmp_path / "hips")
    told = medsweep("new", "--root", root, "--size", "cpu", "--out", "mine.yaml")
    assert told.exit_code == 0, told.output
    assert "mask:" in (root / "medsweep.yaml").read_text()
    assert "guessed from the names: mend names and classes" in told.output
    opened = open_sweep(tmp_path / "mine.yaml", tmp_path / "store")
    assert len(opened.plan.patients) == 5
    assert opened.sweep.base.data.resolution == 32


def test_a_file_is_never_overwritten_which_is_said_before_anything_is_read_and_gets_its_folder(
    medsweep: Medsweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = plain_folder(tmp_path / "hips")
    (tmp_path / "mine.yaml").write_text("mine")
    told = medsweep("new", "--root", root, "--size", "cpu", "--out", "mine.yaml")
    assert (told.exit_code, "mine.yaml is there already" in told.output) == (2, True)
    assert not (root / "medsweep.yaml").exists(), "nothing was read or written"
    told = medsweep("new", "--dataset", next(iter(DATASETS)), "--size", "cpu", "--out", "sweeps/mine.yaml")
    assert told.exit_code == 0, told.output
    assert (tmp_path / "sweeps" / "mine.yaml").is_file()


@pytest.mark.parametrize("size", ["demo", "cpu", "gpu"])
@pytest.mark.parametrize(("patients", "slices", "side"), [(4, 9, 17), (8, 80, 64), (369, 25_000, 240)])
def test_every_size_is_a_valid_sweep(tmp_path: Path, size: str, patients: int, slices: int, side: int) -> None:
    found = Found("mine", patients, slices, side, root=tmp_path, leave_out=("a b", 'c"d'))
    path = tmp_path / "x.yaml"
    path.write_text(sweep_text(found, size))
    sweep = load_sweep(path, SCHEMA)
    assert len(arms(sweep)) >= 3
    assert sweep.name == name_of(found)
    assert sweep.base.data.leave_out == ("a b", 'c"d')
    assert sweep.base.data.resolution == side_of(found, size) <= 256
    assert (sweep.base.gan.preset == "tiny") == (size != "gpu")


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_known_dataset_is_made_up(
    medsweep: Medsweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = medsweep("new", "--dataset", dataset, "--size", "cpu")
    assert told.exit_code == 0, told.output
    assert "20 patients" in told.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give your data by --root DIR, or a name of medsweep data list by --dataset NAME"),
        (
            ("--dataset", "brats"),
            "no cohort can be made up for 'brats', so give its folder by --root DIR; did you mean 'brats20'?",
        ),
        (("--root", "nowhere"), "no folder nowhere"),
        (("--root", "empty"), "nothing tells how to read empty, and its names do not tell which files are masks"),
        (("--root", "few"), "few has 3 patient(s) that can be used, and a sweep needs 4"),
    ],
)
def test_what_no_sweep_can_be_written_for_is_one_line(
    medsweep: Medsweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    plain_folder(tmp_path / "few", patients=3)
    ran = medsweep("new", *words)
    assert ran.exit_code == 2
    assert told in ran.output.splitlines()[-1]
    assert not list(tmp_path.glob("*-first.yaml"))


def test_the_demo_runs_the_quickstart_and_leads_to_own_data(
    medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Path] = []

    def run(sweep: Path, **_: object) -> int:
        ran.append(sweep)
        return 0

    monkeypatch.setattr(sweeps, "run", run)
    assert "your own data: medsweep new --root DIR" in medsweep("demo").output
    assert ran == [start.DEMO]
