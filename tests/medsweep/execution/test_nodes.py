"""A Ray cluster of several nodes on this host, one of which is killed in the middle of its trials."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from helpers import gpu_toy
from helpers.clusters import cluster_of
from helpers.runner_contract import Notebook, results_of
from helpers.toy_run import context_of, long_plan
from medsweep.execution.driver import run_plan
from medsweep.execution.ray_runner import RayRunner
from medsweep.execution.runner import LocalRunner
from medsweep.store.store import Store

TESTS = Path(__file__).parents[2]


@pytest.fixture
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the toy pipeline and medsweep from here."""
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent), known]))
    if "RAY_AUTH_TOKEN" not in os.environ:  # a Ray that an earlier test started here asks for its token for good
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_a_step_of_its_trials_and_nothing_else(
    tmp_path: Path, on_the_path: None
) -> None:
    calm = long_plan(tmp_path / "calm.log", pause=0.0)
    assert run_plan(calm, context_of(tmp_path / "calm"), LocalRunner(), Notebook()).ok

    log = tmp_path / "log"
    plan = long_plan(log, pause=1.0)
    with cluster_of(num_cpus=1) as cluster:
        doomed, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
        killer = threading.Thread(target=_kill_once_busy, args=(cluster, doomed, log), daemon=True)
        with RayRunner(address=cluster.address) as runner:
            killer.start()
            summary = run_plan(plan, context_of(tmp_path / "store"), runner, Notebook())
    assert summary.ok, [(failure.outcome, failure.message) for failure in summary.failures]
    killer.join(300)
    assert not killer.is_alive(), "the node was never killed"
    assert results_of(plan, Store(tmp_path / "store")) == results_of(calm, Store(tmp_path / "calm"))
    steps = Counter(log.read_text().splitlines())
    assert len(steps) == 4 * 8
    assert steps.total() - len(steps) <= 1, "one trial ran on the node, with a checkpoint after every step"
    assert not list((tmp_path / "store").rglob("lease.json"))
    assert not list((tmp_path / "store").rglob("*.part"))


@pytest.mark.slow
def test_trials_share_gpus_by_what_was_measured_and_processes_are_used_again(tmp_path: Path) -> None:
    paths = [str(TESTS), str(TESTS.parent)]
    told = subprocess.run(
        # a process of its own, since Ray decides once per process whether it asks for tokens
        [sys.executable, str(TESTS / "helpers" / "gpu_cluster.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    rows = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(row["cap"] for row in rows) == {gpu_toy.TOTAL_MIB: 1, gpu_toy.TOTAL_MIB / 4: 12}
    assert len({row["pid"] for row in rows}) <= 1 + 4, "processes are used again, four of them fit at once"


def _kill_once_busy(cluster: object, node: object, log: Path) -> None:
    while not log.exists() or len(log.read_text().splitlines()) < 9:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)  # type: ignore[attr-defined]
