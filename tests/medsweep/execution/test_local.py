"""The in-process runner keeps the contract."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import toy
from helpers.runner_contract import Done, Notebook, ReuseContract, RunnerContract, plan_of, run
from medsweep.execution.driver import run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.store.store import Store
from medsweep.sweep.plan import Plan
from medsweep.tracking.tracker import RunCard, Tracker
from medsweep.trial import Progress


class Deaf(Notebook):
    """Interrupts its own process, and loses the KeyboardInterrupt as a finaliser would."""

    def progressed(self, digest: str, step: int, total: int) -> None:
        if len(self.begun) == 2:
            try:
                os.kill(os.getpid(), signal.SIGINT)
                signal.sigtimedwait([], 0.05)
            except KeyboardInterrupt:
                self.note("lost")


class Heard(Tracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.steps: Counter[str] = Counter()
        self.ends: dict[str, str] = {}

    def begin(self, card: RunCard, part: Path) -> None:
        assert part.name == f"{card.run_id}.part"
        self.begun.append(card.run_id)

    def log(self, progress: Progress) -> None:
        self.steps[self.begun[-1]] += 1

    def end(self, outcome: str) -> None:
        self.ends[self.begun[-1]] = outcome


def test_a_tracker_is_told_of_each_trial_by_the_card_of_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = plan_of(counts=(4,), fail="bug"), plan_of(counts=(4, 2), fail="bug")
    told, plans = Heard(), list[Plan]()

    def cards(plan: Plan) -> Callable[[str], RunCard]:
        plans.append(plan)
        return lambda digest: RunCard(run_id=digest, project="s", name="n", group="g", job_type="t")

    monkeypatch.setattr("medsweep.execution.runner.live_tracker", lambda folder, mode: told)
    context = RunContext(store=tmp_path, stages=toy.STAGES)
    run_plan(small, context, LocalRunner(), Notebook(), grow=lambda lost: large, cards=cards)
    assert plans[0] is small
    assert plans[-1] is large
    published = {manifest.digest: manifest.outcome for manifest in Store(tmp_path).published()}
    assert set(large.trials) - set(small.trials) <= set(published) | set(told.begun)
    assert len(told.begun) == len(set(told.begun)) == len(told.ends)
    assert {digest: told.ends[digest] for digest in published} == published
    assert set(told.ends.values()) == {"complete", "error"}
    lines = {digest: len((tmp_path / large.trials[digest].stage / digest / "metrics.jsonl").read_text().splitlines())
             for digest in published}  # fmt: skip
    assert {digest: told.steps[digest] for digest in published} == lines


@pytest.fixture
def heard() -> Iterator[None]:
    """SIGINT has its ordinary handler, even where the tests were started as a background job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class TestLocalRunner(RunnerContract, ReuseContract):
    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls) -> LocalRunner:
        return LocalRunner()

    def test_a_manifest_says_where_a_trial_ran_and_what_memory_it_took(self, done: Done) -> None:
        trial = next(iter(done.plan.trials.values()))
        host = Store(done.root).manifest(trial.stage, trial.digest).host
        assert (host["device"], host["threads"]) == ("cpu", 1)
        assert 10 < host["peak_memory_mib"] < 20_000

    def test_what_a_stage_notes_is_in_its_manifest(self, done: Done) -> None:
        for manifest in Store(done.root).published():
            assert list(manifest.notes) == ["the value is made up"] * (manifest.stage == "source")

    def test_a_beat_is_shown_and_kept_nowhere(self, tmp_path: Path, runner: LocalRunner) -> None:
        shown: list[tuple[str, int]] = []

        class Watcher(Notebook):
            def progressed(self, digest: str, step: int, total: int) -> None:
                shown.append((digest, step))

        plan = plan_of()
        assert run(plan, tmp_path / "store", runner, Watcher()).ok
        source = next(trial for trial in plan.trials.values() if trial.stage == "source")
        assert [step for digest, step in shown if digest == source.digest] == [0, 1]
        kept = (Store(tmp_path / "store").folder("source", source.digest) / "metrics.jsonl").read_text()
        assert len(kept.splitlines()) == 1

    def test_an_interrupt_that_got_lost_still_stops_the_run(
        self, tmp_path: Path, runner: LocalRunner, heard: None
    ) -> None:
        deaf = Deaf()
        summary = run(plan_of(), tmp_path / "store", runner, deaf)
        assert deaf.notes[:1] == ["lost"]
        assert summary.stopped
        assert len(deaf.ends) < 3
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_a_background_job_goes_on_ignoring_interrupts(
        self, tmp_path: Path, runner: LocalRunner, heard: None
    ) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert run(plan_of(), tmp_path / "store", runner, Deaf()).ok
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
