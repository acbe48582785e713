"""Sequential seeds: their section, their loop over the smallest real pipeline, and what the commands tell of them."""

import json
from pathlib import Path

import pytest

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.errors import UserError
from medsweep.execution.driver import Summary, run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.store.store import Store
from medsweep.study.looks import Looks, open_looks, run_looks
from medsweep.study.plan import plan_sweep
from medsweep.study.stages import SCHEMA, STAGES
from medsweep.sweep.file import Seeds
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import Observer

ONE_SEED = "{folds: 2, seeds: 1}"
SEEDS = "{scheme: hold-out, folds: 1, test_share: 0.5, seeds: {start: 2, most: 4, looks: 3, spending: pocock}}"
REAL = (
    "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n",
    "arms: {slow: {segment.learning_rate: 0.0005}}\n",
)
UNANSWERABLE, OBVIOUS = ("margin: 0.05", "margin: 0.000001"), ("margin: 0.05", "margin: 0.9")


def test_looks_are_spread_evenly() -> None:
    assert Seeds(start=5, most=25, looks=4).counts == (5, 12, 18, 25)
    assert Seeds(start=2, most=4, looks=3).counts == (2, 3, 4)
    assert Seeds(start=3, most=3, looks=1).counts == (3,)


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("0", "a whole number from 1, or {start: 5, most: 25, looks: 4}, got 0"),
        ("true", "a whole number from 1"),
        ("five", "a whole number from 1"),
        ("2.5", "a whole number from 1"),
        ("{start: 5, most: 25}", "key 'looks' is missing in replicates.seeds"),
        ("{start: 5, most: 25, lucks: 4}", "did you mean 'looks'?"),
        ("{start: 5, most: 25, looks: 1}", "write seeds: 25"),
        ("{start: 1, most: 25, looks: 4}", "one seed cannot judge a method"),
        ("{start: 5, most: 7, looks: 4}", "from 5 to 7 there is no room for 4 looks"),
        ("{start: 5, most: 3, looks: 2}", "from 5 to 3 there is no room for 2 looks"),
        ("{start: 5, most: 25, looks: 4, spending: pocok}", "did you mean 'pocock'?"),
    ],
)
def test_wrong_seeds_are_refused_with_their_place(tmp_path: Path, seeds: str, said: str) -> None:
    path = write_micro(tmp_path, (ONE_SEED, f"{{folds: 2, seeds: {seeds}}}"))
    with pytest.raises(UserError, match=r"micro\.yaml:7: ") as caught:
        load_sweep(path, SCHEMA)
    assert said in str(caught.value)


def test_a_search_and_looks_are_refused_together(tmp_path: Path) -> None:
    search = "search: {suggestions: 2, objectives: [{metric: dice, goal: maximise}], space: {segment.steps: [8, 12]}}\n"
    seeds = SEEDS.replace("folds: 1", "folds: 1, validation: 0.3")
    path, store = write_micro(tmp_path, (ONE_SEED, seeds), ("fixed:\n", f"{search}fixed:\n")), Store.create(tmp_path)
    with pytest.raises(UserError, match=r"micro\.yaml:7: a search compares suggestions under the same seeds"):
        open_looks(plan_sweep(path, store), store)


class Stop:
    """Runs plans in this process; after ``plans`` of them it says that the user stopped."""

    def __init__(self, store: Store, plans: int = 99) -> None:
        self.context, self.left = RunContext(store=store.root, stages=STAGES), plans
        self.ran: list[int] = []

    def __call__(self, plan: Plan) -> Summary:
        self.left -= 1
        summary = run_plan(plan, self.context, LocalRunner(), Observer())
        self.ran.append(summary.ran["score"])
        return summary if self.left else Summary(**{**vars(summary), "stopped": True})


def opened(path: Path, store: Store) -> Looks:
    found = open_looks(plan_sweep(path, store), store)
    assert found is not None
    return found


def test_looks_go_on_from_the_store_whatever_interrupts_them(tmp_path: Path) -> None:
    path, store = write_micro(tmp_path, REAL, (ONE_SEED, SEEDS), UNANSWERABLE), Store.create(tmp_path / "store")
    looks = opened(path, store)
    assert set(looks.plan(looks.looks[0]).trials) < set(looks.plan(looks.looks[1]).trials)
    assert "trial(s) are to run" in looks.forward().waits
    first, told = Stop(store, plans=2), list[str]()
    at, summary = run_looks(looks, first, told.append)
    assert summary.stopped
    assert first.ran == [4, 2], "two arms x two seeds, then one seed more"
    assert (at.look.number, len(told)) == (3, 1)
    again = opened(path, store)
    assert again.forward().look.number == 3
    assert again.analysed(again.forward()).look.number == 2, "what can be reported has all its trials"
    rest = Stop(store)
    at, summary = run_looks(again, rest, told.append)
    assert (rest.ran, summary.ok, at.undecided) == ([2], True, ("slow",))
    assert not at.goes_on
    last = Stop(store)
    run_looks(opened(path, store), last, told.append)
    assert last.ran == [0]


def test_a_sweep_ends_at_the_look_that_has_the_answer(tmp_path: Path) -> None:
    seeds = SEEDS.replace("start: 2", "start: 3").replace("looks: 3", "looks: 2")  # two networks name no winner
    path, store = write_micro(tmp_path, REAL, (ONE_SEED, seeds), OBVIOUS), Store.create(tmp_path / "store")
    run = Stop(store)
    at, summary = run_looks(opened(path, store), run, pytest.fail)
    assert (run.ran, at.look.number, at.undecided, summary.ok) == ([6], 1, (), True)


def test_a_budget_too_small_for_the_next_look_keeps_the_report_of_the_last(tmp_path: Path, medsweep: Medsweep) -> None:
    budget = ("fixed:\n", "budget: {trials: 9}\nfixed:\n")
    path = write_micro(tmp_path, REAL, (ONE_SEED, SEEDS), UNANSWERABLE, budget)
    ran = medsweep("run", path, "--runner", "local", "--store", "store")
    assert ran.exit_code == 3, ran.output
    assert "above budget.trials 9" in ran.output
    assert json.loads(Path("results/micro/analysis.json").read_text())["look"]["number"] == 1


def test_the_commands_name_the_look(tmp_path: Path, medsweep: Medsweep) -> None:
    path, where = write_micro(tmp_path, REAL, (ONE_SEED, SEEDS), UNANSWERABLE), ("--store", "store")
    planned = medsweep("plan", path, *where).output
    for text in (
        "look 1 of 3, at 2 of at most 4 seeds",
        "at most; expected",
        "if no arm differs",
        "4 seed(s), 1 compar",
    ):
        assert text in planned
    rows = [line.split() for line in planned[planned.index("look  seeds") :].splitlines()[1:4]]
    assert [row[:2] for row in rows] == [["1", "2"], ["2", "3"], ["3", "4"]]
    assert sorted(float(row[3]) for row in rows) == [float(row[3]) for row in rows]
    ran = medsweep("run", path, "--runner", "local", *where)
    assert ran.exit_code == 0, ran.output
    assert "on to look 2 of 3" in ran.output
    assert "This is look 3 of 3, at 4 of at most 4 seeds" in ran.output
    told = json.loads(Path("results/micro/analysis.json").read_text())
    assert (told["look"]["number"], told["seeds"]) == (3, 4)
    assert told["rules"]["alpha"] == told["look"]["alpha"] < 0.05
    assert "This is look 3 of 3" in Path("results/micro/report.html").read_text()
    for command in ("status", "results", "plan"):
        assert "look 3 of 3, at 4 of at most 4 seeds: the last one; without a verdict: slow" in (
            medsweep(command, path, *where).output
        )
    assert "ran no trial" in medsweep("run", path, "--runner", "local", *where).output
