"""A look at growing data: at which level it is analysed, who has no verdict yet, and how the report says it."""

import pytest

from helpers.simulated_results import CONTROL, eight_arms, simulate
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.report.design import rules_paragraph
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.sequential import looks_of
from medsweep.analysis.study.across import across_datasets
from medsweep.analysis.study.analyse import Analysis, analyse
from medsweep.analysis.study.dead import DeadArm
from medsweep.analysis.study.looks import rules_at, undecided
from medsweep.analysis.study.wording import percent
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.user_table import NO_POOLS

LOOKS = looks_of((3, 6, 9), 0.05, "pocock")
SHIFTS = {"b-sg, 8 patients": 0.05, "b-sg, 32 patients": -0.05, "mc-sg, 8 patients": 0.012}


def inconclusive(analysis: Analysis) -> tuple[str, ...]:
    return tuple(answer.arm for answer in analysis.answers if answer.verdict == Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(("folds", "margin"), [(1, 0.01), (4, 0.006)])
def test_the_undecided_are_those_that_the_report_calls_inconclusive(folds: int, margin: float) -> None:
    rules, arms = AnalysisRules(margin=margin), eight_arms()
    table = simulate(arms, SHIFTS, folds=folds, seeds=3, seed=2)
    dead = (DeadArm(arms[-1].name, "no network"),)
    told = analyse(table, NO_POOLS, rules, arms=arms, dead=dead, look=LOOKS[0])
    found = undecided(table, rules_at(rules, LOOKS[0]), arms, dead, None)
    assert found == inconclusive(told)
    assert 0 < len(found) < len(arms) - 2
    assert arms[-1].name not in found
    assert CONTROL not in found


def test_contrasts_need_a_verdict_too_and_effects_of_a_factorial_instead_of_arms() -> None:
    arms = tuple(
        ArmInfo(f"{a}{b}", {"gan.pipeline": a, "segment.min_iou": b}, 4, None, control=(a, b) == ("x", 0))
        for a in ("x", "y")
        for b in (0, 1)
    )
    table = simulate(arms, {"y0": 0.05, "y1": 0.05}, seeds=3, run_sd=0.006)
    rules = AnalysisRules(margin=0.004, contrasts={"ladder": {"y1": 1.0, "y0": -1.0}})
    told = analyse(table, NO_POOLS, rules, arms=arms, look=LOOKS[0])
    found = undecided(table, rules_at(rules, LOOKS[0]), arms, (), None)
    assert set(found) == {*inconclusive(told), "ladder"}
    assert inconclusive(told) == ("x1",)
    factorial = rules.model_copy(update={"kind": "factorial", "contrasts": {}})
    told = analyse(table, NO_POOLS, factorial, arms=arms, look=LOOKS[0])
    effects = [one.name for one in told.contrasts if one.verdict == Verdict.INCONCLUSIVE]
    assert list(undecided(table, rules_at(factorial, LOOKS[0]), arms, (), None)) == effects
    assert 0 < len(effects) < len(told.contrasts)


@pytest.mark.parametrize(("seeds", "few"), [(1, True), (2, True), (3, False)])
def test_a_look_at_networks_that_cannot_judge_a_method_ends_nothing(seeds: int, few: bool) -> None:
    arms = eight_arms()[:3]
    table = simulate(arms, dict.fromkeys((arm.name for arm in arms[1:]), 0.1), seeds=seeds)
    told = analyse(table, NO_POOLS, AnalysisRules(), arms=arms)
    assert {answer.verdict for answer in told.answers} == {Verdict.SUPERIOR}
    expected = tuple(arm.name for arm in arms[1:]) if few else ()
    assert undecided(table, AnalysisRules(), arms, (), None) == expected


def test_a_look_goes_on_without_a_contrast_of_a_dead_arm() -> None:
    arms = eight_arms()[:4]
    control, *others = (arm.name for arm in arms)
    contrasts = {"lost": {others[0]: 1.0, others[2]: -1.0}, "left": {others[0]: 1.0, others[1]: -1.0}}
    rules, table = AnalysisRules(margin=0.0001, contrasts=contrasts), simulate(arms, {}, seeds=3)
    dead = (DeadArm(others[2], "no network"),)
    assert control == CONTROL
    assert set(undecided(table, rules, arms, dead, None)) == {others[0], others[1], "left"}


def test_a_look_is_analysed_at_its_own_level_and_says_so() -> None:
    arms = eight_arms()[:2]
    table = simulate(arms, {}, seeds=3)
    first = analyse(table, NO_POOLS, AnalysisRules(), arms=arms, look=LOOKS[0])
    assert first.look == LOOKS[0]
    assert first.rules.alpha == first.look.alpha < 0.05
    assert first.answers[0].estimate.level == pytest.approx(1 - LOOKS[0].alpha)
    assert "look 1 of 3, at 3 of at most 9 seeds" in first.scope
    assert "at alpha 0.023" in first.scope
    assert "3 looks were planned" in rules_paragraph(first)
    assert "nominal level 0.023 of 0.05" in rules_paragraph(first)
    alone = analyse(table, NO_POOLS, AnalysisRules(), arms=arms)
    assert alone.look is None
    assert "look" not in alone.scope + rules_paragraph(alone)
    assert alone.rules.alpha == 0.05


def test_data_sets_that_stopped_at_different_looks_combine_at_the_level_of_all_looks() -> None:
    arms, analyses = eight_arms()[:2], []
    for name, look in zip(("a", "b"), LOOKS, strict=False):
        table = simulate(arms, {}, seeds=3).assign(dataset=name)
        analyses.append(analyse(table, NO_POOLS, AnalysisRules(), arms=arms, look=look))
    assert analyses[0].rules.alpha != analyses[1].rules.alpha
    assert across_datasets(analyses).rules.alpha == 0.05


@pytest.mark.parametrize(
    ("alpha", "text"),
    [(0.05, "95%"), (0.0157, "98.43%"), (1.5e-5, "99.9985%"), (1.08e-6, "99.99989%"), (1e-8, "99.999999%")],
)
def test_no_level_below_one_reads_as_a_hundred_percent(alpha: float, text: str) -> None:
    assert percent(1 - alpha) == text
    assert percent(1.0) == "100%"
