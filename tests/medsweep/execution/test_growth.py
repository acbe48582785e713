"""What a cluster can have counts, not what it has now: nodes are asked for, waited for, and refused by kind."""

import json
from pathlib import Path

import pytest

from helpers.buckets import new_bucket
from helpers.driving import said_by
from helpers.growing_cluster import KINDS, config_of
from helpers.runner_contract import Notebook, results_of
from helpers.toy_run import context_of, long_plan
from medsweep.execution.driver import run_plan
from medsweep.execution.growth import NodeType, node_types
from medsweep.execution.runner import LocalRunner
from medsweep.store.opening import open_store, store_at
from medsweep.store.store import Store


def scaler(folder: Path, config: dict[str, object], address: str = "10.0.0.1:6379") -> Path:
    """A folder like ``/proc`` with the process that scales a cluster."""
    (folder / "cluster.yaml").write_text(json.dumps(config))
    words = ["python", "-u", "/opt/ray/autoscaler/_private/monitor.py", f"--gcs-address={address}"]
    for pid, line in (("1", ["init"]), ("77", [*words, f"--autoscaling-config={folder / 'cluster.yaml'}"])):
        (folder / pid).mkdir()
        (folder / pid / "cmdline").write_bytes("\0".join(line).encode())
    return folder


def test_the_kinds_of_nodes_are_those_that_the_scaler_of_this_cluster_reads(tmp_path: Path) -> None:
    processes = scaler(tmp_path, config_of(KINDS, "10.0.0.1:6379"))
    assert node_types("10.0.0.1:6379", processes)[:2] == (
        NodeType("small", {"CPU": 1}, 1),
        NodeType("wide", {"CPU": 2}, 1),
    )
    assert node_types("10.0.0.2:6379", processes) == ()


def test_kinds_are_unknown_where_one_does_not_say_what_it_has_and_bounded_by_the_cluster(tmp_path: Path) -> None:
    config = config_of({"many": {"resources": {"CPU": 1}, "max_workers": 99}, "off": {"max_workers": 0}}, "")
    (tmp_path / "a").mkdir()
    assert node_types("h:1", scaler(tmp_path / "a", config, "h:1")) == (NodeType("many", {"CPU": 1}, 8),)
    silent = config_of({"many": KINDS["small"], "machine": {"resources": {}, "max_workers": 2}}, "")
    (tmp_path / "b").mkdir()
    assert node_types("h:1", scaler(tmp_path / "b", silent, "h:1")) == ()


@pytest.mark.slow
def test_a_cluster_with_nothing_brings_both_kinds_of_nodes_and_what_cannot_come_is_told(tmp_path: Path) -> None:
    said = said_by("growing_cluster.py", tmp_path)
    assert said["both"]["ok"], said
    assert sorted(said["both"]["nodes"]) == [0, 1, 2]
    assert "no node can hold 1 CPU yet; the cluster is asked for one and has 20 minutes" in said["both"]["notes"][0]
    assert "a node has come after" in said["both"]["notes"][1]
    assert "resources.grow.cpus asks for 5, the largest node of the Ray cluster" in said["none"]["refused"]
    assert said["none"]["notes"] == [], "nothing is asked for that cannot come"
    assert (
        "no node that can hold 1 CPU has come within 0.1 minutes; the cluster has 1 node of"
        in said["broken"]["refused"]
    )
    assert said["broken"]["seconds"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_cluster_that_grows_loses_a_node_and_nothing_else(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store = open_store(tmp_path / "store", "run")
    if kind == "bucket":
        request.getfixturevalue("s3")
        monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
        monkeypatch.setenv("MEDSWEEP_UPLOAD_SECONDS", "0")
        store = open_store(new_bucket(), "run")
    calm = long_plan(tmp_path / "calm", pause=0.0)
    assert run_plan(calm, context_of(tmp_path / "undisturbed"), LocalRunner(), Notebook()).ok
    said = said_by("growing_cluster.py", tmp_path, str(store))
    assert said["failures"] == [], said
    assert len(said["killed"]) == 1, said
    assert "no node can hold 1 CPU yet" in said["notes"][0]
    found = results_of(long_plan(tmp_path / "log", pause=1.0), store_at(store.location))
    assert found == results_of(calm, Store(tmp_path / "undisturbed"))
    steps = (tmp_path / "log").read_text().splitlines()
    assert len(set(steps)) == 4 * 8
    assert len(steps) - len(set(steps)) <= 3, "a checkpoint goes up at most every tenth of the time that it takes"
