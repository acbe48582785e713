"""A search: its section, its loop over the smallest real pipeline, and what ``best`` shows of it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.micro import write_micro
from helpers.searching import MICRO, Stop, opened
from medsweep.cli import app
from medsweep.data.source import DataSource
from medsweep.errors import UserError
from medsweep.execution.driver import Grow, Summary, run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.search.stopping import Stopping
from medsweep.store.store import Store
from medsweep.study import search_loop
from medsweep.study.chains import Chains
from medsweep.study.plan import plan_sweep
from medsweep.study.reach import needed_by
from medsweep.study.search_loop import Search, open_search, run_search
from medsweep.study.stages import SCHEMA, STAGES, Settings
from medsweep.sweep.arms import arms, replicates
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Builder, Plan
from medsweep.tracking.console import Observer
from medsweep.trainers.synthesis.config import SynthesiseConfig

RATE = "    segment.learning_rate: {"
PIPELINE = "    gan.pipeline: [b-sg, c-sg, mc-sg]\n"
CLIP = "    gan.mask_clip_px: {low: 2, high: 8, when: {gan.pipeline: [b-sg, mc-sg]}}\n"
WRONG_WHEN = (
    ("gan.pipeline: [b-sg, mc-sg]", "gan.pipline: b-sg", "did you mean 'gan.pipeline'?"),
    ("gan.pipeline: [b-sg, mc-sg]", "segment.learning_rate: 0.1", "which is not searched further up"),
    ("[b-sg, mc-sg]", "mcsg", "gan.pipeline is never 'mcsg'"),
    ("[b-sg, mc-sg]", "[b-sg, c-sg, mc-sg]", "so that it always holds"),
)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("segment.learning_rate: {", "segment.learning_rat: {", "did you mean 'segment.learning_rate'?"),
        ("low: 0.001,", "low: -1.0,", "greater than 0"),
        ("low: 0.001,", "low: 0.5,", "low must be below high"),
        ("log: true", "log: true, step: 0.001", "no step"),
        ("low: 0.001, high: 0.03, log: true", "low: 0.1, high: 1.0, step: 0.4", "set high: 0.9"),
        ("metric: dice", "metric: dise", "did you mean 'dice'?"),
        ("goal: maximise", "goal: minimise", "looks for the worst value"),
        ("at_most: 5.0", "at_most: 5.0, at_least: 1.0", "one of at_most and at_least"),
        (", validation: 0.3", "", "would flatter the winner"),
        ("  batch: 2\n", "  batch: 2\n  sampler: nsga2\n", "weighs two objectives"),
        ("  batch: 2\n", "  early_stopping: {gans: {rule: asha, metric: a, goal: minimise}}\n", "did you mean 'gan'?"),
        ("arms: {slow:", "arms: {search-1:", "named like a suggestion"),
        ("  batch: 2\n", "  batch: 2\n  sampler: cma-es\n", "needs two fields or more"),
        ("log: true}", "log: true}\n    gan.pipeline: [b-sg]", "at least 2 items"),
        *((RATE, f"{PIPELINE}{CLIP.replace(old, new)}{RATE}", said) for old, new, said in WRONG_WHEN),
        ("fixed:\n", "early_stopping: {}\nfixed:\n", "arms that are compared are always measured in full"),
    ],
)
def test_a_wrong_search_is_refused_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write_micro(tmp_path, *MICRO, (old, new))
    with pytest.raises(UserError, match=r"micro\.yaml:\d+: ") as caught:
        load_sweep(path, SCHEMA)
    assert said in str(caught.value)


def test_a_field_that_only_some_pipelines_read_is_suggested_only_there(tmp_path: Path) -> None:
    arms = "arms: {images: {gan.pipeline: c-sg}, both: {gan.pipeline: mc-sg, gan.mask_clip_px: 3}}"
    changes = (
        ("suggestions: 4\n  batch: 2", "suggestions: 30\n  at_once: 30"),
        (RATE, PIPELINE + CLIP + RATE),
        ("fixed:\n", "fixed:\n  synthesise: {count: 4}\n"),
        ("arms: {slow: {segment.learning_rate: 0.0005}}", arms),
    )
    path, store = write_micro(tmp_path, *MICRO, *changes), Store.create(tmp_path / "store")
    search = opened(path, store)
    rate = search.points.inside[0].params["segment.learning_rate"]
    assert {own.name: own.params for own in search.points.inside} == {
        "images": {"gan.pipeline": "c-sg", "segment.learning_rate": rate},
        "both": {"gan.pipeline": "mc-sg", "gan.mask_clip_px": 3.0, "segment.learning_rate": rate},
    }
    points = [suggestion.params for suggestion in search.forward().suggestions]
    assert {point["gan.pipeline"] for point in points} == {"b-sg", "c-sg", "mc-sg"}
    assert all(("gan.mask_clip_px" in point) == (point["gan.pipeline"] != "c-sg") for point in points)
    assert [suggestion.params for suggestion in opened(path, store).forward().suggestions] == points


def test_a_field_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    path = write_micro(tmp_path, *MICRO, ("segment.learning_rate: {low: 0.001,", "gan.r1_gamma: {low: 0.001,"))
    store = Store.create(tmp_path / "store")
    with pytest.raises(UserError, match=r"gan\.r1_gamma changes no trial"):
        open_search(plan_sweep(path, store), store)


def test_pools_are_as_large_as_the_largest_dose_searched(tmp_path: Path) -> None:
    sweep = load_sweep(write_micro(tmp_path), SCHEMA)
    every = arms(sweep)
    bound = sweep.with_levels({"gan.pipeline": "mc-sg", "synthesise.count": 9}, ("fixed",))
    assert isinstance(bound, Settings)
    chains = Chains(every, DataSource("0" * 64, ()), [bound])
    builder = Builder(STAGES)
    for arm in every:
        chains.expand(builder, arm, replicates(sweep, [f"case-{number}" for number in range(6)])[0])
    pools = [trial.config for trial in builder.trials.values() if isinstance(trial.config, SynthesiseConfig)]
    assert {pool.pipeline: pool.count for pool in pools} == {"b-sg": 4, "mc-sg": 9}


def test_a_plan_is_the_same_whatever_was_planned_before_it(tmp_path: Path) -> None:
    dose = ("    segment.learning_rate", "    synthesise.count: {low: 2, high: 12, step: 1}\n    segment.learning_rate")
    path, store = write_micro(tmp_path, *MICRO, dose), Store.create(tmp_path / "store")
    search, fresh = opened(path, store), opened(path, store)
    points = [{"synthesise.count": count, "segment.learning_rate": 0.01} for count in (12, 3, 7)]
    suggestions = [search.points.suggest(f"search-{number:03}", point) for number, point in enumerate(points)]
    for number in range(len(points)):
        search.points.plan(suggestions[: number + 1])
    assert search.points.plan(suggestions) == fresh.points.plan(suggestions)
    assert list(search.points.plan(suggestions).trials) == list(fresh.points.plan(suggestions).trials)


def test_a_search_goes_on_from_the_store_whatever_interrupts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store = write_micro(tmp_path, *MICRO), Store.create(tmp_path / "store")
    search = opened(path, store)
    assert [own.name for own in search.points.inside] == ["control"], "slow lies outside"
    first = Stop(store, batches=2)
    state, summary = run_search(search, first)
    assert summary.stopped
    assert len(state.fixed) == 1
    assert len(state.results) == 2
    assert len(state.suggestions) == 4
    # The second batch was asked but not run; one suggestion of it comes to be, the last one first.
    last = state.suggestions[-1].name
    only = search.points.plan([each for each in state.suggestions if each.name == last])
    run_plan(only, first.context, LocalRunner(), Observer())
    again = opened(path, store)
    assert again.forward().suggestions == state.suggestions
    assert len(again.forward().results) == 2
    rest = Stop(store)
    done, summary = run_search(again, rest)
    assert summary.ok
    assert again.is_settled(done)
    assert rest.stages == ["segment", "score"]
    assert done.suggestions == state.suggestions == opened(path, store).forward().suggestions
    assert len({each.params["segment.learning_rate"] for each in done.suggestions}) == 4
    _check_results(store, again, done.plan, [result.metrics for result in done.results])
    assert len(again.reported_plan(done).arms) == 6
    assert len(again.limits(done)) == 1
    monkeypatch.setattr(search_loop, "REPORTED", 2)
    by_score = sorted(done.results, key=lambda result: -result.values[0])
    best = {"control", "slow", *(result.name for result in by_score[:2])}
    assert {arm.name for arm in again.reported_plan(done).arms} == best
    assert "2 best of 4 suggestions" in again.limits(done)[1]
    _check_best(path, store, tmp_path / "results")


def _check_results(store: Store, search: Search, plan: Plan, metrics: Sequence[object]) -> None:
    import pandas as pd

    for number, found in enumerate(metrics):
        leaf = plan.leaves[f"search-{number:03}", plan.replicates[0]]
        table = pd.read_parquet(store.output("score", leaf) / "validation.parquet")
        dice = table.loc[table["metric"] == "dice", "value"].mean()
        # What all share (the prepared slices) is not charged to a suggestion.
        own = [("score", leaf), ("segment", plan.trials[leaf].inputs["network"])]
        hours = sum(store.manifest(stage, digest).seconds for stage, digest in own) / 3600
        assert found == pytest.approx({"dice": dice, "hours": hours})


def _check_best(path: Path, store: Store, results: Path) -> None:
    shown = CliRunner().invoke(app, ["best", str(path), "--store", str(store.root), "--results", str(results)])
    assert shown.exit_code == 0, shown.output
    for text in ("validation dice", "test dice", "search-003", "4 of 4 suggestions", "too few to say", "not flattered"):
        assert text in shown.output
    assert sorted(each.name for each in (results / "search").iterdir()) == ["history.csv", "history.png", "history.svg"]
    lines = (results / "search" / "history.csv").read_text().splitlines()
    assert lines[0].startswith("arm,outcome,feasible,value,best,n,dice,hours,")
    assert len(lines) == 6
    told = CliRunner().invoke(app, ["best", str(path), "--store", str(store.root), "--json"])
    document = json.loads(told.stdout)
    best = [row for row in document["results"] if row["is_best"]]
    assert best == document["results"][: len(best)]
    assert best[0]["dice"] == max(row["dice"] for row in document["results"])
    assert {"arm", "segment.learning_rate", "n"} <= set(best[0])


class Grows(Stop):
    """Runs plans in this process, and lets them grow; ``cut`` ends that after so many trials, as a kill would."""

    def __init__(self, store: Store, cut: int = 99) -> None:
        super().__init__(store)
        self.cut, self.calls = cut, 0

    def __call__(self, plan: Plan, stopping: Stopping | None, grow: Grow) -> Summary:
        self.calls += 1

        def counted(lost: Mapping[str, tuple[str, str]]) -> Plan | None:
            self.cut -= 1
            if self.cut == 0:
                raise ConnectionError("the driver dies")
            return grow(lost)

        summary = run_plan(plan, self.context, LocalRunner(), Observer(), grow=counted)
        self.stages += list(summary.ran.elements())
        return summary


def test_a_search_without_batches_asks_as_each_ends_and_goes_on_as_recorded(tmp_path: Path) -> None:
    path = write_micro(tmp_path, *MICRO, ("batch: 2", "at_once: 2"))
    store = Store.create(tmp_path / "store")
    dies = Grows(store, cut=9)
    with pytest.raises(ConnectionError):
        run_search(opened(path, store), dies)
    half = opened(path, store, writes=False).forward()
    rest = Grows(store)
    state, summary = run_search(opened(path, store), rest)
    assert (summary.ok, rest.calls, len(state.results)) == (True, 1, 4)
    assert state.suggestions[: len(half.suggestions)] == half.suggestions
    assert len(half.suggestions) > 2
    events = opened(path, store).record.events
    assert [len(event.points) for event in events if event.kind == "asked"] == [2, 1, 1], "one for each that ended"
    open_ = 0
    for event in events:
        open_ += len(event.points) - (event.arm.startswith("search-"))
        assert open_ <= 2
    # Whoever follows the record asks the same, whatever order the store would give.
    replayed = opened(path, store, writes=False)
    assert replayed.forward() == state
    for number, event in enumerate(events):
        replayed.record.events = events[:number]
        if event.kind == "asked":
            asked = replayed._ask(replayed._state())
            assert asked is not None
            assert asked.points == event.points
    grown = tmp_path / "whole"
    run_search(opened(path, Store.create(grown)), Grows(Store(grown)))
    firsts = [opened(path, each, writes=False).forward().suggestions[0] for each in (store, Store(grown))]
    assert firsts[0].params == firsts[1].params


def test_a_search_starts_from_what_another_one_found(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    first = write_micro(tmp_path, *MICRO)
    before, _ = run_search(opened(first, store), Stop(store))
    warm = ("  suggestions: 4\n", "  suggestions: 4\n  warm_start: micro\n")
    path = write_micro(tmp_path, *MICRO, warm, ("sweep: micro", "sweep: second"), name="second.yaml")
    search = opened(path, store, writes=False)
    assert [result.params for result in search.borrowed] == [result.params for result in before.results]
    assert [result.values for result in search.borrowed] == [result.values for result in before.results]
    assert not search.forward().results, "what another search found is none of its results"
    narrow = ("low: 0.001,", f"low: {sorted(result.params['segment.learning_rate'] for result in before.results)[2]},")
    path = write_micro(tmp_path, *MICRO, warm, ("sweep: micro", "sweep: second"), narrow, name="second.yaml")
    assert len(opened(path, store, writes=False).borrowed) == 2
    path = write_micro(tmp_path, *MICRO, ("  suggestions: 4\n", "  suggestions: 4\n  warm_start: mirco\n"))
    with pytest.raises(UserError, match=r"micro\.yaml:\d+: 'mirco' is no other search"):
        opened(path, store, writes=False)


def test_what_lies_outside_an_edited_space_is_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    path, store = write_micro(tmp_path, *MICRO), Store.create(tmp_path / "store")
    before, _ = run_search(opened(path, store), Stop(store))
    rates = sorted(result.params["segment.learning_rate"] for result in before.results)
    path = write_micro(tmp_path, *MICRO, ("low: 0.001,", f"low: {rates[1]},"))
    edited = opened(path, store, writes=False).forward()
    assert sorted(result.params["segment.learning_rate"] for result in edited.results) == rates[1:]
    assert [each.name for each in edited.suggestions][-1] == "search-004"
    more = "segment.learning_rate: {low: 0.001, high: 0.03, log: true}"
    path = write_micro(tmp_path, *MICRO, (more, f"{more}\n    segment.warmup_steps: [0, 5]"))
    wider = opened(path, store, writes=False).forward()
    assert [result.metrics for result in wider.results] == [result.metrics for result in before.results]
    assert {result.params["segment.warmup_steps"] for result in wider.results} == {0}
    path = write_micro(tmp_path, *MICRO, ("steps: 12", "steps: 10"))
    other = opened(path, store, writes=False).forward()
    assert not other.results, "they are about other trials"


def test_a_suggestion_that_cannot_stand_is_refused_and_adds_no_trial(tmp_path: Path) -> None:
    changes = (
        (
            "segment.learning_rate: {low: 0.001, high: 0.03, log: true}",
            "segment.warmup_steps: [0, 10]\n    segment.steps: [12, 8]",
        ),
    )
    path, store = write_micro(tmp_path, *MICRO, *changes), Store.create(tmp_path / "store")
    search = opened(path, store)
    refused = search.points.suggest("search-007", {"segment.warmup_steps": 10, "segment.steps": 8})
    assert refused.arm is None
    assert "warmup_steps (10) must be below steps (8)" in refused.refused
    sound = search.points.suggest("search-008", {"segment.warmup_steps": 0, "segment.steps": 8})
    assert search.points.plan([refused, sound]).trials == search.points.plan([sound]).trials


def test_the_commands_run_a_search_and_tell_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    path = write_micro(tmp_path, *MICRO)
    where = ["--store", str(tmp_path / "store"), "--results", str(tmp_path / "results")]
    early = CliRunner().invoke(app, ["best", str(path), *where])
    assert early.exit_code == 2
    assert "there is no store" in early.output
    planned = CliRunner().invoke(app, ["plan", str(path), *where[:2]])
    assert "search: 0 of 4 suggestions have results" in planned.output
    ran = CliRunner().invoke(app, ["run", str(path), *where, "--runner", "local"])
    assert ran.exit_code == 0, ran.output
    told = json.loads((tmp_path / "results" / "analysis.json").read_text())
    assert [arm["name"] for arm in told["arms"]] == ["control", "slow", *(f"search-{number:03}" for number in range(4))]
    assert "they are no planned comparison" in (tmp_path / "results" / "report.html").read_text()
    kept = CliRunner().invoke(app, ["gc", str(path), *where[:2], "--yes"])
    assert "nothing to delete" in kept.output, kept.output
    again = CliRunner().invoke(app, ["run", str(path), *where, "--runner", "local"])
    assert "ran no trial" in again.output
    shown = CliRunner().invoke(app, ["best", str(path), *where])
    assert "4 of 4 suggestions are settled" in shown.output
    assert (tmp_path / "results" / "search" / "history.png").stat().st_size > 1000
    _check_damage_hides_no_suggestion(path, Store(tmp_path / "store"))


def _check_damage_hides_no_suggestion(path: Path, store: Store) -> None:
    """What a search asked after a trial that is damaged stays planned and needed, with its record or without."""
    published = {digest for stage in store.stages() for digest in store.listing(stage)}
    search = opened(path, store, writes=False)
    whole = search.whole_plan(search.forward())
    store.quarantine("score", whole.leaves_of("search-000")[0])
    again = opened(path, store, writes=False).forward()
    assert [result.name for result in again.results] == [f"search-{number:03}" for number in range(4)]
    shown = CliRunner().invoke(app, ["best", str(path), "--store", str(store.root), "--results", str(path.parent)])
    assert "gone" in shown.output
    looked = CliRunner().invoke(app, ["plan", str(path), "--store", str(store.root)])
    assert looked.exit_code == 0
    assert published <= needed_by(path, store)
    shutil.rmtree(store.root / "search")
    assert "search-003" not in {arm.name for arm in opened(path, store, writes=False).forward().plan.arms}
    assert published <= needed_by(path, store)
