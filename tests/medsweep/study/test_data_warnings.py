"""What the check of the data warns of is said by plan and run and stands in the limits of the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.decathlon_folder import save
from medsweep.cli import app
from medsweep.study import made_report, report, session
from medsweep.study.session import open_sweep

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
WARNED = "p2, seg.nii.gz: the mask is empty"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep over six small patients, one of them without foreground."""
    for number in range(1, 7):
        rng = np.random.default_rng(number)
        mask = (rng.random((16, 16, 4)) < 0.2).astype(np.uint8) * (number != 2)
        save(tmp_path / f"data/p{number}/img.nii.gz", rng.normal(100, 9, mask.shape).astype(np.float32), AFFINE)
        save(tmp_path / f"data/p{number}/seg.nii.gz", mask, AFFINE)
    (tmp_path / "data/medsweep.yaml").write_text(
        'modalities: {T1: "{id}/img.nii.gz"}\nmask: "{id}/seg.nii.gz"\nclasses: {ball: 1}\n'
    )
    (tmp_path / "s.yaml").write_text(
        f"sweep: warned\nquestion: Is it told?\ndata: {{dataset: mine, root: {tmp_path / 'data'}, resolution: 16}}\n"
        "replicates: {folds: 3, seeds: 1}\ncontrol: {synthesise.count: 0}\n"
        "arms:\n  b: {synthesise.count: 16, gan.pipeline: b-sg}\nanalysis: {primary: dice, margin: 0.05}\n"
    )
    return tmp_path / "s.yaml"


def test_a_plan_tells_the_warnings_of_the_data(sweep: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["plan", str(sweep), "--store", str(tmp_path / "store")])
    assert told.exit_code == 0, told.output
    assert f"warning, data: {WARNED}" in told.output


def test_a_run_tells_them_first(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: Any, options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(session.Session, "run", stop)
    told = CliRunner().invoke(app, ["run", str(sweep), "--store", str(tmp_path / "store")])
    assert f"medsweep: warning, data: {WARNED}" in told.output


def test_the_report_has_them_among_its_limits(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(report, "make_tables", lambda *_: {})
    monkeypatch.setattr(report, "make_report", lambda *_, **fields: given.update(fields) or (None, None))
    monkeypatch.setattr(made_report, "verdicts_of", lambda _: None)
    monkeypatch.setattr(made_report, "keep", lambda *_: None)
    (tmp_path / "results").mkdir()
    open_sweep(sweep, tmp_path / "store").report(tmp_path / "results", None, "medsweep report")
    assert f"Warned of by the check of the data: {WARNED}." in given["limits"]


def test_results_can_be_read_with_them_where_the_files_are_not(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    planned = open_sweep(sweep, tmp_path / "store").plan
    (tmp_path / "data").rename(tmp_path / "away")
    read = open_sweep(sweep, tmp_path / "store", to="read").plan
    assert read.data_warnings == planned.data_warnings == (WARNED,)
    assert list(read.trials) == list(planned.trials)


def test_rehash_reads_all_files_again(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["plan", str(sweep), "--store", str(tmp_path / "store")]
    assert (
        CliRunner().invoke(app, ["data", "prepare", "mine", "--root", str(tmp_path / "data"), *words[2:]]).exit_code
        == 0
    )
    read: list[str] = []
    monkeypatch.setattr("medsweep.data.check.load", lambda case, listing: read.append(case.id))
    assert CliRunner().invoke(app, words).exit_code == 0
    assert not read
    CliRunner().invoke(app, [*words, "--rehash"])
    assert sorted(read) == [f"p{number}" for number in range(1, 7)]
