"""The Ray runner keeps the contract, and survives what plain Tune does not."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from helpers import toy
from helpers.driving import start
from helpers.runner_contract import Done, Notebook, ReuseContract, RunnerContract, plan_of, results_of, run
from helpers.toy_run import context_of, long_plan
from medsweep.errors import UserError
from medsweep.execution.driver import run_plan
from medsweep.execution.failures import TRIES, notes
from medsweep.execution.ray_runner import RayRunner
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.store.store import Store
from medsweep.sweep.file import Resources


@pytest.fixture(scope="module")
def ray_runner() -> Iterator[RayRunner]:
    here = Path(__file__).parents[2]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parent), *([before] if before else [])])
    with RayRunner(cpus=2) as runner:
        yield runner
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


class TestRayRunner(RunnerContract):
    # The name of a failure is found in the same way under all runners. Here each costs a process: one that is
    # published, one that can leave no note, and one of the plan, which grows, in a test of its own.
    outcomes: ClassVar[Mapping[str, str]] = {"diverged": "diverged", "disk": "disk-full"}

    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, ray_runner: RayRunner) -> RayRunner:
        return ray_runner

    @pytest.mark.slow
    def test_a_worker_that_dies_is_tried_again_and_then_named(self, tmp_path: Path, runner: RayRunner) -> None:
        notebook = Notebook()
        summary = run(plan_of(fail="kill"), tmp_path, runner, notebook)
        assert [failure.outcome for failure in summary.failures] == ["killed", "killed"]
        killed = summary.failures[0].trial.digest
        assert notebook.ends.count((killed, "killed")) == TRIES
        assert summary.blocked == 4

    def test_a_worker_that_dies_once_is_tried_again_beside_the_rest(self, tmp_path: Path, runner: RayRunner) -> None:
        notebook = Notebook()
        plan = plan_of(fail="die", log=tmp_path / "log", seeds=1)
        summary = run(plan, tmp_path / "store", runner, notebook)
        assert summary.ok
        killed = [digest for digest, outcome in notebook.ends if outcome == "killed"]
        assert len(killed) == 1
        assert not [outcome for _, outcome in notebook.ends if outcome == "blocked"], "it came back in the same round"
        assert len(results_of(plan, Store(tmp_path / "store"))) == 4

    @pytest.mark.slow
    def test_a_trial_that_hangs_is_ended_and_tried_again(self, tmp_path: Path, runner: RayRunner) -> None:
        notebook, log = Notebook(), tmp_path / "log"
        held = {"grow": Resources(stall_minutes=0.2)}
        context = RunContext(store=tmp_path / "store", stages=toy.STAGES, resources=held)
        summary = run_plan(plan_of(fail="hang", log=log), context, runner, notebook)
        assert summary.ok
        (stalled,) = [digest for digest, outcome in notebook.ends if outcome == "stalled"]
        (note,) = notes(Store(tmp_path / "store"), "grow", stalled)
        assert "toy.py" in note.traceback

    def test_a_stage_too_large_for_the_cluster_is_one_line(self, tmp_path: Path, runner: RayRunner) -> None:
        context = RunContext(store=tmp_path, stages=toy.STAGES, resources={"grow": Resources(gpus=1)})
        with pytest.raises(UserError, match=r"resources.grow.gpus asks for 1, the Ray cluster has 0"):
            run_plan(plan_of(), context, runner, Notebook())

    def test_nothing_of_tunes_own_state_stays(self, done: Done) -> None:
        assert list((done.root / ".tune").iterdir()) == []
        assert not list(done.root.rglob("*.pkl"))


@pytest.mark.slow
class TestRayReuse(ReuseContract):
    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, ray_runner: RayRunner) -> RayRunner:
        return ray_runner


def test_a_killed_driver_goes_on_where_its_workers_were(tmp_path: Path, ray_runner: RayRunner) -> None:
    calm, log, root = long_plan(tmp_path / "calm", pause=0.0), tmp_path / "log", tmp_path / "store"
    assert run_plan(calm, context_of(tmp_path / "folder"), LocalRunner(), Notebook()).ok
    driver = start(tmp_path, "pause=0.1", runner="ray")
    while not list(root.glob("pool/*/manifest.json")) and driver.poll() is None:
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    kept = {manifest.digest: manifest.finished for manifest in Store(root).published()}
    plan, notebook = long_plan(log, pause=0.1), Notebook()
    summary = run_plan(plan, context_of(root), ray_runner, notebook)
    assert summary.ok, summary.failures
    assert 0 < len(kept) < len(plan.trials), "killed too late"
    final = {manifest.digest: manifest.finished for manifest in Store(root).published()}
    assert kept.items() <= final.items(), "a finished trial was published again"
    assert sorted(final) == sorted(plan.trials)
    assert results_of(plan, Store(root)) == results_of(calm, Store(tmp_path / "folder"))
    steps = Counter(log.read_text().splitlines())
    assert len(steps) == 4 * 8
    assert steps.total() - len(steps) <= 2, "a step of each of two workers, with a checkpoint after every step"


def raise_at_loading() -> None:
    raise ImportError("no codec for this node")


class Unloadable:
    """What a worker cannot load."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return raise_at_loading, ()


def test_what_a_worker_raises_before_its_trial_begins_reaches_the_driver_in_words(
    tmp_path: Path, ray_runner: RayRunner
) -> None:
    context = RunContext(store=tmp_path, stages=toy.STAGES | {"unread": Unloadable()})  # type: ignore[dict-item]
    summary = run_plan(plan_of(), context, ray_runner, Notebook())
    assert {failure.outcome for failure in summary.failures} == {"error"}
    assert "no codec for this node" in summary.failures[0].message


def test_an_address_where_nobody_listens_is_one_line() -> None:
    import ray

    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(UserError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"), RayRunner("127.0.0.1:1"):
        pass
