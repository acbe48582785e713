"""Forecasts and budgets: the schedule by hand, intervals from what was published, and caps that hold."""

import heapq
import json
import platform
import random
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import toy
from medsweep.data.folds import Fold
from medsweep.errors import UserError
from medsweep.execution.driver import decide_checked, run_plan
from medsweep.execution.frontier import Frontier
from medsweep.execution.plan_tasks import tail_hours
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext, Task
from medsweep.planning.budget import BudgetGuard, Payments, Spent, require_within
from medsweep.planning.cost import explain, planned_sweeps, store_notes, write_index
from medsweep.planning.forecast import History, Interval, Price, WallClock, forecast, prices, sure
from medsweep.store.source_code import source_hashes
from medsweep.store.store import Store
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.file import Resources, Schema, Sweep
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Plan, build, decide
from medsweep.tracking.console import Observer
from medsweep.trial import COMPLETE

SCHEMA = Schema(settings=toy.Settings, stages=tuple(toy.STAGES), analysis=toy.AnalysisRules)
SWEEP = """\
sweep: toy
question: What does it cost?
replicates: {folds: 2}
control: {measure.count: 0}
factors: {measure.count: [2]}
"""


def sweep_with(folder: Path, budget: str) -> Sweep:
    path = folder / "toy.yaml"
    path.write_text(SWEEP + f"budget: {budget}\n")
    return load_sweep(path, SCHEMA)


def plan_of(seeds: int = 2) -> Plan:
    """source -> per seed: measure, and grow -> pool -> measure."""
    arms = [Arm("control", {}, toy.Settings(), is_control=True)]
    arms.append(Arm("a", {"measure.count": 2}, toy.Settings(measure=toy.MeasureSection(count=2))))
    where = [Replicate(Fold(index=0, of=2), seed) for seed in range(seeds)]
    return build("toy", arms=arms, replicates=where, stages=toy.STAGES, expand=toy.expand_with(2))


def by_stage(plan: Plan, **hours: float) -> dict[str, float]:
    return {digest: hours[trial.stage] for digest, trial in plan.trials.items()}


def priced_at(plan: Plan, gpus: float = 0.0, **hours: float) -> dict[str, Price]:
    found = by_stage(plan, **hours)
    return {digest: Price(sure(found[digest]), 1.0, gpus, sure(512.0), 9, 9) for digest in plan.trials}


def tasks_for(plan: Plan, hours: Mapping[str, float]) -> list[Task]:
    """The trials in ``hours`` as the frontier orders them."""
    tails, trials = tail_hours(plan, hours), {digest: plan.trials[digest] for digest in hours}
    return [
        Task(
            sweep=plan.sweep,
            stage=trial.stage,
            digest=digest,
            inputs=dict(trial.inputs),
            label="it",
            hours=hours[digest],
            tail_hours=tails[digest],
        )
        for digest, trial in trials.items()
    ]


def everything(plan: Plan) -> dict[str, Task]:
    return {task.digest: task for task in tasks_for(plan, dict.fromkeys(plan.trials, 1.0))}


def wall_hours(plan: Plan, hours: Mapping[str, float], slots: int) -> float:
    return WallClock(plan, list(hours)).hours(hours, slots)


def wall_hours_of_the_frontier(plan: Plan, hours: Mapping[str, float], slots: int) -> float:
    """The same, asked of what orders the trials of a run."""
    frontier, running, now = Frontier(tasks_for(plan, hours)), list[tuple[float, str]](), 0.0
    while True:
        while len(running) < slots and (task := frontier.start()) is not None:
            heapq.heappush(running, (now + hours[task.digest], task.digest))
        if not running:
            return now
        now, digest = heapq.heappop(running)
        frontier.settle(digest, COMPLETE)


@pytest.mark.parametrize("seed", range(40))
def test_the_wall_time_is_that_of_a_run_which_the_frontier_orders(seed: int) -> None:
    """Any plan, of which any trials are there already; short hours in whole numbers, so that many chains are equal."""
    draw, plan = random.Random(seed), plan_of(seeds=6)
    names = list(plan.trials)
    trials = {
        name: replace(plan.trials[name], inputs={str(role): draw.choice(names[:at]) for role in range(min(at, 3))})
        for at, name in enumerate(names)
    }
    plan = replace(plan, trials=trials)
    hours = {name: float(draw.randint(1, 4)) for name in names if draw.random() < 0.8}
    for slots in (1, 2, 3, 8):
        assert wall_hours(plan, hours, slots) == wall_hours_of_the_frontier(plan, hours, slots)


def test_one_slot_takes_the_sum_and_many_slots_the_longest_chain() -> None:
    plan = plan_of()
    hours = by_stage(plan, source=1.0, grow=4.0, pool=2.0, measure=3.0)
    assert wall_hours(plan, hours, 1) == pytest.approx(sum(hours.values())) == pytest.approx(25.0)
    assert wall_hours(plan, hours, 100) == pytest.approx(1 + 4 + 2 + 3)


def test_two_slots_follow_the_frontier_by_hand() -> None:
    """0-1 source; 1-5 both grow; 5-7 both pool; 7-13 four measures on two slots."""
    plan = plan_of()
    hours = by_stage(plan, source=1.0, grow=4.0, pool=2.0, measure=3.0)
    assert wall_hours(plan, hours, 2) == pytest.approx(13.0)


def test_the_wall_time_keeps_its_bounds_and_shrinks_with_slots() -> None:
    plan = plan_of(seeds=5)
    priced = priced_at(plan, source=0.3, grow=2.0, pool=0.7, measure=1.1)
    decisions = decide(plan, lambda stage, digest: None)
    found = [forecast(plan, decisions, priced, slots) for slots in (1, 2, 3, 7)]
    for one in found:
        assert max(one.chain, one.share) - 1e-9 <= one.wall.middle <= one.chain + one.share
    walls = [one.wall.middle for one in found]
    assert walls == sorted(walls, reverse=True)
    assert found[0].trials == len(plan.trials)
    assert found[0].disk_gib == sure(len(plan.trials) / 2)


def test_gpu_hours_count_what_a_trial_holds() -> None:
    plan = plan_of()
    decisions = decide(plan, lambda stage, digest: None)
    held = {"grow": Resources(gpus=0.25, cpus=3), "pool": Resources(gpus="auto")}
    found = forecast(plan, decisions, prices(plan, History(Store(Path("nowhere")), []), held), 1)
    assert found.gpu_hours.middle == pytest.approx(2 * 0.001 * 0.25), "the pool computes nothing on a GPU"
    assert found.cpu_hours.middle == pytest.approx((7 + 2 * 3) * 0.001)
    assert (found.untimed, found.unsized) == (9, 9)
    assert found.hours == Interval(*(pytest.approx(9 * 0.001 * factor) for factor in (1 / 3, 1, 3)))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one toy run."""
    root = tmp_path_factory.mktemp("published")
    run_plan(plan_of(), RunContext(store=root, stages=toy.STAGES), LocalRunner(), Observer())
    return Store(root)


class Rewritten(Store):
    """The published trials, ``factor`` times as slow as estimated, on the given machines in turn."""

    def __init__(self, store: Store, ratios: list[tuple[float, str, str]]) -> None:
        super().__init__(store.root)
        self._ratios = ratios

    def published(self, stage: str | None = None):  # type: ignore[no-untyped-def]
        some = next(super().published(stage), None)
        for number, (ratio, device, machine) in enumerate(self._ratios if some is not None else []):
            host = {**some.host, "device": device, "machine": machine}
            timed = {"seconds": ratio * 3600, "estimated_hours": 1.0, "timed_on": device}
            yield replace(some, digest=f"{number:064}", host=host, **timed)


def ratio_of(store: Store, ratios: list[tuple[float, str, str]], device: str = "cpu") -> tuple[Interval, int]:
    return History(Rewritten(store, ratios), ["grow"]).ratio("grow", None, device)


def test_an_interval_is_the_quantiles_of_published_ratios(published: Store) -> None:
    here = platform.machine()
    found, timed = ratio_of(published, [(ratio, "cpu", here) for ratio in (1.0, 2.0, 3.0, 4.0, 11.0)])
    assert timed == 5
    assert found == Interval(pytest.approx(1.4), 3.0, pytest.approx(8.2))


def test_the_narrowest_class_with_three_trials_is_asked_else_the_stage(published: Store) -> None:
    here = platform.machine()
    slow = [(20.0, "cpu", "other")] * 3
    assert ratio_of(published, [*slow, *[(2.0, "cpu", here)] * 3])[0].middle == 2.0
    assert ratio_of(published, [*slow, *[(2.0, "cpu", here)] * 2])[0].middle == 20.0
    assert ratio_of(published, slow)[0] == sure(20.0)


def test_timings_on_one_kind_of_device_say_nothing_of_the_other(published: Store) -> None:
    here = platform.machine()
    mixed = [*[(20.0, "cuda", here)] * 3, (2.0, "cpu", here)]
    assert ratio_of(published, mixed) == (Interval(pytest.approx(2 / 3), 2.0, 6.0), 1)
    assert ratio_of(published, mixed, "cuda") == (sure(20.0), 3)
    assert ratio_of(published, mixed[:3]) == (Interval(1 / 3, 1.0, 3.0), 0)


def test_old_timings_of_trials_that_held_a_gpu_tell_nothing_and_those_on_a_cpu_still_do(copied: Store) -> None:
    """Their estimates were for a CPU, whatever they held."""
    manifests = list(copied.published("grow"))
    for device, timed in (("cuda", 0), ("cpu", len(manifests))):
        rewrite(copied, "grow", seconds=7200, host={"device": device}, timed_on="")
        history = History(Store(copied.root), ["grow"])
        assert (history.ratio("grow", None, "cpu")[1], history.ratio("grow", None, "cuda")[1]) == (timed, 0)


def test_few_timings_give_a_middle_and_no_confidence(published: Store) -> None:
    assert ratio_of(published, [(6.0, "cpu", "m")]) == (Interval(2.0, 6.0, 18.0), 1)
    assert ratio_of(published, []) == (Interval(1 / 3, 1.0, 3.0), 0)


def test_sizes_are_those_of_the_files(published: Store) -> None:
    (manifest, *_) = published.published("measure")
    folder = published.folder("measure", manifest.digest)
    bytes_ = sum((folder / name).stat().st_size for name in manifest.files)
    found, sized = History(published, list(toy.STAGES)).mib("measure", None, 1.0)
    assert sized == 4
    assert found.middle == pytest.approx(bytes_ / 2**20, rel=0.1)


CAPS = {
    "hours": (r"toy.yaml:6: the trials to run are forecast at 25 h, above budget.hours 24.9; raise", 24.9, 25.0),
    "gpu_hours": (r"forecast at 12.5 GPU h, above budget.gpu_hours 12", 12, 12.5),
    "wall_hours": (r"forecast at 13 h, above budget.wall_hours 12", 12, 13),
    "trials": (r"forecast at 9 trials, above budget.trials 8", 8, 9),
    "disk_gib": (r"forecast at 4.5 GiB, above budget.disk_gib 4", 4, 4.5),
}


@pytest.mark.parametrize("name", CAPS)
def test_a_forecast_above_a_cap_is_refused_and_one_at_it_is_not(tmp_path: Path, name: str) -> None:
    message, low, enough = CAPS[name]
    plan = plan_of()
    priced = priced_at(plan, gpus=0.5, source=1.0, grow=4.0, pool=2.0, measure=3.0)
    found = forecast(plan, decide(plan, lambda stage, digest: None), priced, 2)
    require_within(sweep_with(tmp_path, f"{{{name}: {enough}}}"), found, Spent())
    with pytest.raises(UserError, match=message) as caught:
        require_within(sweep_with(tmp_path, f"{{{name}: {low}}}"), found, Spent())
    assert "\n" not in str(caught.value)


def test_what_was_spent_before_counts(tmp_path: Path) -> None:
    plan = plan_of()
    priced = priced_at(plan, source=1.0, grow=4.0, pool=2.0, measure=3.0)
    found = forecast(plan, decide(plan, lambda stage, digest: None), priced, 2)
    with pytest.raises(UserError, match=r"forecast at 25 h after 6 h already spent, above budget.hours 30"):
        require_within(sweep_with(tmp_path, "{hours: 30}"), found, Spent(hours=6.0))


def test_a_budget_that_caps_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"toy.yaml:6: budget caps nothing; name one of hours, gpu_hours"):
        sweep_with(tmp_path, "{slots: 3}")


class Clock:
    """Hours that a test turns."""

    hours = 0.0

    def __call__(self) -> float:
        return self.hours * 3600


def guard_of(folder: Path, budget: str, plan: Plan, clock: Clock) -> BudgetGuard:
    stages = {digest: trial.stage for digest, trial in plan.trials.items()}
    priced = priced_at(plan, gpus=0.5, source=1.0, grow=4.0, pool=2.0, measure=3.0)
    return BudgetGuard(sweep_with(folder, budget), stages, priced, Store.create(folder / "store"), clock)


def tasks_named(plan: Plan, stage: str) -> list[Task]:
    return [task for task in everything(plan).values() if task.stage == stage]


def test_nothing_is_launched_past_the_cap(tmp_path: Path) -> None:
    plan, clock = plan_of(), Clock()
    guard = guard_of(tmp_path, "{hours: 8.5}", plan, clock)
    (source,), (one, other) = tasks_named(plan, "source"), tasks_named(plan, "grow")
    assert guard.may_start(source) is None
    guard.started(source)
    clock.hours = 0.5
    guard.ended(source)
    assert guard.may_start(one) is None
    guard.started(one)
    assert guard.may_start(other) is None  # 0.5 + 4 + 4 is the cap itself
    clock.hours = 4.6  # and now the first is 0.1 h late
    reason = guard.may_start(other)
    assert reason is not None
    assert reason.startswith(
        "grow it would take the sweep past budget.hours 8.5: 4.6 h are spent, 8.6 h with it; raise"
    )
    clock.hours = 5.5
    guard.ended(one)
    assert guard.spent.hours == pytest.approx(5.5)
    assert guard.spent.gpu_hours == pytest.approx(2.75)


@pytest.mark.parametrize(("budget", "launched"), [("{trials: 2}", 2), ("{wall_hours: 4}", 2), ("{disk_gib: 1.6}", 3)])
def test_each_cap_stops_in_its_own_unit(tmp_path: Path, budget: str, launched: int) -> None:
    plan, clock = plan_of(), Clock()
    guard = guard_of(tmp_path, budget, plan, clock)
    done = 0
    for task in [*tasks_named(plan, "measure"), *tasks_named(plan, "pool")]:
        if guard.may_start(task) is not None:
            break
        guard.started(task)
        clock.hours += 1.0
        done += 1
    assert done == launched


def test_without_a_budget_everything_may_start(tmp_path: Path) -> None:
    plan = plan_of()
    guard = guard_of(tmp_path, "null", plan, Clock())
    assert guard.may_start(tasks_named(plan, "grow")[0]) is None


def test_the_next_call_knows_what_this_sweep_paid_and_not_what_others_did(tmp_path: Path, published: Store) -> None:
    plan = plan_of()
    stages = {digest: trial.stage for digest, trial in plan.trials.items()}
    priced = priced_at(plan, gpus=0.5, source=1.0, grow=4.0, pool=2.0, measure=3.0)
    assert Payments(published, "toy").spent(stages, priced) == Spent()
    pool = tasks_named(plan, "pool")[0]
    Payments(published, "toy").launched(pool.digest)
    found = Payments(published, "toy").spent(stages, priced)
    seconds = published.manifest("pool", pool.digest).seconds
    assert (found.trials, found.hours) == (1, pytest.approx(seconds / 3600))
    assert found.gpu_hours == 0, "it was priced with half a GPU, and its manifest says that it held none"
    assert found.disk_gib > 0
    assert Payments(published, "other").spent(stages, priced) == Spent()


def rewrite(store: Store, stage: str, **changes: object) -> None:
    """Change fields of the manifests of a stage's published trials."""
    for path in (store.root / stage).glob("*/manifest.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def copied(published: Store, tmp_path: Path) -> Store:
    """The published trials, for a test that changes them."""
    return Store(shutil.copytree(published.root, tmp_path / "copied"))


def notes_on(plan: Plan, store: Store, missing: Collection[str] = ()) -> tuple[str, ...]:
    """What ``plan`` says of the store, where all but the trials of ``missing`` are published."""
    decisions = decide(plan, lambda stage, digest: None if stage in missing else ("complete", ""))
    return store_notes(plan, decisions, toy.STAGES, store)


def test_a_manifest_holds_the_hashes_of_its_source_and_a_change_is_named(copied: Store) -> None:
    plan = plan_of()
    assert notes_on(plan, copied) == ()
    manifest = next(copied.published("grow"))
    assert manifest.code == source_hashes(toy.grow)
    rewrite(copied, "grow", code={**manifest.code, "helpers/toy.py": "0" * 16})
    rewrite(copied, "pool", code=dict.fromkeys(manifest.code, "0" * 16))
    few, many = notes_on(plan, copied)
    assert few == "2 grow trials published by other code: helpers/toy.py differs"
    assert many.startswith("2 pool trials published by other code: helpers/toy.py, medsweep/accumulation.py, ")
    assert many.endswith(f" and {len(manifest.code) - 4} more differ")
    why = explain(manifest.digest, copied)
    assert why.changed_files == ("helpers/toy.py",)
    assert {decision.action for decision in decide_checked(plan, copied, Observer()).values()} == {"reuse"}


def test_a_manifest_from_before_hashes_were_kept_is_read_and_says_nothing(copied: Store) -> None:
    for path in (copied.root / "grow").glob("*/manifest.json"):
        path.write_text(
            json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "code"})
        )
    assert [manifest.code for manifest in copied.published("grow")] == [{}, {}]
    assert notes_on(plan_of(), copied) == ()


def test_trials_of_another_stage_version_are_named_where_some_are_to_run(copied: Store) -> None:
    rewrite(copied, "grow", version=7)
    assert notes_on(plan_of(), copied) == ()
    assert notes_on(plan_of(), copied, missing=("grow", "pool", "measure")) == (
        "store holds 2 grow trials of version 7; version 1 is needed, so they are not reused",
    )


@pytest.mark.parametrize("line", ['{"dig', json.dumps({"digest": "ab", "of a later version": 1})])
def test_a_kept_plan_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "a.jsonl").write_text(f"{line}\n")
    with pytest.raises(UserError, match=r"a\.jsonl cannot be read .* medsweep plan makes it anew"):
        planned_sweeps(Store(tmp_path))


def test_a_kept_plan_that_is_no_text_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "toy.jsonl").write_bytes(b"\xff\xfe\0\n")
    write_index(plan_of(), Store(tmp_path), grows=True)
    assert list(planned_sweeps(Store(tmp_path))["toy"]) == list(plan_of().trials)


def test_the_beginning_of_several_planned_trials_names_none_of_them(tmp_path: Path) -> None:
    digests = ["ab" * 32, "ac" * 32]
    rows = [{"stage": "grow", "digest": one, "config": {}, "reads": {}, "inputs": {}} for one in digests]
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert explain("ac", Store(tmp_path)).trial.digest == digests[1]
    with pytest.raises(UserError, match="a is the beginning of 2 digests; give more digits"):
        explain("a", Store(tmp_path))
