"""A trial runs on one node: what no node can hold is refused, and what finds no place is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.runner_contract import Notebook
from medsweep.errors import UserError
from medsweep.execution.growth import Cluster, NodeType
from medsweep.execution.machine import cpus_here, memory_here
from medsweep.execution.places import LATE_SECONDS, Places, bundle_of, capped, require_places, slots
from medsweep.execution.runner import here
from medsweep.execution.task import Task
from medsweep.sweep.file import Resources

GIB = 2**30
SMALL = {"CPU": 1.0, "memory": 4.0 * GIB}
WIDE = {"CPU": 8.0, "memory": 8.0 * GIB}
FAST = {"CPU": 1.0, "GPU": 2.0, "memory": 8.0 * GIB}


def refused(held: Resources, *nodes: dict[str, float]) -> str:
    with pytest.raises(UserError) as caught:
        require_places({"grow": held}, nodes, "this Ray cluster", "lower it")
    return str(caught.value)


def test_two_small_nodes_are_not_one_large_one() -> None:
    require_places({"grow": Resources(cpus=1)}, [SMALL, SMALL], "this Ray cluster", "lower it")
    told = refused(Resources(cpus=2), SMALL, SMALL)
    assert told == "resources.grow.cpus asks for 2, the largest node of this Ray cluster has 1; lower it"
    assert "memory_gib asks for 6, the largest node of this Ray cluster has 4" in refused(
        Resources(memory_gib=6), SMALL, SMALL
    )


def test_what_two_nodes_have_apart_no_trial_has_together() -> None:
    told = refused(Resources(cpus=4, gpus=1), WIDE, FAST, FAST)
    assert "asks for 4 CPUs, 1 GPU on one node" in told
    assert "1 node of 8 CPUs, 8 GiB and 2 nodes of 1 CPU, 2 GPUs, 8 GiB" in told


def task(digest: str = "d", **held: float) -> Task:
    fields = {"sweep": "s", "stage": "grow", "digest": digest, "config": {}, "inputs": {}}
    made = Task(
        **fields, label="wide arm", hours=1.0, tail_hours=1.0,
    )  # type: ignore[arg-type]  # fmt: skip
    return replace(made, held=Resources.model_validate(held))


def test_slots_are_counted_per_node_and_memory_never_exceeds_the_largest() -> None:
    assert slots({"CPU": 2.0}, [{"CPU": 3.0}] * 4) == 4, "not 12 / 2"
    assert slots({"CPU": 1.0, "GPU": 0.1}, [{"CPU": 64.0, "GPU": 1.0}]) == 10
    assert slots({"CPU": 2.0}, [{"CPU": 1.0}]) == 1, "a larger node may come"
    assert capped(bundle_of(Resources(memory_gib=100)), [SMALL, WIDE])["memory"] == 8 * GIB


def test_as_many_trials_are_asked_for_as_nodes_can_come() -> None:
    growing = Cluster(({"CPU": 0.0},), (NodeType("worker", {"CPU": 2.0}, 3),))
    assert slots({"CPU": 1.0}, growing.most) == 6
    assert slots({"CPU": 1.0}, Cluster(({"CPU": 2.0},)).most) == 2


def test_a_trial_without_a_place_is_named_ever_more_rarely_until_it_has_one() -> None:
    notebook, now = Notebook(), [0.0]
    nodes, coming = [SMALL, SMALL], list[dict[str, float]]()
    places = Places(lambda: nodes, lambda: {"CPU": 1.0}, notebook.note, lambda: now[0], coming)
    places.asked(task(cpus=1))
    for _ in range(41):
        places.look()
        now[0] += LATE_SECONDS / 10
    assert [note.split(":")[0] for note in notebook.notes] == [
        "grow wide arm has waited for a place for 5 minutes",
        "grow wide arm has waited for a place for 10 minutes",
        "grow wide arm has waited for a place for 20 minutes",
    ]
    assert "it holds 1 CPU; there are 2 nodes of 1 CPU, 4 GiB, with 1 CPU free" in notebook.notes[0]
    assert "none of them can hold it" not in notebook.notes[0]
    nodes.clear()
    now[0] = 40 * LATE_SECONDS
    places.look()
    assert notebook.notes[-1].endswith("there are no nodes, with 1 CPU free; none of them can hold it")
    coming.append(WIDE)
    now[0] *= 2
    places.look()
    assert notebook.notes[-1].endswith("none of them can hold it, a node that can come would")
    places.settled("d")
    now[0] *= 100
    places.look()
    assert len(notebook.notes) == 5


def test_the_limits_of_control_groups_hold_here_and_above(tmp_path: Path) -> None:
    own, groups, info = tmp_path / "own", tmp_path / "groups", tmp_path / "meminfo"
    (groups / "slice" / "job").mkdir(parents=True)
    own.write_text("0::/slice/job\n")
    info.write_text("MemTotal:       33554432 kB\n")
    assert cpus_here(groups, own) == cpus_here()
    assert memory_here(groups, own, info) == 32
    (groups / "slice" / "job" / "cpu.max").write_text("max 100000\n")
    (groups / "slice" / "cpu.max").write_text("150000 100000\n")
    (groups / "slice" / "memory.max").write_text(f"{3 * GIB}\n")
    (groups / "slice" / "job" / "memory.max").write_text("max\n")
    assert cpus_here(groups, own) == 1
    assert memory_here(groups, own, info) == 3


def test_a_local_run_refuses_what_this_machine_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3})
    assert here()["CPU"] == 1
    with pytest.raises(UserError, match=r"resources.grow.cpus asks for 2, this machine has 1; lower it"):
        require_places({"grow": Resources(cpus=2)}, [here()], "this machine", "lower it")
