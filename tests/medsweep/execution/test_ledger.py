"""The ledger without any runner: guards, and trials that the machines lost."""

from dataclasses import replace
from pathlib import Path

from helpers.runner_contract import Notebook, plan_of
from medsweep.execution.failures import TRIES
from medsweep.execution.plan_tasks import labels_of, tasks_of
from medsweep.execution.runner import Guard, Ledger, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.store.store import Store
from medsweep.sweep.plan import Decision, Plan


def tasks(plan: Plan, store: Path) -> list[Task]:
    decisions = {digest: Decision("run", "not in the store") for digest in plan.trials}
    return tasks_of(
        plan, decisions, labels_of(plan), closed=set(), context=RunContext(store=store, stages={}), enlarged={}
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Three(Guard):
    """Lets three trials start."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.over: list[str] = []

    def may_start(self, task: Task) -> str | None:
        return "three are enough" if len(self.begun) == 3 else None

    def started(self, task: Task) -> None:
        self.begun.append(task.digest)

    def ended(self, task: Task) -> None:
        self.over.append(task.digest)


def test_a_lost_trial_comes_back_after_a_pause_that_grows_and_closes_nothing(tmp_path: Path) -> None:
    clock, notebook = Clock(), Notebook()
    policy = RunPolicy(clock=clock)
    ledger = Ledger(tasks(plan_of(), tmp_path), Store(tmp_path), notebook, policy)
    first = ledger.start()
    assert first is not None
    pauses = []
    for loss in range(1, TRIES):
        ledger.settle(first)  # nothing was published and no note was left
        assert policy.lost[first.digest] == loss
        assert ledger.start() is None, "everything else waits for it"
        assert not ledger.frontier.live
        begun = clock.now
        while (again := ledger.start()) is None:
            clock.now += 0.05
        assert again == first
        pauses.append(clock.now - begun)
    assert pauses[1] > pauses[0]
    assert ledger.result.outcomes == {}
    ledger.settle(first)
    assert ledger.result.outcomes.pop(first.digest) == "killed"
    assert set(ledger.result.outcomes.values()) == {"blocked"}
    assert [end for end in notebook.ends if end[0] == first.digest] == [(first.digest, "killed")] * TRIES


def test_a_guard_stops_launching_and_what_it_held_back_stays_open(tmp_path: Path) -> None:
    guard = Three()
    ready = [replace(task, inputs={}) for task in tasks(plan_of(), tmp_path)]
    ledger = Ledger(ready, Store(tmp_path), Notebook(), RunPolicy(guard))
    begun = []
    while (task := ledger.start()) is not None:
        begun.append(task)
    assert [task.digest for task in begun] == guard.begun
    assert len(begun) == 3
    assert ledger.result.capped == "three are enough"
    assert ledger.frontier.live == set(guard.begun), "what was refused is not counted as running"
    ledger.settle(begun[0])
    assert guard.over == [begun[0].digest]
    assert ledger.start() is None
