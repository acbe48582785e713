"""What ``medsweep best`` shows of a search: the best suggestions, what mattered, and the history as a table."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from pydantic_core import to_jsonable_python
from rich.table import Column, Table

from medsweep.search.results import TEST, Result, mean_score, shortfall
from medsweep.search.sampler import best_of, importances, ranking
from medsweep.study.search_loop import Search, State
from medsweep.sweep.space import HOURS, SearchSection
from medsweep.trial import COMPLETE

SHOWN: Final = 10
"""Results in the table, beside the Pareto front."""
ENOUGH: Final = 20
"""Measured results below which importances say more about chance than about the fields."""
FAIR: Final = (
    "Suggestions were chosen by validation patients alone, so the test score beside a winner is not flattered by the "
    "choice; that of the best by test score would be."
)


def best_table(search: Search, state: State) -> Table:
    """The best results: objectives with n, constraints, values of the searched fields, and the test score beside."""
    section, results = search.section, state.told
    metric = next((objective.metric for objective in section.objectives if objective.metric != HOURS), None)
    front = set(best_of(section, search.points.space, results))
    measured = [name if name == HOURS else f"validation {name}" for name in section.metrics]
    heads = [*measured, "n", *([f"test {metric}"] if metric else []), *search.points.space]
    table = Table("", "arm", *(Column(head, justify="right") for head in heads), box=None, pad_edge=False)
    for number in ranking(section, search.points.space, results)[: max(SHOWN, len(front))]:
        result = results[number]
        tested = [_tested(search, state, result.name, metric)] if metric else []
        scores = [_shown(result.metrics[name]) for name in section.metrics]
        values = [_shown(result.params[at]) if at in result.params else "-" for at in search.points.space]
        table.add_row("best" if number in front else "", result.name, *scores, str(result.replicates), *tested, *values)
    return table


def _tested(search: Search, state: State, arm: str, metric: str) -> str:
    """The test score, or that the trial is no longer in the store; what the search was told stands without it."""
    leaves = {leaf: state.plan.trials[leaf].stage for leaf in state.plan.leaves_of(arm)}
    if len(search.store.present((stage, leaf) for leaf, stage in leaves.items())) < len(leaves):
        return "gone"
    return _shown(mean_score(state.plan, search.store, arm, metric, TEST))


def sentences(search: Search, state: State) -> list[str]:
    """How far the search is, what has no result and why, what mattered, and why the choice is fair."""
    infeasible = sum(result.outcome == COMPLETE and not result.feasible for result in state.told)
    lines = [f"{len(state.results)} of {search.section.suggestions} suggestions are settled"]
    if state.fixed:
        lines[0] += f", after {len(state.fixed)} arm(s) of the sweep that lie in the space"
    if infeasible:
        lines.append(f"{infeasible} broke a constraint and cannot be best")
    lines += [
        f"{result.name}: {result.outcome}; {result.message}" for result in state.told if result.outcome != COMPLETE
    ]
    if search.is_settled(state) and (why := shortfall(search.section, state.results)):
        lines.append(why)
    return [*lines, importance_sentence(search, state), FAIR]


def progress_sentence(search: Search) -> str:
    """How far a search is, before later suggestions are known and can be priced."""
    state = search.forward()
    return (
        f"search: {len(state.results)} of {search.section.suggestions} suggestions have results, "
        f"{len(state.suggestions)} are planned; later ones follow from their results and are not priced here"
    )


def status_lines(search: Search) -> list[str]:
    """How far a search is, and which suggestions failed for good; no later run tries these by itself."""
    state = search.forward()
    return [
        f"search: {len(state.results)} of {search.section.suggestions} suggestions have results",
        *(
            f"{event.outcome}: {name}: {event.message}; told to the sampler as failed, medsweep retry tries it again"
            for name, event in state.failed.items()
        ),
    ]


def importance_sentence(search: Search, state: State) -> str:
    """Which fields set the best results apart, where enough are measured to say."""
    measured = sum(result.outcome == COMPLETE for result in state.told)
    if measured < ENOUGH:
        return f"importance of the fields: {measured} measured results are too few to say; {ENOUGH} are needed"
    if len(search.points.space) == 1:
        return "importance of the fields: only one is searched"
    shares = importances(search.section, search.points.space, state.told)
    listed = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    return f"importance of the fields for {search.section.objectives[0].metric} (PED-ANOVA): {listed}"


def history(search: Search, state: State) -> pd.DataFrame:
    """A row per result: arm, outcome, feasible, value (the first objective), best so far, all means
    over replicates, n, and the searched fields."""
    metrics, sign = search.section.metrics, _sign(search.section)
    rows = [_row(result, metrics) for result in state.told]
    table = pd.DataFrame(rows, columns=["arm", "outcome", "feasible", "value", "n", *metrics, *search.points.space])
    losses = (sign * table["value"].astype(float)).where(table["feasible"].astype(bool), np.nan)
    table.insert(4, "best", (sign * losses.cummin()).ffill())
    return table


def _row(result: Result, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "arm": result.name,
        "outcome": result.outcome,
        "feasible": result.feasible,
        "value": result.values[0] if result.values else math.nan,
        "n": result.replicates,
        **{name: result.metrics.get(name, math.nan) for name in metrics},
        **{
            name: value if value is None or isinstance(value, str | int | float) else str(to_jsonable_python(value))
            for name, value in result.params.items()
        },
    }


def _sign(section: SearchSection) -> float:
    return -1.0 if section.objectives[0].goal == "maximise" else 1.0


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
