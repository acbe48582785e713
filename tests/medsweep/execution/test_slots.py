"""Processes are handed one trial after another, and make room where something more urgent needs what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.runner_contract import Notebook
from medsweep.execution.places import Node, Places, slots
from medsweep.execution.runner import Ledger, RunPolicy
from medsweep.execution.slots import LINGER_SECONDS, Slots
from medsweep.execution.task import Task
from medsweep.store.store import Store
from medsweep.sweep.file import Resources


class Published(Store):
    """A store in which whatever has ended is published."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lost: set[str] = set()

    def has(self, stage: str, digest: str) -> bool:
        return digest not in self.lost

    def manifest(self, stage: str, digest: str) -> Any:
        return SimpleNamespace(outcome="complete", message="")


def task(digest: str, *parents: str, tail: float = 1.0, stage: str = "grow", **held: Any) -> Task:
    return Task(
        sweep="s", stage=stage, digest=digest, config={}, inputs={f"in{i}": parent for i, parent in enumerate(parents)},
        label=digest, hours=1.0, tail_hours=tail, held=Resources.model_validate(held),
    )  # fmt: skip


@dataclass
class Hall:
    """Slots over nodes that exist in numbers alone."""

    root: Path
    tasks: Sequence[Task]
    nodes: dict[str, Node]
    now: float = 0.0
    notebook: Notebook = field(default_factory=Notebook)

    def __post_init__(self) -> None:
        self.store = Published(self.root)
        policy = RunPolicy(clock=lambda: self.now)
        self.ledger = Ledger(self.tasks, self.store, self.notebook, policy)
        places = Places(lambda: [*self.nodes.values()], dict, self.notebook.note, policy.clock)
        self.slots = Slots(
            self.ledger, places, dict, lambda bundle: slots(bundle, [*self.nodes.values()]), lambda: self.nodes,
            policy.clock,
        )  # fmt: skip

    def free(self, name: str, node: str = "n1") -> str | None:
        given = self.slots.is_free(name, node)
        return None if given is None else given.digest


def test_one_process_runs_trials_of_unlike_stages_that_hold_the_same(tmp_path: Path) -> None:
    chain = [task("a"), task("b", "a", stage="pool"), task("c", "b", stage="measure")]
    hall = Hall(tmp_path, chain, {"n1": {"CPU": 1.0}})
    assert hall.slots.ask("p") == {"CPU": 1.0}
    assert hall.slots.ask("q") is None, "nothing else can start"
    assert [hall.free("p") for _ in range(3)] == ["a", "b", "c"]
    assert hall.free("p") is None
    assert not hall.slots.may_stay("p"), "nothing can come any more"
    hall.slots.ended("p")
    assert hall.notebook.begun == ["a", "b", "c"]
    assert hall.ledger.frontier.settled == dict.fromkeys("abc", "complete")


def test_as_many_processes_are_asked_for_as_can_come_and_none_where_one_is_idle(tmp_path: Path) -> None:
    many = [task("root", tail=9.0), *(task(f"t{number}", "root") for number in range(9))]
    hall = Hall(tmp_path, many, {"n1": {"CPU": 2.0}})
    assert hall.slots.ask("p") is not None
    assert hall.free("p") == "root"
    assert hall.slots.ask("q") is None
    hall.ledger.frontier.add([task("x", tail=0.5)])
    assert hall.slots.ask("q") is not None
    assert hall.free("q", "n1") == "x"
    assert hall.free("q") is None
    assert hall.slots.may_stay("q"), "root may make more ready in moments"
    hall.ledger.frontier.add([task("y", tail=0.5)])
    assert hall.slots.ask("r") is None, "q is idle and takes it"
    assert hall.free("q") == "y"
    assert hall.free("q") is None
    hall.now += LINGER_SECONDS
    assert not hall.slots.may_stay("q")
    assert hall.free("p") == "t0"


def test_what_a_process_that_is_not_there_yet_was_asked_for_goes_first_and_it_gets_another(tmp_path: Path) -> None:
    hall = Hall(tmp_path, [task("a", tail=3.0), task("b", tail=2.0), task("c", tail=1.0)], {"n1": {"CPU": 1.0}})
    assert hall.slots.ask("p")
    assert hall.free("p") == "a"
    assert hall.slots.ask("q")
    assert hall.slots.ask("r") is None, "one node of one CPU"
    assert hall.free("p") == "b"
    assert hall.free("p") is None
    assert not hall.slots.may_stay("p"), "its process goes on as q"
    hall.slots.ended("p")
    assert hall.free("q") == "c"


@pytest.mark.parametrize(
    ("wide", "gives_way"),
    [({"cpus": 2}, True), ({"cpus": 1, "gpus": 1.0}, False), ({"cpus": 2, "gpus": 1.0}, False), ({"cpus": 8}, False)],
)
def test_a_process_makes_room_for_what_is_more_urgent_and_lacks_only_what_it_holds(
    tmp_path: Path, wide: dict[str, Any], gives_way: bool
) -> None:
    first = [task("g", tail=4.0, gpus=1.0), *(task(f"n{number}") for number in range(4))]
    hall = Hall(tmp_path, first, {"n1": {"CPU": 3.0, "GPU": 1.0}, "n2": {}})
    for name, digest in (("o", "g"), ("p", "n0"), ("q", "n1")):
        assert hall.slots.ask(name)
        assert hall.free(name) == digest
    hall.ledger.frontier.add([task("wide", tail=5.0, **wide)])
    assert (hall.free("p") is None) is gives_way
    assert hall.slots.may_stay("p") is not gives_way


def test_a_process_keeps_its_place_from_what_is_less_urgent_or_has_room(tmp_path: Path) -> None:
    narrow = [task(f"n{number}", tail=2.0) for number in range(4)]
    hall = Hall(tmp_path, narrow, {"n1": {"CPU": 1.0}, "n2": {"CPU": 1.0, "GPU": 1.0}})
    assert hall.slots.ask("p")
    assert hall.free("p") == "n0"
    hall.ledger.frontier.add([task("late", tail=1.0, cpus=1, memory_gib=1.0), task("roomy", tail=9.0, gpus=1.0)])
    assert hall.slots.ask("q") == {"CPU": 1.0, "GPU": 1.0}
    assert hall.free("p") == "n1"


def test_a_lost_process_takes_its_trial_down_and_a_drained_one_takes_it_up_again(tmp_path: Path) -> None:
    hall = Hall(tmp_path, [task("a"), task("b")], {"n1": {"CPU": 2.0}})
    for name in "pq":
        assert hall.slots.ask(name)
    assert (hall.free("p"), hall.free("q")) == ("a", "b")
    hall.slots.comes_again("q")
    assert hall.free("q") == "b", "not taken for its end"
    hall.store.lost.add("a")
    hall.ledger.lost("a", "killed", "the worker died: so it is")
    hall.slots.ended("p")
    assert hall.notebook.ends == [("a", "killed")]
    assert hall.free("q") is None, "a rests before it is tried again"
    hall.now += 60.0
    assert hall.free("q") == "a"
