"""A mistake in the data, in the sweep or in an option is one line and exit code 2."""

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from helpers.commanding import Medsweep, decathlon
from helpers.micro import write_micro


def on_files(folder: Path) -> Path:
    phantom = "  phantom: {patients: 6, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}\n"
    return write_micro(folder, ("dataset: phantom", "dataset: micro\n  root: ${MICRO_DATA}"), (phantom, ""))


def spoil_nothing(root: Path) -> None:
    shutil.rmtree(root)


def spoil_partner(root: Path) -> None:
    sorted((root / "labelsTr").glob("*.nii.gz"))[0].unlink()


def spoil_label(root: Path) -> None:
    path = sorted((root / "labelsTr").glob("*.nii.gz"))[0]
    image = nibabel.load(path)
    data = np.asarray(image.dataobj).astype(np.uint8)  # type: ignore[attr-defined]
    data[0, 0, 0] = 9
    nibabel.save(nibabel.Nifti1Image(data, image.affine), path)  # type: ignore[attr-defined]


def spoil_shape(root: Path) -> None:
    path = sorted((root / "labelsTr").glob("*.nii.gz"))[0]
    image = nibabel.load(path)
    data = np.asarray(image.dataobj)[:-1]  # type: ignore[attr-defined]
    nibabel.save(nibabel.Nifti1Image(data, image.affine), path)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_nothing, ["micro.yaml:", "Task99_Micro", "dataset.json"]),
        (spoil_partner, ["micro.yaml:", "phantom_0001", "label"]),
        (spoil_label, ["phantom_0001", "9"]),
        (spoil_shape, ["phantom_0001", "shape"]),
    ],
)
def test_bad_data_is_one_line_and_exit_code_2(
    medsweep: Medsweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], words: list[str]
) -> None:
    root = decathlon(tmp_path)
    monkeypatch.setenv("MICRO_DATA", str(root))
    sweep = on_files(tmp_path)
    spoil(root)
    ran = medsweep("run", sweep, "--store", tmp_path / "store", "--runner", "local")
    assert ran.exit_code == 2, ran.output
    assert "Traceback" not in ran.output
    line = next(line for line in ran.output.splitlines() if words[0] in line and words[-1] in line)
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("resolution: 16", "resolution: 24"), "resolution must be a power of two from 16 to 512, got 24"),
        (("folds: 2", "folds: 9"), "6 patients cannot fill 9 folds"),
        (
            ("  resolution: 16", "  resolution: 16\n  patients: 4"),
            "data.patients asks for 4 training patients, the fold has 3",
        ),
        (("[b-sg, mc-sg]", "[b-sg, mcsg]"), "did you mean 'mc-sg'?"),
        (("primary: dice", "primary: surface_dise"), "got 'surface_dise'; did you mean 'surface_dice'?"),
        (("gan.pipeline: [b-sg, mc-sg]", "treat.treatments: [[], [{kind: blurr, sigma_px: 1.0}]]"), "blur"),
        (("gan.pipeline: [b-sg, mc-sg]", "data.root: [a, b]"), "data.root cannot differ between arms"),
        (
            ("gan.pipeline: [b-sg, mc-sg]", "gan.path_length_every_steps: [4, 8]"),
            "factor gan.path_length_every_steps changes no trial",
        ),
        (("analysis:", "budget: {hours: 0.000001}\nanalysis:"), "above budget.hours 1e-06"),
    ],
)
def test_a_mistake_in_the_sweep_is_one_line_and_exit_code_2(
    medsweep: Medsweep, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    ran = medsweep("run", write_micro(tmp_path, change), "--store", tmp_path / "store", "--runner", "local")
    assert ran.exit_code == 2, ran.output
    assert message in ran.output
    assert "micro.yaml:" in ran.output
    assert len(ran.output.strip().splitlines()) == 1


def test_a_store_that_cannot_be_opened_is_one_line(medsweep: Medsweep, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = medsweep("plan", write_micro(tmp_path), "--store", tmp_path / "file" / "store")
    assert ran.exit_code == 2
    assert "cannot be opened" in ran.output


def test_an_address_without_ray_is_refused(medsweep: Medsweep, tmp_path: Path) -> None:
    ran = medsweep("run", write_micro(tmp_path), "--runner", "local", "--address", "auto")
    assert ran.exit_code == 2
    assert "--address auto is for --runner ray" in ran.output


def test_only_a_cluster_that_is_there_is_waited_for(medsweep: Medsweep, tmp_path: Path) -> None:
    ran = medsweep("run", write_micro(tmp_path), "--wait-for-nodes", "5")
    assert ran.exit_code == 2
    assert "--wait-for-nodes is for a cluster that is there already; give its --address" in ran.output
