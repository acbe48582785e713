"""A worker that Ray has lost and that holds its trial all the same: told with host and process, and not for ever."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers.buckets import new_bucket
from helpers.runner_contract import Notebook
from helpers.toy_run import context_of, long_plan
from medsweep.execution import driver
from medsweep.execution.driver import run_plan
from medsweep.execution.runner import Ledger, LocalRunner, RoundResult, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.store.lease import LeaseHeldError
from medsweep.store.opening import open_store, store_at
from medsweep.store.store import Store
from medsweep.tracking.console import Observer

HOLD = """
import sys, time
from medsweep.store.location import location
from medsweep.store.opening import store_at
from medsweep.store.workspace import Workspace
with Workspace(store_at(location(sys.argv[1])), "grow", sys.argv[2]):
    sys.stdout.write("held")
    sys.stdout.flush()
    time.sleep(3600)
"""


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return open_store(tmp_path / "store", "run")
    request.getfixturevalue("s3")
    monkeypatch.setenv("MEDSWEEP_WORK", str(tmp_path / "here"))
    return open_store(new_bucket(), "run")


@pytest.fixture
def orphan(tmp_path: Path, store: Store) -> Iterator[subprocess.Popen[str]]:
    """A living process that holds a generator."""
    plan = long_plan(tmp_path / "log", pause=0.0)
    grow = next(digest for digest, trial in plan.trials.items() if trial.stage == "grow")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store), grow], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == "held"
    yield process
    process.kill()
    process.wait()


class Losing(LocalRunner):
    """Runs what is free, and says of what is held that it was begun here and lost."""

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        store = store_at(context.store)
        held = [task for task in tasks if store.leased(task.stage, task.digest)]
        result = super().run(tasks, context, observer, policy)
        ledger = Ledger(held, store, observer, policy)
        for task in held:
            ledger.frontier.live.add(task.digest)
            ledger._notes_before[task.digest] = 0
            ledger.settle(task)
            result.messages |= ledger.result.messages
        result.orphans |= ledger.result.orphans
        return result


class Beaten(LocalRunner):
    """Finds that another driver is at the first trials, which publishes all of them in the meantime."""

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        super().run(tasks, context, Observer(), RunPolicy())
        ledger = Ledger(tasks, Store(context.store), observer, policy)
        first = next(task for task in tasks if task.stage == "grow")
        ledger._published = lambda task: None  # type: ignore[method-assign]
        ledger.heard(first.digest, LeaseHeldError.outcome, "held by another")
        ledger.settle(first)
        return ledger.result


def test_what_another_driver_has_made_has_not_failed(tmp_path: Path) -> None:
    notebook = Notebook()
    plan = long_plan(tmp_path / "log", pause=0.0)
    assert run_plan(plan, context_of(tmp_path / "store"), Beaten(), notebook).ok
    assert dict(notebook.ends) == dict.fromkeys(plan.trials, "complete")
    assert {outcome for _, outcome in notebook.ends} == {"lease-held", "complete"}


def test_it_is_named_and_given_up_and_the_rest_goes_on(
    tmp_path: Path, store: Store, orphan: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ORPHAN_SECONDS", 1.0)
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.1)
    notebook, plan, context = Notebook(), long_plan(tmp_path / "log", pause=0.0), context_of(store.location)
    summary = run_plan(plan, context, Losing(), notebook)
    (failure,) = summary.failures
    assert failure.outcome == "lease-held"
    host = socket.gethostname()
    assert failure.message == f"process {orphan.pid} on {host} still holds it, but Ray has lost that worker"
    assert any(f"held by process {orphan.pid} on {host}" in note for note in notebook.notes)
    assert (summary.exit_code, summary.blocked) == (1, 2)
    orphan.kill()
    orphan.wait()
    assert run_plan(plan, context, LocalRunner(), Notebook()).ok
