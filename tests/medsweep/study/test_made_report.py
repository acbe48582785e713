"""A report that lies there already is shown only where it would be written alike."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import medsweep
from medsweep.execution.driver import Summary
from medsweep.metrics import SCORES
from medsweep.store.store import DamagedError
from medsweep.study import made_report, report
from medsweep.study.made_report import MARK, Announcement, Shown
from medsweep.study.session import open_sweep
from medsweep.tracking.mirror import INDEX, Mirror

NOTHING = Summary(Counter(), Counter(), (), blocked=0, stopped=False, seconds=1.0)
SAID = Announcement(("No arm differs.",), ("arm", "difference"), (("a", "+0.01"),), ())


class Desk:
    """Asks for the report of the finished sweep; what is drawn in it is left out, and each writing counted."""

    def __init__(self, folder: Path) -> None:
        self.sweep, self.store, self.results = folder / "micro.yaml", folder / "store", folder / "out"
        self.written = 0

    def show(self, results: Path | None = None) -> Shown:
        opened = open_sweep(self.sweep, self.store, to="run")
        return opened.report_once(results or self.results, NOTHING, "medsweep run")

    def make(self, _sweep: Any, _plan: Any, _store: Any, _tables: Any, folder: Path, **_: Any) -> tuple[Any, Path]:
        self.written += 1
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / "forest.svg").write_text("<svg/>")
        page = folder / "report.html"
        page.write_text(f"report {self.written}")
        return SimpleNamespace(), page


@pytest.fixture
def desk(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    at = Desk(copy)
    monkeypatch.setattr(report, "make_report", at.make)
    monkeypatch.setattr(made_report, "verdicts_of", lambda _: SAID)
    monkeypatch.setattr("medsweep.study.session.verdicts_of", lambda _: SAID)
    assert (at.show().when, at.written) == ("", 1)
    again = at.show()
    assert (again.verdicts, again.page, at.written) == (SAID, at.results / "report.html", 1)
    assert again.when.endswith(" UTC")
    return at


def _edit(old: str, new: str) -> Callable[[Desk], None]:
    def change(desk: Desk) -> None:
        text = desk.sweep.read_text()
        assert old in text
        desk.sweep.write_text(text.replace(old, new))

    return change


def _lose(name: str) -> Callable[[Desk], None]:
    return lambda desk: (desk.results / name).unlink()


def _scribble(name: str) -> Callable[[Desk], None]:
    return lambda desk: (desk.results / name).write_text("mine")


def _one(desk: Desk, stage: str) -> Path:
    return min(path.parent for path in (desk.store / stage).glob("*/manifest.json"))


def _run_again(desk: Desk) -> None:
    """As after a run of a trial that was lost: the same digest, at another hour."""
    path = _one(desk, "score") / "manifest.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"finished": "20', '"finished": "19'))


CHANGES = {
    "a new seed": _edit("seeds: 1", "seeds: 2"),
    "another margin": _edit("margin: 0.05", "margin: 0.02"),
    "another question": _edit("Does the whole way hold?", "Does it?"),
    "a lost page": _lose("report.html"),
    "a lost table": _lose("results.csv"),
    "a lost picture": _lose("figures/forest.svg"),
    "a table edited by hand": _scribble("results.csv"),
    "a torn mark": _scribble(MARK),
    "a trial that lies elsewhere": lambda desk: shutil.rmtree(_one(desk, "score")),
    "a trial made again": _run_again,
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_is_written_anew_after(desk: Desk, what: str) -> None:
    CHANGES[what](desk)
    assert (desk.show().when, desk.written) == ("", 2)
    assert (desk.results / "report.html").read_text() == "report 2"


def test_it_is_written_anew_once_a_trial_that_failed_is_published(desk: Desk, tmp_path: Path) -> None:
    score = _one(desk, "score")
    away = tmp_path / score.name
    score.rename(away)
    desk.show()
    assert (desk.show().when != "", desk.written) == (True, 2)
    away.rename(score)
    assert (desk.show().when, desk.written) == ("", 3)


@pytest.mark.parametrize("changed", ["version", "code"])
def test_another_version_writes_its_own(desk: Desk, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    if changed == "version":
        monkeypatch.setattr(medsweep, "__version__", "99.0")
    else:
        monkeypatch.setattr(made_report, "SOURCES", (".py", ".css", ".js"))
    made_report._own_code.cache_clear()
    assert (desk.show().when, desk.written) == ("", 2)
    made_report._own_code.cache_clear()


def _mirrored(desk: Desk, kind: str) -> None:
    """As after a run of W&B was written offline: of a trial, or of the report, which comes after the report."""
    folder = Mirror(desk.store, open_sweep(desk.sweep, desk.store, to="read").sweep.name).folder
    (folder / kind).mkdir(parents=True)
    (folder / kind / f"run-{kind}-1.wandb").write_text("")
    entries = json.loads((folder / INDEX).read_text()) if (folder / INDEX).is_file() else {}
    (folder / INDEX).write_text(json.dumps({**entries, f"{kind}-1": {"kind": kind, "folder": kind}}))


def test_the_run_of_the_report_itself_leaves_it_and_runs_of_trials_that_it_links_to_do_not(desk: Desk) -> None:
    _mirrored(desk, "report")
    assert (desk.show().when != "", desk.written) == (True, 1)
    _mirrored(desk, "trial")
    assert (desk.show().when, desk.written) == ("", 2)


def test_each_folder_has_its_own(desk: Desk, tmp_path: Path) -> None:
    assert (desk.show(tmp_path / "other").when, desk.written) == ("", 2)
    assert desk.show(tmp_path / "other").page == tmp_path / "other" / "report.html"
    assert desk.show().page == desk.results / "report.html"
    assert desk.written == 2


def test_one_that_was_interrupted_is_written_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    opened = open_sweep(desk.sweep, desk.store, to="read")
    with monkeypatch.context() as patch:
        patch.setattr(report, "make_report", stop)
        with pytest.raises(KeyboardInterrupt):
            opened.report(desk.results, None, "medsweep analyse")
    assert (desk.show().when, desk.written) == ("", 2)


def test_a_harmed_file_in_the_store_is_told_as_it_was_before_there_was_a_report(desk: Desk) -> None:
    path = _one(desk, "segment") / "output" / "exposure.json"
    path.chmod(0o644)
    path.write_text("{}")
    with pytest.raises(DamagedError, match=r"exposure\.json does not match"):
        desk.show()


def test_analyse_always_writes_anew(desk: Desk) -> None:
    open_sweep(desk.sweep, desk.store, to="read").report(desk.results, None, "medsweep analyse")
    assert desk.written == 2
    desk.show()
    assert desk.written == 2


def test_an_interval_that_leaves_out_0_does_not_read_0() -> None:
    dice = SCORES["dice"]
    assert made_report.digits_for([-0.0156, -0.0002], dice) == dice.digits + 1
    assert made_report.digits_for([-0.0156, 0.0, 0.0042], dice) == dice.digits
