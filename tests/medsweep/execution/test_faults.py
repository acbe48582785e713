"""What a weekend does to a sweep, on the toy pipeline: it ends with the same results, and nothing is done twice."""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from helpers.buckets import new_bucket
from helpers.driving import DRIVER, ENVIRONMENT, ended, start
from helpers.runner_contract import Notebook, results_of
from helpers.toy_run import context_of, long_plan
from medsweep.execution.driver import run_plan
from medsweep.execution.failures import notes
from medsweep.execution.runner import LocalRunner
from medsweep.store import lease
from medsweep.store.lease import LEASE, Lease, LeaseHeldError
from medsweep.store.store import Store

PUBLISHED = {"manifest.json", "metrics.jsonl", "output"}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Results of an undisturbed run."""
    folder = tmp_path_factory.mktemp("calm")
    plan = long_plan(folder / "log", pause=0.0)
    assert run_plan(plan, context_of(folder / "store"), LocalRunner(), Notebook()).ok
    return results_of(plan, Store(folder / "store"))


def steps_in(log: Path) -> Counter[str]:
    """How often each step of each trial was done."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def require_whole(folder: Path, calm: dict[str, float]) -> None:
    """The results are those of an undisturbed run, and no trace of work or of a lease is left."""
    store = Store(folder / "store")
    assert results_of(long_plan(folder / "log"), store) == calm
    for manifest in store.published():
        Store(store.root).verify(manifest.stage, manifest.digest)
        there = {path.name for path in store.folder(manifest.stage, manifest.digest).iterdir()}
        assert there - {LEASE} == PUBLISHED  # a kill right after the rename leaves the lease, which nobody asks
    assert not list(store.root.glob("*/*.part"))
    assert not [path for path in store.root.rglob("*") if path.name.endswith((".tmp", ".stale"))]


def published(store: Path) -> dict[str, int]:
    return {
        path.parent.name: path.stat().st_mtime_ns
        for path in store.glob("*/*/manifest.json")
        if ".part" not in str(path)
    }


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_a_driver_killed_many_times_repeats_a_step_per_kill_at_most(
    tmp_path: Path, calm: dict[str, float], kills: int
) -> None:
    moments, kept = random.Random(5), {}
    for _ in range(kills):
        process = start(tmp_path)
        time.sleep(moments.uniform(0.0, 0.12))
        process.kill()
        process.wait()
        now = published(tmp_path / "store")
        assert kept.items() <= now.items(), "a finished trial was published again"
        kept = now
    assert ended(start(tmp_path))["code"] == 0
    assert kept.items() <= published(tmp_path / "store").items()
    done = steps_in(tmp_path / "log")
    assert len(done) == 4 * 8
    assert done.total() - len(done) <= kills
    require_whole(tmp_path, calm)


def test_two_drivers_share_one_store_without_doing_anything_twice(tmp_path: Path, calm: dict[str, float]) -> None:
    pair = [start(tmp_path), start(tmp_path)]
    assert [ended(process)["code"] for process in pair] == [0, 0]
    assert set(steps_in(tmp_path / "log").values()) == {1}
    require_whole(tmp_path, calm)


def test_a_trial_that_hangs_is_named_with_its_stack_and_tried_again(tmp_path: Path) -> None:
    plan, notebook = long_plan(tmp_path / "log", pause=0.0, fail="hang"), Notebook()
    summary = run_plan(plan, context_of(tmp_path / "store", stall_minutes=0.1), LocalRunner(), notebook)
    assert summary.ok
    stalled = [digest for digest, outcome in notebook.ends if outcome == "stalled"]
    assert len(stalled) == 1
    (note,) = notes(Store(tmp_path / "store"), "grow", stalled[0])
    assert (note.outcome, note.message) == ("stalled", "no report for 0.1 minutes")
    assert "toy.py" in note.traceback
    assert set(steps_in(tmp_path / "log").values()) == {1}


def stop_early(tmp_path: Path) -> Path:
    """The working folder of a generator that was stopped after its fifth step."""

    class Impatient(Notebook):
        def progressed(self, digest: str, step: int, total: int) -> None:
            if step == 6:
                raise KeyboardInterrupt

    assert run_plan(
        long_plan(tmp_path / "log", pause=0.0), context_of(tmp_path / "store"), LocalRunner(), Impatient()
    ).stopped
    (part,) = (tmp_path / "store").glob("grow/*.part")
    return part


@pytest.mark.parametrize("what", ["nothing", "checkpoint", "metrics", "manifest"])
def test_torn_and_flipped_files_cost_work_and_no_result(tmp_path: Path, calm: dict[str, float], what: str) -> None:
    part = stop_early(tmp_path)
    if what == "checkpoint":
        (part / "checkpoints" / "5" / "value.json").write_text("9999.0")
    elif what == "metrics":
        (part / "metrics.jsonl").write_text('{"step": 1, "to\n{"step": 2, "total": 8}\n')
    elif what == "manifest":
        (part / "manifest.json").write_text('{"files": {}, "format"')
    assert run_plan(
        long_plan(tmp_path / "log", pause=0.0), context_of(tmp_path / "store"), LocalRunner(), Notebook()
    ).ok
    done = steps_in(tmp_path / "log")
    assert done.total() - len(done) == (6 if what in ("checkpoint", "metrics") else 1)
    require_whole(tmp_path, calm)


def test_a_worker_that_died_on_the_last_rename_has_nothing_left_to_do(tmp_path: Path) -> None:
    plan = long_plan(tmp_path / "log", pause=0.0)
    context = context_of(tmp_path / "store")
    assert run_plan(plan, context, LocalRunner(), Notebook()).ok
    grow = next(path for path in (tmp_path / "store" / "grow").iterdir())
    grow.rename(grow.with_name(f"{grow.name}.part"))
    (grow.with_name(f"{grow.name}.part") / "checkpoints").mkdir()
    for measured in (tmp_path / "store" / "measure").iterdir():
        shutil.rmtree(measured)
    for pool in (tmp_path / "store" / "pool").iterdir():
        shutil.rmtree(pool)
    assert run_plan(plan, context, LocalRunner(), Notebook()).ok
    assert set(steps_in(tmp_path / "log").values()) == {1}
    assert not (grow / "checkpoints").exists()


def foreign_lease(part: Path, age: float) -> Path:
    """A lease of a host that is not this one, whose heartbeat is ``age`` seconds old."""
    part.mkdir(parents=True, exist_ok=True)
    (part / LEASE).write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 1, "token": "other"}))
    beat = time.time() - age
    os.utime(part / LEASE, (beat, beat))
    return part / LEASE


@pytest.mark.parametrize("age", [3600.0, -3600.0])
def test_the_lease_of_a_dead_host_is_taken_over_whatever_its_clock_said(
    tmp_path: Path, calm: dict[str, float], monkeypatch: pytest.MonkeyPatch, age: float
) -> None:
    monkeypatch.setattr(lease, "WATCH_SECONDS", 0.1)
    plan = long_plan(tmp_path / "log", pause=0.0)
    grow = next(digest for digest, trial in plan.trials.items() if trial.stage == "grow")
    foreign_lease(tmp_path / "store" / "grow" / f"{grow}.part", age)
    assert run_plan(plan, context_of(tmp_path / "store"), LocalRunner(), Notebook()).ok
    require_whole(tmp_path, calm)


def test_a_living_worker_whose_clock_is_wrong_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "WATCH_SECONDS", 600.0)
    path, over = foreign_lease(tmp_path, 7200.0), threading.Event()
    wrong = path.stat().st_mtime

    def beat() -> None:
        for number in itertools.count(1):
            os.utime(path, (wrong + number, wrong + number))
            if over.wait(0.05):
                return

    worker = threading.Thread(target=beat)
    worker.start()
    with pytest.raises(LeaseHeldError):
        Lease(tmp_path)
    over.set()
    worker.join()
    assert json.loads(path.read_text())["host"] == "elsewhere"


FULL = """\
set -e
mount -t tmpfs -o size=2m none "$1"
dd if=/dev/zero of="$1/filler" bs=4k count=500 2>/dev/null
"$2" "$3" "$5" "$4" local pause=0 || true
rm "$1/filler"
mount -o remount,ro "$1"
"$2" "$3" "$5" "$4" local pause=0 || true
mount -o remount,rw "$1"
"$2" "$3" "$5" "$4" local pause=0 || true
"""


def _fails(words: list[str]) -> bool:
    return subprocess.run(words, check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize("kind", ["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def test_a_full_and_then_a_read_only_disk_are_named_and_cost_nothing_finished(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    namespace = ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or _fails([*namespace, "true"]):
        pytest.skip("no user namespaces here, so no small disk to fill")
    disk, variables = tmp_path / "disk", {}
    disk.mkdir()
    store = str(disk / "store")
    if kind == "bucket":  # then the disk that is full is the one on which its trials work
        variables = {**request.getfixturevalue("s3"), "MEDSWEEP_WORK": str(disk)}
        store = str(new_bucket())
    words = [*namespace, "sh", "-c", FULL, "sh", str(disk), sys.executable, str(DRIVER), str(tmp_path / "log"), store]
    told = subprocess.run(words, env={**ENVIRONMENT, **variables}, check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    full, *locked, free = rows
    assert (full["code"], set(full["outcomes"])) == (1, {"disk-full"}), told.stderr
    assert free["code"] == 0
    if kind == "folder":
        assert [(row["code"], set(row["outcomes"])) for row in locked] == [(1, {"read-only"})]
    else:
        assert locked == []
        assert "cannot be written (Read-only file system); set MEDSWEEP_WORK" in told.stderr
