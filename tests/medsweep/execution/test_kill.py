"""Real processes, killed for real: nothing finished is repeated, and the answer is the same byte for byte."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from helpers.micro import WITHOUT_GENERATORS, write_micro

ROOT = Path(__file__).parents[3]
TABLES = ("results.parquet", "results.csv", "pools.parquet", "pools.csv")


def command(sweep: Path, folder: Path, runner: str) -> list[str]:
    where = ["--store", str(folder / "store"), "--results", str(folder / "results")]
    return [sys.executable, "-m", "medsweep", "run", str(sweep), *where, "--runner", runner, "--wandb", "disabled"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}


def await_workers(marker: str) -> None:
    """Wait until no worker that inherited ``marker`` in its environment lives: its last act may be to publish a trial.

    Ray's own agents, which touch no store, live for a minute longer.
    """
    while any(_works(path.parent, marker) for path in Path("/proc").glob("[0-9]*/environ")):
        time.sleep(0.1)


def _works(process: Path, marker: str) -> bool:
    try:
        return (
            marker.encode() in (process / "environ").read_bytes() and b"Agent" not in (process / "cmdline").read_bytes()
        )
    except OSError:
        return False


def published(store: Path) -> dict[str, float]:
    """Time of publication by trial."""
    paths = [path for path in store.glob("*/*/manifest.json") if path.parent.suffix != ".part"]
    return {path.parent.name: path.stat().st_mtime_ns for path in paths}


def kill_after(count: int, words: list[str], store: Path) -> int:
    """Start a run, SIGKILL its driver once ``count`` trials are published; returns how many there are at last."""
    marker = f"MEDSWEEP_TEST_RUN={uuid.uuid4().hex}"
    name, value = marker.split("=")
    said = store.parent / "said"
    said.parent.mkdir(exist_ok=True)
    with said.open("w") as stream:
        process = subprocess.Popen(
            words,
            env={**environment(), name: value},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while len(published(store)) < count:
        assert process.poll() is None, said.read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    await_workers(marker)
    return len(published(store))


@pytest.mark.slow
def test_a_killed_driver_goes_on_and_ends_with_the_same_tables(tmp_path: Path) -> None:
    sweep = write_micro(tmp_path)
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    subprocess.run(command(sweep, calm, "local"), env=environment(), check=True, capture_output=True)

    total = len(published(calm / "store"))
    assert total // 2 <= kill_after(total // 2, command(sweep, rough, "ray"), rough / "store") < total
    kept = published(rough / "store")
    last = subprocess.run(command(sweep, rough, "ray"), env=environment(), check=True, capture_output=True)

    final = published(rough / "store")
    assert kept.items() <= final.items(), "a finished trial was published again"
    assert len(final) == total
    assert f"reused {len(kept)}" in last.stdout.decode()
    assert sorted(final) == sorted(published(calm / "store"))
    for name in TABLES:
        assert (rough / "results" / name).read_bytes() == (calm / "results" / name).read_bytes(), name


def hear_interrupts() -> None:
    """A child of a background job would be born with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path) -> None:
    sweep = write_micro(tmp_path, WITHOUT_GENERATORS, ("steps: 12", "steps: 4000"))
    process = subprocess.Popen(
        command(sweep, tmp_path, "local"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=hear_interrupts,  # noqa: PLW1509
    )
    while not list((tmp_path / "store").glob("segment/*.part/metrics.jsonl")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate()
    assert process.returncode == 130
    assert "to try again:" in told.decode()
    leases = list((tmp_path / "store").glob("*/*.part/lease.json"))
    assert leases == [], [json.loads(path.read_text()) for path in leases]
