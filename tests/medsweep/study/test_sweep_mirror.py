"""W&B is told nothing anew where nothing has changed that its runs are made from, and all of it where something has."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from medsweep.study import made_report, sweep_mirror
from medsweep.study.session import open_sweep
from medsweep.tracking import mirror as mirrors
from medsweep.tracking.mirror import INDEX, MARK, Mirror
from medsweep.tracking.mirrored_run import MirroredRun


@dataclass
class Desk:
    """A finished sweep whose runs are written as empty files; it counts how often the store is told of them."""

    folder: Path
    told: int = 0
    written: list[str] = field(default_factory=list)

    @property
    def sweep(self) -> Path:
        return self.folder / "micro.yaml"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def mirror(self) -> Path:
        return Mirror(self.store, "micro").folder

    @property
    def results(self) -> Path:
        return self.folder / "out"

    def look(self, *, report: bool = True) -> tuple[int, int, int]:
        """How often it told of all trials, the runs it wrote, and those that are there."""
        told, written = self.told, len(self.written)
        opened = open_sweep(self.sweep, self.store, to="run")
        built = opened.mirror(self.results if report else None)
        assert built.failed == {}
        return self.told - told, len(self.written) - written, len(built.runs)


@pytest.fixture
def desk(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    at = Desk(copy)
    tell = sweep_mirror.mirrored_runs

    def counted(*known: Any) -> Any:
        at.told += 1
        return tell(*known)

    def write(run: MirroredRun, folder: Path) -> None:
        at.written.append(run.run_id)
        path = folder / "wandb" / f"offline-run-1-{run.run_id}" / f"run-{run.run_id}.wandb"
        path.parent.mkdir(parents=True)
        path.write_text("")

    monkeypatch.setattr(sweep_mirror, "mirrored_runs", counted)
    monkeypatch.setattr(mirrors, "write_run", write)
    monkeypatch.setattr(mirrors, "is_whole", lambda _: True)
    monkeypatch.setattr(mirrors, "offline_client", lambda _: nullcontext(lambda: None))
    shutil.rmtree(at.mirror, ignore_errors=True)
    at.results.mkdir()
    (at.results / "report.html").write_text('<p class="headline">No arm differs.</p>')
    told, written, there = at.look()
    assert told == 1
    assert written == there > 5
    assert at.look() == (0, 0, there)
    assert at.look(report=False) == (0, 0, there)
    return at


def _one(desk: Desk, stage: str) -> Path:
    return min(path.parent for path in (desk.store / stage).glob("*/manifest.json"))


def _made_again(desk: Desk) -> None:
    path = _one(desk, "score") / "manifest.json"
    path.chmod(0o644)
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"seconds": manifest["seconds"] + 60}))


def _edit(old: str, new: str) -> Callable[[Desk], None]:
    def change(desk: Desk) -> None:
        text = desk.sweep.read_text()
        assert old in text
        desk.sweep.write_text(text.replace(old, new))

    return change


def _lose_run(desk: Desk) -> None:
    shutil.rmtree(next(desk.mirror.glob("offline-run-*score*")))


def _scribble(desk: Desk) -> None:
    entries = json.loads((desk.mirror / INDEX).read_text())
    name = next(name for name in entries if name.startswith("score"))
    (desk.mirror / INDEX).write_text(json.dumps(entries | {name: entries[name] | {"fingerprint": "other"}}))


def _table(desk: Desk) -> None:
    (desk.results / "tables").mkdir()
    (desk.results / "tables" / "effects.csv").write_text("arm,difference\na,0.01\n")


CHANGES: dict[str, tuple[Callable[[Desk], None], int]] = {
    "a trial made again": (_made_again, 2),  # its hours stand in the run of the sweep, too
    "a run that is gone": (_lose_run, 1),
    "a run that another version wrote": (_scribble, 1),
    "a torn mark": (lambda desk: (desk.mirror / MARK).write_text("{"), 0),
    "another headline": (lambda desk: (desk.results / "report.html").write_text('<p class="headline">One.</p>'), 1),
    "a new table": (_table, 1),
    "reports at other steps, which no digest holds": (_edit("report_every_steps: 4", "report_every_steps: 5"), -1),
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_is_told_anew_after(desk: Desk, what: str) -> None:
    change, runs = CHANGES[what]
    change(desk)
    told, written, there = desk.look()
    assert told == 1
    assert written == runs if runs >= 0 else written > 1
    assert desk.look() == (0, 0, there)


def test_a_trial_that_is_lost_takes_its_run_along(desk: Desk) -> None:
    before = desk.look()[2]
    shutil.rmtree(_one(desk, "score"))
    assert desk.look()[2] == before - 1


def test_another_version_tells_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_report, "SOURCES", (".py", ".css", ".js"))
    made_report._own_code.cache_clear()
    assert desk.look()[:2] == (1, 0)
    made_report._own_code.cache_clear()


def test_a_build_that_was_cut_off_is_not_taken_for_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    _lose_run(desk)
    with monkeypatch.context() as patch:
        patch.setattr(mirrors, "write_run", stop)
        with pytest.raises(KeyboardInterrupt):
            desk.look()
    assert desk.look()[:2] == (1, 1)
