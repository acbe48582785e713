"""Plans: sharing, decisions, prices; without Ray and without a store."""

import time
from pathlib import Path

import pytest

from helpers import toy
from medsweep.data.folds import Fold
from medsweep.planning.cost import stage_costs
from medsweep.planning.forecast import History, prices
from medsweep.store.store import Store
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Builder, Plan, build, decide


def arm(name: str, *, count: int = 0, rate: float = 1.0, scale: float = 1.0) -> Arm:
    settings = toy.Settings(grow=toy.GrowSection(rate=rate), measure=toy.MeasureSection(count=count, scale=scale))
    return Arm(name, {"measure.count": count}, settings, is_control=count == 0)


def make(*arms: Arm, largest: int = 8, seeds: int = 2, folds: int = 1) -> Plan:
    where = [Replicate(Fold(index=fold, of=max(2, folds)), seed) for fold in range(folds) for seed in range(seeds)]
    return build("toy", arms=arms, replicates=where, stages=toy.STAGES, expand=toy.expand_with(largest))


def of_stage(plan: Plan, stage: str) -> list[str]:
    return [digest for digest, trial in plan.trials.items() if trial.stage == stage]


def test_doses_share_generator_and_pool() -> None:
    plan = make(arm("real"), arm("a", count=2), arm("b", count=4), arm("c", count=8))
    counts = {stage: len(of_stage(plan, stage)) for stage in toy.STAGES}
    assert counts == {"source": 1, "grow": 2, "pool": 2, "measure": 8}
    assert plan.naive_counts() == {"source": 8, "grow": 6, "pool": 6, "measure": 8}


def test_a_larger_pool_leaves_the_digests_of_smaller_doses_alone() -> None:
    small, large = make(arm("real"), arm("a", count=2), largest=2), make(arm("real"), arm("a", count=2), largest=64)
    assert set(of_stage(small, "measure")) == set(of_stage(large, "measure"))
    assert not set(of_stage(small, "pool")) & set(of_stage(large, "pool"))
    leaf = large.leaves["a", large.replicates[0]]
    assert large.trials[leaf].inputs["pool"] in of_stage(large, "pool")


def test_a_factor_changes_only_the_stages_that_read_it() -> None:
    plain, scaled = make(arm("real"), arm("a", count=2)), make(arm("real"), arm("a", count=2, scale=3.0))
    for stage in ("source", "grow", "pool"):
        assert of_stage(plain, stage) == of_stage(scaled, stage)
    assert of_stage(plain, "measure") != of_stage(scaled, "measure")


def test_inputs_stand_before_their_readers() -> None:
    plan = make(arm("real"), arm("a", count=2), arm("b", count=4, rate=2.0))
    seen: set[str] = set()
    for digest, trial in plan.trials.items():
        assert set(trial.inputs.values()) <= seen
        seen.add(digest)


def test_trials_know_the_arms_they_serve() -> None:
    plan = make(arm("real"), arm("a", count=2), arm("b", count=4))
    serves = plan.serves()
    assert serves[of_stage(plan, "source")[0]] == ("real", "a", "b")
    assert serves[of_stage(plan, "grow")[0]] == ("a", "b")
    assert serves[plan.leaves["b", plan.replicates[0]]] == ("b",)


def test_nothing_published_runs_everything() -> None:
    plan = make(arm("real"), arm("a", count=2))
    assert {decision.action for decision in decide(plan, lambda stage, digest: None).values()} == {"run"}


def test_published_trials_are_reused_and_what_only_they_read_is_skipped() -> None:
    plan = make(arm("real"), arm("a", count=2))
    leaves = set(plan.leaves.values())
    decisions = decide(plan, lambda stage, digest: ("complete", "") if digest in leaves else None)
    assert {decisions[digest].action for digest in leaves} == {"reuse"}
    assert {decisions[digest].action for digest in plan.trials if digest not in leaves} == {"skip"}


def test_a_diverged_input_blocks_its_descendants_only() -> None:
    plan = make(arm("real"), arm("a", count=2))
    bad = of_stage(plan, "grow")[0]
    decisions = decide(plan, lambda stage, digest: ("diverged", "nan at step 3") if digest == bad else None)
    assert decisions[bad].message == "nan at step 3"
    blocked = [digest for digest, decision in decisions.items() if decision.action == "blocked"]
    assert sorted(plan.trials[digest].stage for digest in blocked) == ["measure", "pool"]
    assert all(bad in plan.ancestry(digest) for digest in blocked)
    assert sum(decision.action == "run" for decision in decisions.values()) == len(plan.trials) - 3


def test_accounts_add_up(tmp_path: Path) -> None:
    plan = make(arm("real"), arm("a", count=2), arm("b", count=4))
    history = History(Store.create(tmp_path), list(toy.STAGES))
    decisions = decide(plan, lambda stage, digest: None)
    rows = stage_costs(plan, decisions, list(toy.STAGES), prices(plan, history, {}))
    assert sum(row.trials for row in rows) == len(plan.trials)
    grow = next(row for row in rows if row.stage == "grow")
    assert (grow.hours_each, grow.hours.middle, grow.timed) == (0.001, 0.002, 0)
    assert (grow.hours.low, grow.hours.high) == pytest.approx((0.002 / 3, 0.006))


def test_ten_thousand_trials_are_planned_in_moments() -> None:
    arms = [arm("real"), *(arm(f"{n}", count=1 + n % 5, rate=1.0 + n // 5) for n in range(300))]
    begun = time.process_time()
    plan = make(*arms, seeds=5, folds=5)
    decide(plan, lambda stage, digest: None)
    assert len(plan.trials) > 10_000
    assert time.process_time() - begun < 60, "usually 3 s; what is quadratic takes minutes"


def test_what_arms_share_is_worked_out_once_and_asked_for_by_each() -> None:
    builder, made = Builder(toy.STAGES), []

    def make() -> str:
        made.append(len(made))
        origin = builder.add("source", toy.SourceConfig())
        return builder.add("measure", toy.MeasureConfig(fold=0, seed=0), {"source": origin})

    first, second = (builder.once("control", make) for _ in range(2))
    assert (first, made) == (second, [0])
    assert builder.asked == [*builder.trials] * 2
    builder.once("other", make)
    assert made == [0, 1]
