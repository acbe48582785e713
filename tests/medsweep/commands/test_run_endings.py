"""How ``medsweep run`` ends: results that cannot be written are found first, and no report changes an exit code."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.cli import app
from medsweep.commands import sweeps
from medsweep.commands.options import require_folder
from medsweep.errors import UserError
from medsweep.execution.driver import Failure, Summary
from medsweep.execution.machine import cpus_here
from medsweep.planning.forecast import sure
from medsweep.store.store import DamagedError
from medsweep.study import session


def test_a_file_in_the_place_of_the_results_is_found_before_the_first_trial(tmp_path: Path, medsweep: Medsweep) -> None:
    sweep = write_micro(tmp_path)
    (tmp_path / "out").write_text("mine")
    for results in (tmp_path / "out", tmp_path / "out" / "deeper"):
        ran = medsweep("run", sweep, "--results", results, "--store", "store", "--runner", "local")
        assert ran.exit_code == 2
        (line,) = ran.output.splitlines()
        assert line.startswith(f"medsweep: --results {results} cannot take what is made:")
    assert not list((tmp_path / "store").glob("*/*/manifest.json"))


@pytest.mark.parametrize("there", [False, True])
def test_a_mistake_in_the_file_makes_no_store_and_takes_none_away(
    tmp_path: Path, medsweep: Medsweep, there: bool
) -> None:
    sweep, store = write_micro(tmp_path), tmp_path / "store"
    sweep.write_text(sweep.read_text().replace("kimg", "kimgs"))
    if there:
        store.mkdir()
    ran = medsweep("run", sweep, "--store", store, "--runner", "local")
    assert (ran.exit_code, store.exists()) == (2, there)


def test_a_full_disk_is_found_before_the_first_trial(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    with pytest.raises(UserError, match="No space left on device"):
        _require_on_full(tmp_path)
    require_folder(tmp_path / "new" / "folder", "results")
    assert not list((tmp_path / "new" / "folder").iterdir())


def _require_on_full(folder: Path) -> None:
    from contextlib import contextmanager
    from unittest.mock import patch

    @contextmanager
    def full(**_: Any) -> Any:
        with Path("/dev/full").open("wb", buffering=0) as stream:
            yield stream

    with patch("tempfile.NamedTemporaryFile", full):
        require_folder(folder, "results")


def summary(**changes: Any) -> Summary:
    fields = {
        "ran": Counter(), "reused": Counter(), "failures": (), "blocked": 0, "stopped": False, "seconds": 1.0,
    }  # fmt: skip
    return Summary(**fields | changes)


FAILED = Failure(
    SimpleNamespace(stage="segment", digest="a" * 64),  # type: ignore[arg-type]
    "arm x",
    "error",
    "boom",
)


@pytest.mark.parametrize(
    ("made", "code"), [(summary(failures=(FAILED,)), 1), (summary(capped="trials: 9"), 3), (summary(), 2)]
)
@pytest.mark.parametrize(
    "trouble", [UserError("2 scores are absent"), DamagedError("score", "b" * 64, "torn"), OSError(28, "No space left")]
)
def test_a_report_that_cannot_be_made_changes_no_exit_code_of_what_ran(
    medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch, made: Summary, code: int, trouble: Exception
) -> None:
    def report(*_: Any) -> None:
        raise trouble

    opened = SimpleNamespace(
        plan=SimpleNamespace(data_warnings=()),
        notes=(),
        forecast=lambda: SimpleNamespace(hours=sure(0.1)),
        run=lambda options: made,
        report_once=report,
        has_results=lambda: True,
        folder=lambda results: Path("out"),
    )
    monkeypatch.setattr(session, "open_sweep", lambda *_, **__: opened)
    ran = medsweep("run", "x.yaml", "--runner", "local")
    assert ran.exit_code == code, ran.output
    assert ("no report:" in ran.output) == (code != 2)


def test_a_signal_while_the_report_is_made_ends_the_command_at_once(
    medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored: list[object] = []

    def report(*_: Any) -> None:
        raise KeyboardInterrupt

    opened = SimpleNamespace(
        plan=SimpleNamespace(data_warnings=()),
        notes=(),
        forecast=lambda: SimpleNamespace(hours=sure(0.1)),
        run=lambda options: summary(),
        report_once=report,
        has_results=lambda: True,
        folder=lambda results: Path("out"),
        mirror=lambda *results: mirrored.append(results) or SimpleNamespace(written=0),
    )
    monkeypatch.setattr(session, "open_sweep", lambda *_, **__: opened)
    ran = medsweep("run", "x.yaml", "--runner", "local", "--wandb", "offline")
    assert ran.exit_code == 130, ran.output
    assert mirrored == [()]


def test_a_trial_that_cannot_be_read_is_told_by_the_mirror_and_ends_nothing(copy: Path) -> None:
    opened = session.open_sweep(copy / "micro.yaml", copy / "store", to="read")
    manifest = next((copy / "store" / "score").glob("*/manifest.json"))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 2}))
    assert "was published by another version" in opened.mirror().failed["every run"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--cpus", "2", "--runner", "local"),
            "--cpus is for a Ray that is started here; leave it or --runner local out",
        ),
        (("--gpus", "1", "--address", "auto"), "--gpus is for a Ray that is started here; leave it or --address out"),
        (("--cpus", str(cpus_here() + 1)), f"this process may use {cpus_here()} here; ask for no more"),
    ],
)
def test_limits_of_a_run_are_checked(medsweep: Medsweep, words: tuple[str, ...], told: str) -> None:
    ran = medsweep("run", "quickstart", *words)
    assert ran.exit_code == 2
    assert told in " ".join(ran.output.split())


def test_a_run_ends_with_a_headline_a_line_per_arm_and_what_to_type(medsweep: Medsweep, copy: Path) -> None:
    where = ("--store", copy / "store", "--results", copy / "results", "--runner", "local")
    told = medsweep("run", copy / "micro.yaml", *where, "--wandb", "offline").output.splitlines()
    ran = next(i for i, line in enumerate(told) if line.startswith("ran no trial"))
    headline, heads, *arms, page = told[ran + 1 : ran + 6]
    assert "on Dice (n = 6)" in headline
    assert heads.split() == ["arm", "Dice", "difference", "interval", "verdict"]
    assert [line.split()[0] for line in arms] == ["b-sg", "mc-sg"]
    assert page == f"report: {copy / 'results' / 'report.html'}"
    assert told[ran + 6].startswith("W&B: ")
    assert told[ran + 8] == f"  push: medsweep wandb push {copy / 'micro.yaml'} --store {copy / 'store'}"
    assert told[-1].startswith(f"next: medsweep open {copy / 'micro.yaml'} --results {copy / 'results'}")
    assert max(map(len, [heads, *arms])) <= 80


def long(hours: float) -> SimpleNamespace:
    return SimpleNamespace(
        plan=SimpleNamespace(data_warnings=()),
        notes=(),
        forecast=lambda: SimpleNamespace(hours=sure(hours)),
        price_sentence=lambda: "gan.kimg 5000 decides the price: 99% of the hours",
        run=lambda options: summary(stopped=True),
        has_results=lambda: False,
        folder=lambda results: Path("out"),
    )


@pytest.mark.parametrize(("hours", "words"), [(23.0, ()), (51.2, ()), (51.2, ("--yes",))])
def test_more_than_a_day_of_work_is_not_started_unasked(
    medsweep: Medsweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hours: float, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    starts = hours < 24 or "--yes" in words
    monkeypatch.setattr(session, "open_sweep", lambda *_, **__: long(hours))
    ran = medsweep("run", "x.yaml", "--runner", "local", "--wandb", "disabled", *words)
    assert ran.exit_code == (130 if starts else 2), ran.output
    asked = "this would start 2 d 3 h of work (gan.kimg 5000 decides the price: 99% of the hours); give --yes"
    assert (asked in ran.output) == (not starts)


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_it_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "open_sweep", lambda *_, **__: long(51.2))
    monkeypatch.setattr(sweeps, "_can_ask", lambda: True)
    words = ["run", "x.yaml", "--runner", "local", "--wandb", "disabled"]
    ran = CliRunner().invoke(app, words, input=f"{answer}\n")
    assert "This starts 2 d 3 h of work" in ran.output
    assert ran.exit_code == (130 if answer == "y" else 2), ran.output


def test_a_run_of_a_finished_sweep_shows_its_report_as_it_was_written(copy: Path, medsweep: Medsweep) -> None:
    where = ["--store", copy / "store", "--results", copy / "out"]
    first, second = (
        medsweep("run", copy / "micro.yaml", *where, "--runner", "local", "--wandb", "disabled") for _ in range(2)
    )
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    note = "  as it was written on "
    assert note not in first.output
    (said,) = (line for line in second.output.splitlines() if line.startswith(note))
    assert said.endswith("since nothing has changed; medsweep analyse writes it anew")
    kept = [line for line in second.output.splitlines() if line != said and not line.startswith("ran ")]
    assert kept == [line for line in first.output.splitlines() if not line.startswith("ran ")]
    assert any("mc-sg" in line for line in kept)
