"""A search whose suggestions run side by side in Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.micro import write_micro
from helpers.searching import MICRO, opened
from medsweep.store.store import Store

TREE = Path(__file__).parents[3]
BESIDE = ("  batch: 2\n", "  at_once: 2\n")


@pytest.mark.slow
def test_suggestions_join_a_run_under_ray_and_the_next_run_finds_all_of_them(tmp_path: Path) -> None:
    path, folder = write_micro(tmp_path, *MICRO, BESIDE), tmp_path / "store"
    words = [sys.executable, "-m", "medsweep", "run", str(path), "--store", str(folder), "--cpus", "2"]
    words += ["--results", str(tmp_path / "results"), "--wandb", "disabled"]
    environment = os.environ | {"PYTHONPATH": str(TREE)}
    first = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    state = opened(path, Store(folder), writes=False).forward()
    assert [result.outcome for result in state.results] == ["complete"] * 4
    events = sorted((folder / "search" / "micro").glob("*.json"))
    kinds = [json.loads(event.read_text())["kind"] for event in events]
    told = [place for place, kind in enumerate(kinds) if kind == "told"]
    assert kinds.count("asked") >= 3, "two at once, and one more after each end"
    assert kinds.index("asked", told[1]) < told[-1], "asked while others were still open"
    again = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(sorted((folder / "search" / "micro").glob("*.json"))) == len(events)
    assert not list(folder.rglob("lease.json"))
