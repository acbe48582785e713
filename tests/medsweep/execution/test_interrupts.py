"""Signals stop a run cleanly; a second one lets it clean up, except for Ctrl-C."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.driving import ENVIRONMENT, ended, hear_interrupts, start
from medsweep.store.lease import LEASE, is_live
from medsweep.store.store import Store


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_stop_cleanly_and_leave_no_lease(tmp_path: Path, number: int) -> None:
    process = start(tmp_path, "pause=0.5")
    while not (tmp_path / "log").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    assert ended(process)["code"] == 130
    assert not list((tmp_path / "store").glob(f"*/*/{LEASE}"))


TWICE = """
import os, signal, sys, time
from medsweep.stop_signals import stop_signals
with stop_signals():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)
    except KeyboardInterrupt:
        sys.stdout.write("stopping")
        sys.stdout.flush()
    os.kill(os.getpid(), int(sys.argv[1]))
    sys.stdout.write(", still stopping")
"""
"""A run that is told to stop and is told again while it cleans up."""


@pytest.mark.parametrize(
    ("second", "code", "told"),
    [(signal.SIGINT, -signal.SIGINT, "stopping"), (signal.SIGTERM, 0, "stopping, still stopping")],
)
def test_a_second_ctrl_c_ends_at_once_and_a_second_sigterm_lets_it_clean_up(second: int, code: int, told: str) -> None:
    words = [sys.executable, "-c", TWICE, str(int(second))]
    process = subprocess.run(
        words,
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=hear_interrupts,
    )
    assert (process.returncode, process.stdout) == (code, told)


@pytest.mark.slow
def test_a_stop_in_the_middle_of_a_long_step_kills_its_process_and_gives_130(tmp_path: Path) -> None:
    process = start(tmp_path, "pause=600", runner="ray")
    while not list((tmp_path / "store").glob(f"grow/*.part/{LEASE}")) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert ended(process)["code"] == 130
    assert process.returncode == 130
    store = Store(tmp_path / "store")
    assert not [path for path in store.root.glob("grow/*.part") if is_live(path)]
