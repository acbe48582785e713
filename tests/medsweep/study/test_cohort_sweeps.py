"""A whole sweep on a made-up cohort of every dataset: files in their own layout in, an answer out."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from helpers.micro import WITHOUT_GENERATORS, write_micro
from medsweep.cli import app
from medsweep.data.catalogue import CATALOGUE
from medsweep.data.phantom import PhantomConfig, write_cohort
from medsweep.study.session import RunOptions, open_sweep

PHANTOM = "phantom: {patients: 6, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all cohorts have their sweep, and one store."""
    return tmp_path_factory.mktemp("cohorts")


def sweep_of(folder: Path, dataset: str) -> Path:
    return write_micro(
        folder,
        ("sweep: micro", f"sweep: {dataset}"),
        ("dataset: phantom", f"dataset: {dataset}"),
        (PHANTOM, "phantom: {patients: 4, seed: 1}"),
        ("folds: 2", "folds: 2, only: [0]"),
        ("resolution: 16", "resolution: 32"),
        name=f"{dataset}.yaml",
    )


@pytest.mark.parametrize(
    "dataset", [name if name == "kits19" else pytest.param(name, marks=pytest.mark.slow) for name in CATALOGUE]
)
def test_every_dataset_goes_the_whole_way(dataset: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    opened = open_sweep(sweep_of(folder, dataset), folder / "store")
    summary = opened.run(RunOptions("local"))
    assert summary.exit_code == 0, summary.failures
    _, page = opened.report(None, summary, "medsweep run")
    assert f"{dataset} (made up): 4 patients" in page.read_text()

    table = pd.read_parquet(page.parent / "results.parquet")
    (prepared,) = (digest for digest, trial in opened.plan.trials.items() if trial.stage == "prepare")
    cohort = json.loads((folder / "store" / "prepare" / prepared / "output" / "cohort.json").read_text())
    assert set(table["dataset"]) == {f"{dataset} (made up)"}
    assert table["patient"].nunique() == 2
    classes = {"dice": set(cohort["classes"][1:]), "region_dice": set(cohort["regions"])}
    for metric, names in classes.items():
        assert set(table.loc[table["metric"] == metric, "class"]) == names
    assert set(table["arm"]) == {"control", "b-sg count=4", "mc-sg count=4"}


def test_several_datasets_are_analysed_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    sweeps = [sweep_of(folder, dataset) for dataset in ("kits19", "d-heart")]
    for sweep in sweeps:
        assert open_sweep(sweep, folder / "store", to="run").run(RunOptions("local")).exit_code == 0
    told = CliRunner().invoke(app, ["analyse", *map(str, sweeps), "--store", "store", "--results", "out"])
    assert told.exit_code == 0, told.output
    assert [line for line in told.output.splitlines() if line.startswith("report: ")] == [
        f"report: out/{name}" for name in ("kits19/report.html", "d-heart/report.html", "across/across.html")
    ]
    page = (folder / "out" / "across" / "across.html").read_text()
    assert "kits19 (made up)" in page
    assert "d-heart (made up)" in page
    found = json.loads((folder / "out" / "across" / "across.json").read_text())
    assert [one["arm"] for one in found["arms"]] == ["b-sg count=4", "mc-sg count=4"]


def test_a_made_up_folder_is_never_taken_for_the_real_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_cohort("d-heart", PhantomConfig(patients=4), tmp_path / "files")
    data = ("folds: 2", "folds: 2, only: [0]"), ("resolution: 16", "resolution: 32"), WITHOUT_GENERATORS
    sweep = write_micro(tmp_path, ("dataset: phantom", "dataset: d-heart"), (PHANTOM, "root: files"), *data)
    opened = open_sweep(sweep, tmp_path / "store")
    assert opened.run(RunOptions("local")).exit_code == 0
    assert set(opened.tables()["results"]["dataset"]) == {"d-heart (made up)"}
    cohort = next((tmp_path / "store" / "prepare").glob("*/output/cohort.json"))
    assert json.loads(cohort.read_text())["made_up"] is True
