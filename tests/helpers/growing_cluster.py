"""A cluster on this host that an autoscaler of Ray's own makes larger; called as ``growing_cluster.py FOLDER [STORE]``.

It prints one JSON document about three runs: one that needs nodes of two kinds, one that no kind can hold, and one
whose kind cannot be started. With a store it is about one run, in which a node is killed; if that store is a bucket,
every node works in a folder of its own.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from helpers.clusters import cluster_of
from helpers.runner_contract import Notebook
from helpers.toy_run import context_of, long_plan
from medsweep.errors import UserError
from medsweep.execution.driver import run_plan
from medsweep.execution.growth import living_nodes
from medsweep.execution.ray_runner import RayRunner
from medsweep.store.lease import LEASE
from medsweep.store.location import location

KINDS = {
    "small": {"resources": {"CPU": 1}, "max_workers": 1},
    "wide": {"resources": {"CPU": 2}, "max_workers": 1},
    # The provider that is made up fails to start a node that states its memory.
    "broken": {"resources": {"CPU": 4, "memory": 2**30}, "max_workers": 1},
}
HEAD = "ray.head.default"
"""The kind of the head by the name that the provider gives it; of another it would start ever more."""
RAYLET = "RAY_RAYLET_PID"
"""Environment variable that the workers of a node share, and the driver has not."""


def config_of(kinds: dict[str, dict[str, Any]], address: str) -> dict[str, Any]:
    """What ``ray up`` leaves on the head, with a provider whose nodes are processes of this host."""
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    lists = (
        "cluster_synced_files initialization_commands setup_commands head_setup_commands worker_setup_commands "
        "head_start_ray_commands worker_start_ray_commands"
    )
    return {
        "cluster_name": "made-up",
        "max_workers": 8,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            HEAD: head,
            **{name: {"node_config": {}, "min_workers": 0, **kind} for name, kind in kinds.items()},
        },
        "head_node_type": HEAD,
        "auth": {},
        "file_mounts": {},
        **{name: [] for name in lists.split()},
    }


@contextmanager
def growing_cluster(folder: Path, kinds: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Address of a cluster with a head that runs no trial, and with workers that come as they are needed."""
    import ray
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    os.environ |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    path = folder / "cluster.yaml"
    path.write_text(json.dumps(config_of(kinds, f"{ray.util.get_node_ip_address()}:{port}")))
    args = {"num_cpus": 0, "gcs_server_port": port, "autoscaling_config": str(path)}
    with cluster_of(**args, env_vars={"RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}) as cluster:
        yield cluster.address


def told(runner: RayRunner, folder: Path, **held: float) -> dict[str, Any]:
    """What a run of the toy sweep said, with how many nodes live at its end."""
    notebook, since = Notebook(), time.monotonic()
    plan = long_plan(folder / "log", pause=0.3, steps=4)
    try:
        summary = run_plan(plan, context_of(folder / "store", **held), runner, notebook)
    except UserError as error:
        return {"refused": str(error), "notes": notebook.notes, "seconds": time.monotonic() - since}
    return {"ok": summary.ok, "notes": notebook.notes, "nodes": [node.get("CPU", 0) for node in living_nodes()]}


def parents() -> list[tuple[int, int]]:
    """Every process with its parent."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found.append((int(path.parent.name), int(path.read_text(errors="replace").rsplit(")", 1)[1].split()[1])))
    return found


def kill_a_busy_node(folder: Path, killed: list[int]) -> None:
    """SIGKILL to the raylet and all workers of a node one of whose trials has made a checkpoint."""
    while not killed:
        time.sleep(0.1)
        with suppress(OSError, ValueError, StopIteration):
            parts = [path for path in folder.glob("**/grow/*.part") if any(path.glob("checkpoints/*"))]
            worker = json.loads((next(iter(parts)) / LEASE).read_text())["pid"]
            variables = Path(f"/proc/{worker}/environ").read_bytes().decode().split("\0")
            raylet = next(int(each.partition("=")[2]) for each in variables if each.startswith(f"{RAYLET}="))
            # Nobody reaps the raylet here, so that its workers would take it for alive.
            for process in (*(pid for pid, parent in parents() if parent == raylet), raylet):
                os.kill(process, signal.SIGKILL)
            killed.append(raylet)


def loses_a_node(folder: Path, store: str) -> None:
    """A sweep on nodes that come, one of which is killed; with a bucket they share no disk."""
    notebook, killed = Notebook(), list[int]()
    os.environ["MEDSWEEP_WORK"] = f"{folder}/nodes/${{{RAYLET}}}"
    plan = long_plan(folder / "log", pause=1.0)
    with growing_cluster(folder, {"small": {"resources": {"CPU": 1}, "max_workers": 2}}) as address:
        killer = threading.Thread(target=kill_a_busy_node, args=(folder, killed), daemon=True)
        with RayRunner(address, wait_minutes=20.0) as runner:
            killer.start()
            summary = run_plan(plan, context_of(location(store)), runner, notebook)
    failures = [(failure.outcome, failure.message) for failure in summary.failures]
    sys.stdout.write(json.dumps({"failures": failures, "killed": killed, "notes": notebook.notes}))


def main(folder: Path) -> None:
    """See above."""
    with growing_cluster(folder, KINDS) as address, RayRunner(address, wait_minutes=20.0) as runner:
        said = {"both": told(runner, folder / "both", cpus=2), "none": told(runner, folder / "none", cpus=5)}
    with (
        growing_cluster(folder, {"broken": KINDS["broken"]}) as address,
        RayRunner(address, wait_minutes=0.1) as runner,
    ):
        said["broken"] = told(runner, folder / "broken", cpus=2)
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__" and len(sys.argv) > 2:
    loses_a_node(Path(sys.argv[1]), sys.argv[2])
elif __name__ == "__main__":
    for name in ("both", "none", "broken"):
        (Path(sys.argv[1]) / name).mkdir()
    main(Path(sys.argv[1]))
