"""Suggestions of Optuna, and what is best of their results."""

import math
import statistics
from collections.abc import Callable, Sequence

import pytest

from medsweep.search.results import Result, shortfall
from medsweep.search.sampler import ask, best_of, importances
from medsweep.sweep.space import Choices, Objective, Params, Range, SearchSection, Space

BATCH = 8
SPACE: Space = {"x": Range(low=0, high=1), "y": Range(low=0.001, high=1, log=True)}


def section(sampler: str = "tpe", *metrics: str, seed: int = 0) -> SearchSection:
    goals = {"dice": "maximise", "hours": "minimise"}
    objectives = tuple(Objective(metric=name, goal=goals[name]) for name in metrics or ("hours",))  # type: ignore[arg-type]
    return SearchSection(
        sampler=sampler, suggestions=40, batch=BATCH, seed=seed, objectives=objectives, space={"x": []}
    )  # type: ignore[arg-type]


def searched(wanted: SearchSection, values: Callable[[Params], Result]) -> list[Result]:
    results: list[Result] = []
    while len(results) < wanted.suggestions:
        results += [values(point) for point in ask(wanted, SPACE, results, BATCH)]
    return results


def bowl(point: Params) -> Result:
    return Result("", point, "complete", values=((point["x"] - 0.3) ** 2 + (math.log10(point["y"]) + 1) ** 2,))


def mixed(point: Params) -> Result:
    """Two objectives, a constraint, and points that were stopped or failed."""
    if point["x"] < 0.1:
        return Result("", point, "pruned" if point["y"] > 0.05 else "failed")
    return Result("", point, "complete", "", (point["x"], point["y"] + point["x"] ** 2), {"hours": point["x"] - 0.8})


def test_tpe_beats_random_on_a_quadratic() -> None:
    found = {
        sampler: statistics.median(
            min(result.values[0] for result in searched(section(sampler, seed=seed), bowl)) for seed in range(10)
        )
        for sampler in ("tpe", "random")
    }
    assert found["tpe"] < 0.5 * found["random"], found


def test_a_gaussian_process_finds_the_bowl_in_few_suggestions() -> None:
    few = {"suggestions": 20}
    found = {
        sampler: min(result.values[0] for result in searched(section(sampler).model_copy(update=few), bowl))
        for sampler in ("gp", "random")
    }
    assert found["gp"] < 0.2 * found["random"], found


def test_an_evolution_strategy_closes_in_on_the_bowl() -> None:
    found = {
        sampler: statistics.median(
            min(result.values[0] for result in searched(section(sampler, seed=seed), bowl)) for seed in range(10)
        )
        for sampler in ("cma-es", "random")
    }
    assert found["cma-es"] < 0.5 * found["random"], found


def test_an_evolution_strategy_keeps_to_constraints_and_to_steps() -> None:
    space: Space = {"count": Range(low=2, high=40, step=2, whole=True), "x": Range(low=0, high=1)}
    wanted, results = section("cma-es"), list[Result]()
    while len(results) < 60:
        results += [
            Result("", point, "complete", values=(-point["x"],), excess={"hours": point["x"] - 0.5})
            for point in ask(wanted, space, results, 6)
        ]
    assert all(space[name].holds(value) for each in results for name, value in each.params.items())
    late = [each.params["x"] for each in results[-12:]]
    assert max(late) < 0.6, "the best that keeps the bound is at 0.5"
    assert statistics.median(late) > 0.4


CONDITIONAL: Space = {
    "family": Choices(values=("a", "b", "c")),
    "kind": Choices(values=("p", "q"), when={"family": ("b", "c")}),
    "x": Range(low=0, high=1, when={"kind": ("q",)}),
    "y": Range(low=0.001, high=1, log=True),
}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_field_is_suggested_only_where_its_condition_holds(sampler: str) -> None:
    wanted, results = section(sampler), list[Result]()
    while len(results) < 40:
        results += [
            Result("", point, "complete", values=(point.get("x", 1.0) + (point["family"] != "b"),))
            for point in ask(wanted, CONDITIONAL, results, BATCH)
        ]
    points = [each.params for each in results]
    shapes = {tuple(point) for point in points}
    assert shapes == {("family", "y"), ("family", "kind", "y"), ("family", "kind", "x", "y")}
    for point in points:
        assert ("kind" in point) == (point["family"] in ("b", "c"))
        assert ("x" in point) == (point.get("kind") == "q")
    assert ask(wanted, CONDITIONAL, results[:16], 8) == points[16:24]
    if sampler == "tpe":
        low = [point["x"] for point in points[24:] if "x" in point and point["family"] == "b"]
        assert len(low) >= 6, "chance alone brings 3"
        assert max(low) < 0.7, "it learns of the field where it is, too"
    assert best_of(wanted, CONDITIONAL, results) == [min(range(40), key=lambda n: results[n].values[0])]


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "random", "nsga2"])
def test_suggestions_follow_from_the_results_alone(sampler: str) -> None:
    wanted = section(sampler, "dice", "hours")
    results = searched(wanted, mixed)
    assert len({each.outcome for each in results}) == 3
    for first in (0, 8, 24):
        assert ask(wanted, SPACE, results[:first], 8) == [each.params for each in results[first : first + 8]]
    assert ask(wanted.model_copy(update={"seed": 1}), SPACE, results[:8], 8) != [each.params for each in results[8:16]]
    changed = [Result("", each.params, "complete", values=(1 - each.params["x"], 1.0)) for each in results[:24]]
    assert (ask(wanted, SPACE, changed, 8) == ask(wanted, SPACE, results[:24], 8)) == (sampler == "random")


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_suggestions_know_of_those_that_are_still_open(sampler: str) -> None:
    wanted = section(sampler, "dice")
    results = [Result("", each.params, "complete", values=(each.params["x"],)) for each in searched(section(), bowl)]
    one = ask(wanted, SPACE, results, 1, draw=40)
    again = ask(wanted, SPACE, results, 1, pending=one, draw=40)
    assert ask(wanted, SPACE, results, 1, pending=one, draw=40) == again
    assert (again == one) == (sampler == "random")
    assert ask(wanted, SPACE, results, 1, pending=one, draw=41) != again


def test_nsga2_breeds_from_earlier_generations() -> None:
    def repeated(results: Sequence[Result]) -> int:
        early = {each.params["x"] for each in results[:16]}
        return sum(each.params["x"] in early for each in results[16:])

    assert repeated(searched(section("nsga2", "dice", "hours"), mixed)) >= 5
    assert repeated(searched(section("random", "dice", "hours"), mixed)) == 0


def test_the_best_are_feasible_and_undominated() -> None:
    wanted = section("random", "dice", "hours")
    results = searched(wanted, mixed)
    front = [results[number] for number in best_of(wanted, SPACE, results)]
    feasible = [each for each in results if each.feasible]
    assert 0 < len(front) < len(feasible) < len(results)
    for each in feasible:
        better = [b for b in front if b.values[0] >= each.values[0] and b.values[1] <= each.values[1]]
        assert better, each
    single = section("random", "dice")
    results = [Result("", point.params, "complete", values=(point.params["x"],)) for point in results]
    assert importances(single, SPACE, results)["x"] > 0.6
    best = best_of(single, SPACE, results)
    assert [results[number].params["x"] for number in best] == [max(each.params["x"] for each in results)]


def test_values_are_read_back_as_the_sweep_writes_them() -> None:
    space: Space = {
        "kind": Choices(values=("a", [1, 2], None)),
        "share": Range(low=0.0, high=0.9, step=0.1),
        "count": Range(low=2, high=20, step=2, whole=True),
    }
    points = ask(section("random"), space, [], 30)
    assert {repr(point["kind"]) for point in points} == {"'a'", "[1, 2]", "None"}
    assert all(round(point["share"], 1) == point["share"] for point in points)
    assert all(type(point["count"]) is int and point["count"] % 2 == 0 for point in points)
    assert all(space[name].holds(value) for point in points for name, value in point.items())
    assert not space["share"].holds(0.25)
    assert not space["kind"].holds([2, 1])


def test_a_search_without_any_measured_suggestion_tells_how_all_of_them_ended() -> None:
    none = shortfall(section(), [Result("a", {}, "diverged"), Result("b", {}, "killed"), Result("c", {}, "diverged")])
    assert "none of 3 suggestions could be measured: 2 diverged, 1 killed" in none
