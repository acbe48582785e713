"""Whenever a signal comes, a run ends with 130 and leaves nothing behind: no process, no lease, no half-made Ray."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.driving import hear_interrupts, processes_of
from helpers.micro import WITHOUT_GENERATORS, write_micro

ROOT = Path(__file__).parents[3]


def hears_sigterm(pid: int, _marker: str, _store: Path) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def has_imported_ray(pid: int, _marker: str, _store: Path) -> bool:
    return "_raylet.so" in Path(f"/proc/{pid}/maps").read_text()


def has_begun(program: str) -> Callable[[int, str, Path], bool]:
    return lambda _pid, marker, _store: any(program in line for line in processes_of(marker).values())


def trains(_pid: int, _marker: str, store: Path) -> bool:
    return bool(list(store.glob("segment/*.part/metrics.jsonl")))


MOMENTS: dict[str, Callable[[int, str, Path], bool]] = {
    "at its first line": hears_sigterm,
    "when Ray is imported": has_imported_ray,
    "when Ray's first process begins": has_begun("gcs_server"),
    "when Ray's node begins": has_begun("raylet/raylet"),
    "when the first worker begins": has_begun("default_worker.py"),
    "when a trial trains": trains,
}


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("at its first line", signal.SIGTERM),
        pytest.param("when Ray is imported", signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param("when Ray's first process begins", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("when Ray's first process begins", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("when Ray's node begins", signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param("when Ray's node begins", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("when the first worker begins", signal.SIGTERM, marks=pytest.mark.slow),
        ("when a trial trains", signal.SIGHUP),
        pytest.param("when a trial trains", signal.SIGUSR1, marks=pytest.mark.slow),
    ],
)
def test_a_signal_at_any_moment_gives_130_and_leaves_nothing_behind(tmp_path: Path, moment: str, number: int) -> None:
    sweep = write_micro(tmp_path, WITHOUT_GENERATORS, ("steps: 12", "steps: 4000"))
    store, marker = tmp_path / "store", uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "medsweep", "run", str(sweep), "--store", str(store), "--wandb", "disabled"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "MEDSWEEP_TEST_RUN": marker},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,  # noqa: PLW1509
    )
    while not MOMENTS[moment](process.pid, marker, store):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    told, _ = process.communicate()
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("medsweep: stopped") or "to try again:" in told
    assert processes_of(marker) == {}
    assert not list(store.glob("*/*/lease.json"))
    assert bool(list(store.glob("segment/*.part"))) == (moment == "when a trial trains")
