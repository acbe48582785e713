"""What every runner promises. Inherit and give a ``runner`` fixture."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

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


def plan_of(*, counts: tuple[int, ...] = (2, 4), fail: str | None = None, log: Path | None = None) -> Plan:
    """A control, arms of each count, and one arm of another rate whose generator may fail."""
    arms = [Arm("control", {}, toy.Settings(), is_control=True)]
    noted = None if log is None else str(log)
    for count in counts:
        settings = toy.Settings(measure=toy.MeasureSection(count=count), grow=toy.GrowSection(log=noted))
        arms.append(Arm(f"count={count}", {"measure.count": count}, settings))
    other = toy.Settings(measure=toy.MeasureSection(count=2), grow=toy.GrowSection(rate=2.0, fail=fail, log=noted))
    arms.append(Arm("other", {"measure.count": 2, "grow.rate": 2.0}, other))
    where = [Replicate(Fold(index=0, of=2), seed) for seed in range(2)]
    return build("toy", arms=arms, replicates=where, stages=toy.STAGES, expand=toy.expand_with(max(counts)))


def results_of(plan: Plan, store: Store) -> dict[str, float]:
    """What each published leaf measured."""
    leaves = {f"{arm}/{replicate.seed}": digest for (arm, replicate), digest in plan.leaves.items()}
    return {
        name: json.loads((store.output("measure", digest) / "result.json").read_text())
        for name, digest in leaves.items()
        if store.outcome("measure", digest) == "complete"
    }


class RunnerContract:
    """Runs toy sweeps for real."""

    @pytest.fixture
    def runner(self) -> AbstractContextManager[Runner]:
        raise NotImplementedError

    def run(self, plan: Plan, root: Path, runner: Runner, notebook: Notebook | None = None) -> Summary:
        context = RunContext(store=root, stages=toy.STAGES)
        return run_plan(plan, context, runner, notebook or Notebook())

    def test_everything_runs_once_and_the_second_run_does_nothing(self, tmp_path: Path, runner: Runner) -> None:
        plan, log, notebook = plan_of(log=tmp_path / "log"), tmp_path / "log", Notebook()
        first = self.run(plan, tmp_path / "store", runner, notebook)
        assert first.ok
        assert first.ran == Counter(trial.stage for trial in plan.trials.values())
        assert sorted(notebook.begun) == sorted(plan.trials)
        assert sorted(notebook.ends) == sorted((digest, "complete") for digest in plan.trials)
        lines = log.read_text().splitlines()
        assert len(lines) == len(set(lines)) == 4 * 3
        second = self.run(plan, tmp_path / "store", runner)
        assert second.ok
        assert not second.ran
        assert sum(second.reused.values()) == len(plan.trials)
        assert len(log.read_text().splitlines()) == 12

    def test_results_are_those_of_plain_arithmetic(self, tmp_path: Path, runner: Runner) -> None:
        plan = plan_of()
        self.run(plan, tmp_path, runner)
        found = results_of(plan, Store(tmp_path))
        assert found["control/0"] == found["control/1"] == 1.0
        grown = 1 + sum(step + 1 for step in (1, 2, 3))
        draws = [grown + toy.derive_seed(1, i) % 1000 for i in range(4)]
        assert found["count=4/1"] == 1 + sum(draws)
        assert found["count=2/1"] == 1 + sum(draws[:2])

    @pytest.mark.parametrize(
        ("how", "outcome"),
        [
            ("diverged", "diverged"),
            ("memory", "out-of-memory"),
            ("disk", "disk-full"),
            ("bug", "error"),
            ("input", "bad-input"),
        ],
    )
    def test_a_failure_has_its_name_and_blocks_its_descendants_only(
        self, tmp_path: Path, runner: Runner, how: str, outcome: str
    ) -> None:
        plan, notebook = plan_of(fail=how), Notebook()
        summary = self.run(plan, tmp_path, runner, notebook)
        store = Store(tmp_path)
        assert [failure.outcome for failure in summary.failures] == [outcome, outcome]
        assert summary.blocked == 4
        assert Counter(end for _, end in notebook.ends)["blocked"] == 4
        assert sorted(results_of(plan, store)) == sorted(
            f"{arm}/{seed}" for arm in ("control", "count=2", "count=4") for seed in (0, 1)
        )
        failed = summary.failures[0].trial
        written = notes(store, "grow", failed.digest)
        assert len(written) == (0 if how == "diverged" else 1)
        assert store.outcome("grow", failed.digest) == ("diverged" if how == "diverged" else None)
        assert summary.failures[0].message
        assert not store.leased("grow", failed.digest)

    def test_a_guard_stops_the_run_between_trials_and_the_next_goes_on(self, tmp_path: Path, runner: Runner) -> None:
        plan, context = plan_of(), RunContext(store=tmp_path, stages=toy.STAGES)
        capped = run_plan(plan, context, runner, Notebook(), Some(4))
        assert (capped.exit_code, capped.capped) == (3, "4 trials are enough")
        assert sum(capped.ran.values()) == 4
        assert not capped.failures
        rest = self.run(plan, tmp_path, runner)
        assert rest.ok
        assert sum(rest.reused.values()) == 4

    def test_a_nodes_cache_changes_no_result_and_reads_each_input_once(self, tmp_path: Path, runner: Runner) -> None:
        plan = plan_of()
        self.run(plan, tmp_path / "plain", runner)
        context = RunContext(store=tmp_path / "store", stages=toy.STAGES, cache=CacheSpec(root=tmp_path / "node"))
        assert run_plan(plan, context, runner, Notebook()).ok
        store = Store(tmp_path / "store")
        assert results_of(plan, store) == results_of(plan, Store(tmp_path / "plain"))
        origins = Counter(
            (digest, manifest.host["inputs"][role])
            for manifest in store.published()
            for role, digest in manifest.inputs.items()
        )
        inputs = {digest for digest, _ in origins}
        assert {digest: origins[digest, "fetched"] for digest in inputs} == dict.fromkeys(inputs, 1)
        assert {origin for _, origin in origins} == {"fetched", "cache"}
        for manifest in Store(tmp_path / "plain").published():
            assert manifest.host["inputs"] == dict.fromkeys(manifest.inputs, "store")

    def test_a_plan_that_grows_is_run_to_its_end_in_one_round(self, tmp_path: Path, runner: Runner) -> None:
        small, large = plan_of(counts=(4,), fail="bug"), plan_of(counts=(4, 2, 3), fail="bug")
        rounds, heard = Rounds(runner), list[dict[str, str]]()

        def grow(lost: Mapping[str, tuple[str, str]]) -> Plan | None:
            heard.append({small.trials[digest].stage: outcome for digest, (outcome, _) in lost.items()})
            return large if heard.count({"grow": "error"}) == 1 and heard[-1] else None

        context = RunContext(store=tmp_path, stages=toy.STAGES)
        summary = run_plan(small, context, rounds, Notebook(), grow=grow)
        assert [failure.outcome for failure in summary.failures] == ["error", "error"]
        assert rounds.number == 1
        assert {} in heard
        names = [f"{arm}/{seed}" for arm in ("control", "count=2", "count=3", "count=4") for seed in (0, 1)]
        assert sorted(results_of(large, Store(tmp_path))) == names
        assert summary.ran == Counter(
            large.trials[d].stage for d in large.trials if (tmp_path / large.trials[d].stage / d).is_dir()
        )

    def test_a_level_added_runs_only_what_is_new(self, tmp_path: Path, runner: Runner) -> None:
        self.run(plan_of(counts=(2, 4)), tmp_path, runner)
        summary = self.run(plan_of(counts=(2, 4, 9)), tmp_path, runner)
        assert summary.ran == {"pool": 2, "measure": 2}  # the other rate needs no larger pool

    def test_a_damaged_input_is_found_named_and_made_again(self, tmp_path: Path, runner: Runner) -> None:
        small = plan_of(counts=(2,))
        self.run(small, tmp_path, runner)
        grow = next(digest for digest, trial in small.trials.items() if trial.stage == "grow")
        (Store(tmp_path).output("grow", grow) / "value.json").write_text("666")
        larger, notebook = plan_of(counts=(2, 4)), Notebook()
        summary = self.run(larger, tmp_path, runner, notebook)
        assert summary.ok
        assert any("value.json does not match its sha256" in note for note in notebook.notes)
        assert summary.ran["grow"] == 1
        assert len(results_of(larger, Store(tmp_path))) == 8
        assert 666 not in results_of(larger, Store(tmp_path)).values()
