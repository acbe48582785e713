"""Why a synthetic arm costs what it costs: levels, ladder and lattice as contrasts of arms, and the verdict on them."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from medsweep.analysis.records import Estimate
from medsweep.analysis.study.contrasts import ContrastTest, ContrastTester, Weights
from medsweep.analysis.study.mechanisms.causes import CauseVerdict, Costs, decide
from medsweep.analysis.study.mechanisms.instruments import Diagnosed, Instruments, diagnosed, instruments_of
from medsweep.analysis.study.mechanisms.laws import Delivery, delivery_of
from medsweep.analysis.study.mechanisms.portions import Portion, SecondOpinion, portion, second_opinions
from medsweep.mechanism import ALL_CAUSES, CAUSES, CELLS, Cause, Mechanism, at_dose, cell_of

SHAPLEY: Final = {size: math.factorial(size) * math.factorial(2 - size) / math.factorial(3) for size in (0, 1, 2)}
"""Weight of a cell by how many of its causes are on, for the step that turns on one more."""
QUESTIONS: Final = ("levels", "lower", "ladder", "shares", "added", "removed", "joint", "interactions", "unexplained")
"""Each a family of its own."""


@dataclass(frozen=True)
class MechanismStudy:
    """The contrasts by question, what dead arms took away, and the verdict."""

    arms: Mechanism
    tests: Mapping[str, tuple[ContrastTest, ...]]
    """By question, in the order of ``QUESTIONS``; empty where its arms are not there."""
    costs: Costs
    verdict: CauseVerdict
    lost: tuple[str, ...]
    """Questions left out since an arm of them is dead."""
    delivery: Delivery | None
    """Doses of the laws in the cells; None where no law is measured."""
    instruments: Instruments
    network: tuple[Diagnosed, ...]
    """What the diagnose stage found in the networks of the arms; empty where it did not run."""
    portions: Mapping[Cause, Portion]
    """Shares as parts of the shortfall; empty where that is not shown."""
    second: tuple[SecondOpinion, ...]


def mechanism_of(
    arms: Mechanism, tester: ContrastTester, pools: pd.DataFrame, diagnosis: pd.DataFrame
) -> MechanismStudy:
    """All contrasts on the primary metric, doses and instruments as far as they are measured, and what they come to.

    Args:
        arms: the section of the sweep.
        tester: of contrasts of these arms.
        pools: measures of the arms' pools, as in ``analyse``.
        diagnosis: what the diagnose stage found, as in ``WhyAsked``.
    """
    reduced, level = tester.reduced, tester.level
    asked = questions(arms, tester.control, higher_is_better=reduced.metric.higher_is_better)
    lost = tuple(name for name, family in asked.items() if any(map(tester.loses, family.values())))
    # levels do without each other, the steps of a sum do not
    tests = {
        name: () if name in lost and name not in ("levels", "lower") else tester.family(family)
        for name, family in asked.items()
    }
    costs = costs_by_question(
        {question: {test.name: test.estimate for test in family} for question, family in tests.items()},
        one_run=any(test.test.conditional for family in tests.values() for test in family),
        runs=reduced.seeds * len(reduced.folds),
    )
    delivery, instruments = delivery_of(pools, arms), instruments_of(pools, diagnosis, arms.explain, level)
    return MechanismStudy(
        arms,
        tests,
        costs,
        verdict=decide(costs, delivery, instruments, tester.rules.margin),
        lost=lost,
        delivery=delivery,
        instruments=instruments,
        portions=_portions(asked, costs, tester),
        second=second_opinions(arms, costs.ladder, costs.shares, costs.joint),
        network=diagnosed(diagnosis, _diagnosed_arms(arms), level),
    )


def _diagnosed_arms(arms: Mechanism) -> list[str]:
    named = [arm for _, arm in arms.places()]
    return list(dict.fromkeys([*named, *arms.at_lower_doses(arms.explain)]))


def _portions(asked: Mapping[str, Mapping[str, Weights]], costs: Costs, tester: ContrastTester) -> dict[Cause, Portion]:
    """Of the shortfall, where it is shown."""
    whole = costs.levels.get("shortfall")
    if whole is None or not whole.low > 0 or not costs.shares:
        return {}
    minus = {arm: -weight for arm, weight in asked["levels"]["shortfall"].items()}
    family = tester.family({name: _sum(one, minus) for name, one in asked["shares"].items()})
    rests = {test.name: test.estimate for test in family}
    found = {cause: portion(share, whole, rests[cause]) for cause, share in costs.shares.items() if cause in rests}
    return {cause: one for cause, one in found.items() if one is not None}


def questions(arms: Mechanism, control: str, *, higher_is_better: bool = True) -> dict[str, dict[str, Weights]]:
    """Weights of arms for every question that the arms can answer, such that a positive value is a cost."""
    levels = {"harm": arms.exposure, "shortfall": arms.ceiling, "net cost": control}
    found: dict[str, dict[str, Weights]] = {question: {} for question in QUESTIONS}
    found["levels"] = {name: {better: 1.0, arms.explain: -1.0} for name, better in levels.items() if better is not None}
    for worse, dose in arms.at_lower_doses(arms.explain).items():
        for name, better in levels.items():
            if better is not None:
                as_many = better if better == control else at_dose(better, dose)
                found["lower"][f"{name} at {dose}"] = {as_many: 1.0, worse: -1.0}
    found["ladder"] = {f"{a} to {b}": {a: 1.0, b: -1.0} for a, b in itertools.pairwise(arms.ladder)}
    if arms.lattice and arms.ceiling is not None:
        cells = {(): arms.ceiling, **{causes: arms.lattice[cell] for cell, causes in CELLS.items()}}
        found |= _lattice(cells)
        found["unexplained"] = {"unexplained": {arms.lattice[ALL_CAUSES]: 1.0, arms.explain: -1.0}}
    sign = 1.0 if higher_is_better else -1.0
    return {
        question: {name: {arm: sign * weight for arm, weight in one.items()} for name, one in family.items()}
        for question, family in found.items()
    }


def _lattice(cells: Mapping[tuple[Cause, ...], str]) -> dict[str, dict[str, Weights]]:
    """What eight cells tell; ``cells`` maps the causes that are on to an arm."""
    shares: dict[str, Weights] = {cause: _share(cause, cells) for cause in CAUSES}
    pairs = list(itertools.combinations(CAUSES, 2))
    joint = {cell_of(pair): _sum(*(shares[cause] for cause in pair)) for pair in pairs}
    joint[ALL_CAUSES] = {cells[()]: 1.0, cells[CAUSES]: -1.0}
    return {
        "shares": shares,
        "added": {cause: {cells[()]: 1.0, cells[cause,]: -1.0} for cause in CAUSES},
        "removed": {cause: {cells[_without(cause)]: 1.0, cells[CAUSES]: -1.0} for cause in CAUSES},
        "joint": joint,
        # the cost of one where the other is off, minus its cost where the other is on
        "interactions": {
            cell_of(pair): {cells[()]: 1.0, cells[pair[:1]]: -1.0, cells[pair[1:]]: -1.0, cells[pair]: 1.0}
            for pair in pairs
        },
    }


def _share(cause: Cause, cells: Mapping[tuple[Cause, ...], str]) -> Weights:
    """Mean cost of turning the cause on over all orders in which the three can be turned on."""
    parts = []
    for off, arm in cells.items():
        if cause not in off:
            on = tuple(one for one in CAUSES if one in off or one == cause)
            parts.append({arm: SHAPLEY[len(off)], cells[on]: -SHAPLEY[len(off)]})
    return _sum(*parts)


def _sum(*parts: Weights) -> Weights:
    arms = dict.fromkeys(arm for part in parts for arm in part)
    total = {arm: math.fsum(part.get(arm, 0.0) for part in parts) for arm in arms}
    return {arm: weight for arm, weight in total.items() if abs(weight) > 1e-12}


def _without(cause: Cause) -> tuple[Cause, ...]:
    return tuple(one for one in CAUSES if one != cause)


def costs_by_question(found: Mapping[str, Mapping[str, Estimate]], *, one_run: bool, runs: int) -> Costs:
    """The record of costs from the estimates of each question, by the names that ``questions`` gives them."""

    def by_cause(question: str) -> dict[Cause, Estimate]:
        return {cause: found[question][cause] for cause in CAUSES if cause in found[question]}

    return Costs(
        levels=found["levels"],
        ladder=found["ladder"],
        shares=by_cause("shares"),
        added=by_cause("added"),
        removed=by_cause("removed"),
        joint=found["joint"],
        interactions=found["interactions"],
        unexplained=found["unexplained"].get("unexplained"),
        one_run=one_run,
        runs=runs,
    )
