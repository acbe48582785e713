"""How searches end where suggestions fail for good or none is good enough, and what the commands say of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from typer.testing import CliRunner

from helpers.micro import write_micro
from helpers.searching import MICRO, Stop, opened
from medsweep.cli import app
from medsweep.execution.driver import Grow, Summary, run_plan
from medsweep.execution.runner import LocalRunner, RoundResult, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.search.stopping import Stopping
from medsweep.store.store import Store
from medsweep.study.search_loop import run_search
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import Observer


class Fails(Stop):
    """Runs plans in this process, where the segmenters of ``arms`` end for good in a way of their own."""

    def __init__(self, store: Store, arms: Mapping[str, str]) -> None:
        super().__init__(store)
        self.arms = arms

    def __call__(self, plan: Plan, stopping: Stopping | None, grow: Grow) -> Summary:
        serves = plan.serves()
        ends = {
            digest: self.arms[serves[digest][0]]
            for digest, trial in plan.trials.items()
            if trial.stage == "segment" and serves[digest][0] in self.arms
        }
        summary = run_plan(plan, self.context, Ending(ends), Observer())
        self.stages += list(summary.ran.elements())
        return summary


class Ending(LocalRunner):
    """The local runner, but the trials in ``ends`` fail by that name, and all that is made from them is blocked."""

    def __init__(self, ends: Mapping[str, str]) -> None:
        self.ends = ends

    def run(self, tasks: Sequence[Task], context: RunContext, observer: Observer, policy: RunPolicy) -> RoundResult:
        blocked = {task.digest for task in tasks if set(self.ends) & set(task.inputs.values())}
        shut = blocked | set(self.ends)
        result = super().run([task for task in tasks if task.digest not in shut], context, observer, policy)
        result.outcomes |= self.ends | dict.fromkeys(blocked, "blocked")
        result.messages |= dict.fromkeys(self.ends, "no room")
        return result


def test_a_suggestion_that_fails_for_good_is_told_and_the_search_goes_on(tmp_path: Path) -> None:
    path, store = write_micro(tmp_path, *MICRO), Store.create(tmp_path / "store")
    lost = {"search-000": "out-of-memory", "search-002": "killed"}
    state, summary = run_search(opened(path, store), Fails(store, lost))
    outcomes = ["out-of-memory", "complete", "killed", "complete"]
    assert [result.outcome for result in state.results] == outcomes
    assert [(one.outcome, one.published) for one in summary.failures] == [("out-of-memory", True), ("killed", True)]
    assert (summary.exit_code, summary.blocked, summary.again) == (1, 0, False)
    # A resumed search suggests the same, says the same and runs nothing, although nothing of the two is published.
    rest = Stop(store)
    again, summary = run_search(opened(path, store), rest)
    assert again.suggestions == state.suggestions
    assert again.told == state.told
    assert (rest.stages, summary.exit_code, len(summary.failures)) == ([], 1, 2)
    where = ["--store", str(store.root)]
    shown = CliRunner().invoke(app, ["best", str(path), *where, "--results", str(tmp_path / "results")])
    assert shown.exit_code == 0
    assert "search-000: out-of-memory; no room" in shown.output
    assert "search-002: killed; no room" in shown.output
    stands = CliRunner().invoke(app, ["status", str(path), *where])
    assert "search: 4 of 4 suggestions have results" in stands.output
    assert "killed: search-002: no room; told to the sampler as failed" in stands.output
    _check_journal(store, outcomes)
    put_back = CliRunner().invoke(app, ["retry", str(path), "--failed", "--outcome", "killed", *where])
    assert "1 segment trial(s) that ended as killed" in put_back.output, put_back.output
    journal = (store.root / "search" / "micro.log").read_text()
    after, summary = run_search(opened(path, store), rest)
    grown = (store.root / "search" / "micro.log").read_text()
    assert grown.startswith(journal)
    assert len(grown) > len(journal)
    assert after.suggestions == state.suggestions
    assert rest.stages == ["segment", "score"]
    assert [result.outcome for result in after.results] == [*outcomes[:2], "complete", "complete"]
    assert [result.name for result in after.told][-1] == "search-002"


def _check_journal(store: Store, outcomes: Sequence[str]) -> None:
    """Optuna's own reader shows the search, and a torn journal is whole again after the next run."""
    import optuna

    path = store.root / "search" / "micro.log"

    def read() -> optuna.Study:
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        return optuna.load_study(study_name="micro", storage=storage)

    trials = read().get_trials()
    assert [trial.user_attrs["arm"] for trial in trials] == ["control", *(f"search-{number:03}" for number in range(4))]
    assert [trial.user_attrs["outcome"] for trial in trials] == ["complete", *outcomes]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert read().best_value == max(trial.value for trial in trials if trial.value is not None)
    assert list(trials[-1].constraints) == ["hours"]
    text = path.read_text()
    path.write_text(text[:-20])
    search = opened(store.root.parent / "micro.yaml", store)
    search.write_journal(search.forward())
    assert path.read_text() == text


def test_a_search_that_finds_nothing_says_so_and_by_how_much(tmp_path: Path) -> None:
    path = write_micro(tmp_path, *MICRO, ("metric: hours, at_most: 5.0", "metric: dice, at_least: 1.5"))
    store = Store.create(tmp_path / "store")
    state, summary = run_search(opened(path, store), Fails(store, {"search-001": "error"}))
    best = max((result for result in state.results if result.values), key=lambda result: result.values)
    said = f"{best.name} comes nearest: dice {best.values[0]:.4g} misses at_least 1.5 by {1.5 - best.values[0]:.3g}"
    assert said in summary.found_nothing
    assert summary.exit_code == 1
    shown = CliRunner().invoke(app, ["best", str(path), "--store", str(store.root), "--results", str(tmp_path / "r")])
    assert (shown.exit_code, said in shown.output) == (1, True), shown.output
