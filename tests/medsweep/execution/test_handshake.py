"""A node that does not see the run's store says so once, by its name, and the run ends with what to do."""

import subprocess
import threading
from pathlib import Path

import pytest

from helpers.driving import said_by
from helpers.runner_contract import Notebook, plan_of
from medsweep.execution import handshake
from medsweep.execution.failures import TrialFailedError
from medsweep.execution.handshake import OTHER_STORE, require_same_store
from medsweep.execution.plan_tasks import labels_of, tasks_of
from medsweep.execution.runner import Ledger, RunPolicy
from medsweep.execution.task import RunContext
from medsweep.store.store import Store
from medsweep.sweep.plan import Decision


def test_a_file_of_this_run_must_come_into_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / ".tune" / "run" / "tasks.jsonl"
    token.parent.mkdir(parents=True)
    late = threading.Timer(0.3, token.touch)
    late.start()
    require_same_store(tmp_path, token, "10.0.0.7")
    monkeypatch.setattr(handshake, "PATIENCE_SECONDS", 0.3)
    for missing in (tmp_path / "run" / "tasks.jsonl", token.parent / "other"):
        with pytest.raises(TrialFailedError, match=rf"\(10.0.0.7\) does not see the store {tmp_path} ") as caught:
            require_same_store(tmp_path, missing, "10.0.0.7")
        assert caught.value.outcome == OTHER_STORE


def test_trials_of_such_a_node_are_not_counted_and_no_other_is_started(tmp_path: Path) -> None:
    plan, notebook = plan_of(), Notebook()
    decisions = {digest: Decision("run", "not in the store") for digest in plan.trials}
    context = RunContext(store=tmp_path, stages={})
    tasks = tasks_of(plan, decisions, labels_of(plan), closed=set(), context=context, enlarged={})
    policy = RunPolicy()
    ledger = Ledger([task for task in tasks if task.stage == "source"] * 2, Store(tmp_path), notebook, policy)
    begun = ledger.start()
    assert begun is not None
    for _ in range(2):
        ledger.heard(begun.digest, OTHER_STORE, "node a does not see it")
        ledger.settle(begun)
    assert list(ledger.result.misplaced) == ["node a does not see it"]
    assert (notebook.ends, policy.lost.total(), ledger.result.outcomes) == ([], 0, {})
    assert ledger.start() is None


@pytest.mark.slow
def test_one_node_with_another_disk_ends_the_run_with_one_line(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mount namespaces are not allowed here")
    said = said_by("parted_cluster.py", tmp_path)
    assert f"does not see the store {tmp_path / 'store'} of this run, but another folder there" in said["said"], said
    assert said["said"].count("does not see") == 1
    assert set(said["ends"]) <= {"complete"}, "no trial is said to have failed"
    assert not list((tmp_path / "store").rglob("lease.json"))
