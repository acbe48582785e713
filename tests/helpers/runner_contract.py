"""What every runner promises. Inherit and give a ``runner`` fixture of the class's scope."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from helpers import toy
from medsweep.data.folds import Fold
from medsweep.execution.driver import Summary, run_plan
from medsweep.execution.failures import notes
from medsweep.execution.runner import Guard, RoundResult, Runner, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.store.cache import CacheSpec
from medsweep.store.store import Store
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Plan, build
from medsweep.tracking.console import Observer


class Notebook(Observer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def started(self, digest: str, stage: str, label: str) -> None:
        self.begun.append(digest)

    def finished(self, digest: str, outcome: str, message: str) -> None:
        self.ends.append((digest, outcome))

    def note(self, text: str) -> None:
        self.notes.append(text)


class Some(Guard):
    """Lets a number of trials start."""

    def __init__(self, number: int) -> None:
        self.number, self.begun = number, 0

    def may_start(self, task: Task) -> str | None:
        return f"{self.number} trials are enough" if self.begun == self.number else None

    def started(self, task: Task) -> None:
        self.begun += 1


class Rounds:
    """A runner that counts how often it is asked."""

    def __init__(self, runner: Runner) -> None:
        self.runner, self.number = runner, 0

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        self.number += 1
        return self.runner.run(tasks, context, observer, policy)


def plan_of(
    *,
    counts: tuple[int, ...] = (2, 4),
    fail: str | None = None,
    also: Sequence[str] = (),
    log: Path | None = None,
    seeds: int = 2,
) -> Plan:
    """A control, arms of each count, and one arm of another rate whose generator may fail; ``also`` adds arms to it."""
    arms = [Arm("control", {}, toy.Settings(), is_control=True)]
    noted = None if log is None else str(log)
    for count in counts:
        settings = toy.Settings(measure=toy.MeasureSection(count=count), grow=toy.GrowSection(log=noted))
        arms.append(Arm(f"count={count}", {"measure.count": count}, settings))
    for how in (fail, *also):
        other = toy.Settings(measure=toy.MeasureSection(count=2), grow=toy.GrowSection(rate=2.0, fail=how, log=noted))
        name = "other" if how == fail else f"other-{how}"
        arms.append(Arm(name, {"measure.count": 2, "grow.rate": 2.0}, other))
    where = [Replicate(Fold(index=0, of=2), seed) for seed in range(seeds)]
    return build("toy", arms=arms, replicates=where, stages=toy.STAGES, expand=toy.expand_with(max(counts)))


def results_of(plan: Plan, store: Store) -> dict[str, float]:
    """What each published leaf measured."""
    leaves = {f"{arm}/{replicate.seed}": digest for (arm, replicate), digest in plan.leaves.items()}
    return {
        name: json.loads((store.output("measure", digest) / "result.json").read_text())
        for name, digest in leaves.items()
        if store.outcome("measure", digest) == "complete"
    }


@dataclass(frozen=True)
class Done:
    """A sweep that was run once from nothing, in a store that no test may change."""

    plan: Plan
    folder: Path
    summary: Summary
    notebook: Notebook
    steps: list[str]
    """Each step of each generator, as often as it was done in that run."""

    @property
    def root(self) -> Path:
        return self.folder / "store"

    def steps_by_now(self) -> list[str]:
        """The same, with what tests have run since."""
        return (self.folder / "log").read_text().splitlines()

    def copy(self, folder: Path) -> Path:
        """A copy of the store which a test may change."""
        return Path(shutil.copytree(self.root, folder / "copy"))


def run(plan: Plan, root: Path, runner: Runner, notebook: Notebook | None = None) -> Summary:
    """Run the toy sweep ``plan`` in the store ``root``."""
    return run_plan(plan, RunContext(store=root, stages=toy.STAGES), runner, notebook or Notebook())


class _OneSweep:
    @pytest.fixture(scope="class")
    @classmethod
    def done(cls, runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Done:
        folder, notebook = tmp_path_factory.mktemp("done"), Notebook()
        plan = plan_of(log=folder / "log")
        summary = run(plan, folder / "store", runner, notebook)
        return Done(plan, folder, summary, notebook, (folder / "log").read_text().splitlines())


class RunnerContract(_OneSweep):
    """Runs toy sweeps for real, each as seldom as may be: under Ray a run begins with processes that import Ray."""

    def test_everything_runs_once_and_the_second_run_does_nothing(self, done: Done, runner: Runner) -> None:
        assert done.summary.ok
        assert done.summary.ran == Counter(trial.stage for trial in done.plan.trials.values())
        assert sorted(done.notebook.begun) == sorted(done.plan.trials)
        assert sorted(done.notebook.ends) == sorted((digest, "complete") for digest in done.plan.trials)
        assert len(done.steps) == len(set(done.steps)) == 4 * 3
        before = done.steps_by_now()
        second = run(done.plan, done.root, runner)
        assert second.ok
        assert not second.ran
        assert sum(second.reused.values()) == len(done.plan.trials)
        assert done.steps_by_now() == before

    def test_results_are_those_of_plain_arithmetic(self, done: Done) -> None:
        found = results_of(done.plan, Store(done.root))
        assert found["control/0"] == found["control/1"] == 1.0
        grown = 1 + sum(step + 1 for step in (1, 2, 3))
        draws = [grown + toy.derive_seed(1, i) % 1000 for i in range(4)]
        assert found["count=4/1"] == 1 + sum(draws)
        assert found["count=2/1"] == 1 + sum(draws[:2])

    outcomes: ClassVar[Mapping[str, str]] = {
        "diverged": "diverged",
        "memory": "out-of-memory",
        "disk": "disk-full",
        "bug": "error",
        "input": "bad-input",
    }
    """How a trial ends by the way in which it fails."""

    def test_each_failure_has_its_name_and_blocks_its_descendants_only(self, tmp_path: Path, runner: Runner) -> None:
        outcomes = self.outcomes
        first, *others = outcomes
        plan, notebook = plan_of(fail=first, also=others, seeds=1), Notebook()
        summary = run(plan, tmp_path, runner, notebook)
        store = Store(tmp_path)
        ends = {failure.trial.config.model_dump()["fail"]: failure.outcome for failure in summary.failures}
        assert ends == outcomes
        assert len(summary.failures) == len(outcomes)
        assert summary.blocked == 2 * len(outcomes)
        assert Counter(end for _, end in notebook.ends)["blocked"] == 2 * len(outcomes)
        assert sorted(results_of(plan, store)) == ["control/0", "count=2/0", "count=4/0"]
        for failure in summary.failures:
            diverged, digest = failure.outcome == "diverged", failure.trial.digest
            assert len(notes(store, "grow", digest)) == (0 if diverged else 1)
            assert store.outcome("grow", digest) == ("diverged" if diverged else None)
            assert failure.message
            assert not store.leased("grow", digest)

    def test_a_guard_stops_the_run_between_trials_and_the_next_goes_on(self, tmp_path: Path, runner: Runner) -> None:
        plan, context = plan_of(), RunContext(store=tmp_path, stages=toy.STAGES)
        capped = run_plan(plan, context, runner, Notebook(), Some(4))
        assert (capped.exit_code, capped.capped) == (3, "4 trials are enough")
        assert sum(capped.ran.values()) == 4
        assert not capped.failures
        rest = run(plan, tmp_path, runner)
        assert rest.ok
        assert sum(rest.reused.values()) == 4

    def test_a_plan_that_grows_is_run_to_its_end_in_one_round(self, tmp_path: Path, runner: Runner) -> None:
        small, large = (plan_of(counts=counts, fail="bug", seeds=1) for counts in ((4,), (4, 2, 3)))
        rounds, heard = Rounds(runner), list[dict[str, str]]()

        def grow(lost: Mapping[str, tuple[str, str]]) -> Plan | None:
            heard.append({small.trials[digest].stage: outcome for digest, (outcome, _) in lost.items()})
            return large if heard.count({"grow": "error"}) == 1 and heard[-1] else None

        context = RunContext(store=tmp_path, stages=toy.STAGES)
        summary = run_plan(small, context, rounds, Notebook(), grow=grow)
        assert [failure.outcome for failure in summary.failures] == ["error"]
        assert rounds.number == 1
        assert {} in heard
        names = ["control/0", "count=2/0", "count=3/0", "count=4/0"]
        assert sorted(results_of(large, Store(tmp_path))) == names
        assert summary.ran == Counter(
            large.trials[d].stage for d in large.trials if (tmp_path / large.trials[d].stage / d).is_dir()
        )


class ReuseContract(_OneSweep):
    """What a run reads of earlier ones. The same code decides under all runners."""

    def test_a_nodes_cache_changes_no_result_and_reads_each_input_once(
        self, tmp_path: Path, done: Done, runner: Runner
    ) -> None:
        context = RunContext(store=tmp_path / "store", stages=toy.STAGES, cache=CacheSpec(root=tmp_path / "node"))
        assert run_plan(done.plan, context, runner, Notebook()).ok
        store, plain = Store(tmp_path / "store"), Store(done.root)
        assert results_of(done.plan, store) == results_of(done.plan, plain)
        origins = Counter(
            (digest, manifest.host["inputs"][role])
            for manifest in store.published()
            for role, digest in manifest.inputs.items()
        )
        inputs = {digest for digest, _ in origins}
        assert {digest: origins[digest, "fetched"] for digest in inputs} == dict.fromkeys(inputs, 1)
        assert {origin for _, origin in origins} == {"fetched", "cache"}
        for manifest in plain.published():
            assert manifest.host["inputs"] == dict.fromkeys(manifest.inputs, "store")

    def test_a_level_added_runs_what_is_new_and_again_what_was_damaged(
        self, tmp_path: Path, done: Done, runner: Runner
    ) -> None:
        root, larger, notebook = done.copy(tmp_path), plan_of(counts=(2, 4, 9)), Notebook()
        grow = next(digest for digest, trial in done.plan.trials.items() if trial.stage == "grow")
        (Store(root).output("grow", grow) / "value.json").write_text("666")
        summary = run(larger, root, runner, notebook)
        assert summary.ok
        assert any("value.json does not match its sha256" in note for note in notebook.notes)
        # the other rate needs no larger pool, and the other generator is whole
        assert summary.ran == {"grow": 1, "pool": 2, "measure": 2}
        found = results_of(larger, Store(root))
        assert len(found) == 10
        assert {name: found[name] for name in found if "9" not in name} == results_of(done.plan, Store(done.root))
