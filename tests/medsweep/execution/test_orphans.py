"""A worker that Ray has lost and that holds its trial all the same: told with host and process, and not for ever."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers.runner_contract import Notebook
from helpers.toy_run import context_of, long_plan
from medsweep.execution import driver
from medsweep.execution.driver import run_plan
from medsweep.execution.runner import Ledger, LocalRunner, RoundResult, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.store.lease import LEASE, LeaseHeldError
from medsweep.store.store import Store
from medsweep.tracking.console import Observer

HOLD = """
import sys, time
from pathlib import Path
from medsweep.store.lease import Lease
Path(sys.argv[1]).mkdir(parents=True)
lease = Lease(Path(sys.argv[1]))
sys.stdout.write("held")
sys.stdout.flush()
time.sleep(3600)
"""


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A living process that holds a generator."""
    plan = long_plan(tmp_path / "log", pause=0.0)
    grow = next(digest for digest, trial in plan.trials.items() if trial.stage == "grow")
    part = Store(tmp_path / "store").part("grow", grow)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(part)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == "held"
    yield process
    process.kill()
    process.wait()


class Losing(LocalRunner):
    """Runs what is free, and says of what is held that it was begun here and lost."""

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        store = Store(context.store)
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
    tmp_path: Path, orphan: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ORPHAN_SECONDS", 1.0)
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.1)
    notebook = Notebook()
    summary = run_plan(long_plan(tmp_path / "log", pause=0.0), context_of(tmp_path / "store"), Losing(), notebook)
    (failure,) = summary.failures
    assert failure.outcome == "lease-held"
    host = json.loads(next((tmp_path / "store").glob(f"grow/*/{LEASE}")).read_text())["host"]
    assert failure.message == f"process {orphan.pid} on {host} still holds it, but Ray has lost that worker"
    assert any(f"held by process {orphan.pid} on {host}" in note for note in notebook.notes)
    assert (summary.exit_code, summary.blocked) == (1, 2)
    orphan.kill()
    orphan.wait()
    assert run_plan(
        long_plan(tmp_path / "log", pause=0.0), context_of(tmp_path / "store"), LocalRunner(), Notebook()
    ).ok
