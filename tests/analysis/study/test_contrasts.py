"""Contrasts of arms: what a factorial finds, what is refused, and the sentence on top."""

import itertools

import numpy as np
import pandas as pd
import pytest

from medsweep.analysis.factors.design import CROSS
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.analyse import analyse, analyse_table
from medsweep.analysis.study.contrasts import factorial_effects
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.user_table import NO_POOLS
from medsweep.errors import UserError

REPAIRS = ("text.labels", "text.look", "text.variety")
CELLS = list(itertools.product((0, 1), repeat=3))
FACTORIAL = AnalysisRules(kind="factorial", margin=0.005)
INTERACTION = f"text.labels {CROSS} text.look"


def cell_name(cell):
    return f"cell {''.join(map(str, cell))}"


def infos():
    cells = [ArmInfo(cell_name(cell), dict(zip(REPAIRS, cell, strict=True))) for cell in CELLS]
    return [ArmInfo("real", {}, control=True), *cells]


def table(seed, *, cause=0.01, seeds=5, patients=40, run_sd=0.006):
    """A 2^3 factorial of repairs beside a control; the first repair mends ``cause``."""
    rng = np.random.default_rng(seed)
    patient = rng.normal(0.6, 0.08, patients)
    rows = []
    for arm in infos():
        gain = cause * float(arm.levels.get("text.labels", 0)) - cause
        own = rng.normal(0, 0.01, patients)
        for run in range(seeds):
            scores = patient + own + gain + rng.normal(0, run_sd) + rng.normal(0, 0.02, patients)
            rows += [("d", arm.name, 0, run, f"p{i:02d}", "all", "dice", score, "ok") for i, score in enumerate(scores)]
    columns = ["dataset", "arm", "fold", "seed", "patient", "class", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns)


def effects(seed, **settings):
    found = analyse(table(seed, **settings), NO_POOLS, FACTORIAL, arms=infos())
    return found, {test.name: test for test in found.contrasts}


def test_a_factorial_finds_the_planted_cause_and_no_other():
    shown, wrong = 0, 0
    for seed in range(12):
        _, tests = effects(seed)
        assert len(tests) == 6
        shown += tests["text.labels"].estimate.low > 0
        wrong += sum(
            test.estimate.low > 0 or test.estimate.high < 0 for name, test in tests.items() if name != "text.labels"
        )
    assert shown >= 11
    assert wrong <= 2


def test_an_effect_is_the_difference_of_the_halves():
    found, tests = effects(3)
    means = found.primary.descriptions
    by_arm = {one.arm: one.mean for one in means}
    halves = [[by_arm[cell_name(cell)] for cell in CELLS if cell[0] == level] for level in (0, 1)]
    assert tests["text.labels"].estimate.value == pytest.approx(np.mean(halves[1]) - np.mean(halves[0]))
    assert sum(tests["text.labels"].weights.values()) == pytest.approx(0)


def test_an_effect_is_tested_over_runs_once():
    found, tests = effects(3)
    assert {effect.name for effect in found.factors.effects} == set(tests)
    assert all(effect.runs is None for effect in found.factors.effects)
    assert all(term.runs is None for effect in found.factors.effects for term in effect.terms)
    plain = analyse(table(3), NO_POOLS, AnalysisRules(margin=0.005), arms=infos())
    assert all(effect.runs is not None for effect in plain.factors.effects)


def test_the_headline_names_the_effects_that_are_shown():
    found, tests = effects(0, cause=0.03)
    assert tests["text.labels"].verdict is Verdict.SUPERIOR
    assert found.headline.startswith("Shown of 6 effects on Dice (n = 40): text.labels +0.0")
    single, _ = effects(0, cause=0.03, seeds=1)
    assert single.headline.startswith("One network per arm cannot judge a method")


def test_a_contrast_of_two_arms_is_their_difference():
    rows = table(1)
    contrast = {"ladder": {"cell 111": 1.0, "cell 011": -1.0}}
    found = analyse_table(rows, control="real", contrasts=contrast)
    values = rows.groupby("arm")["value"].mean()
    (test,) = found.contrasts
    assert test.estimate.value == pytest.approx(values["cell 111"] - values["cell 011"])
    assert test.test.patients == 40


@pytest.mark.parametrize(
    ("weights", "told"),
    [({"cell 111": 1.0, "cell 01": -1.0}, "did you mean 'cell 101'"), ({"cell 111": 1.0}, "they add up to 1")],
)
def test_contrasts_that_mean_nothing_are_refused(weights, told):
    with pytest.raises(UserError, match=told):
        analyse_table(table(1), control="real", contrasts={"odd": weights})


def test_a_factorial_needs_factors_of_two_levels():
    with pytest.raises(UserError, match="no field has two levels"):
        factorial_effects([ArmInfo("real", {}, control=True), ArmInfo("x", {"a.b": 1})])


def test_a_dead_arm_takes_its_contrasts_and_no_others():
    rows = table(1)
    first, second, third = [name for name in rows["arm"].unique() if name != "real"][:3]
    rows = rows.assign(status=rows["status"].mask(rows["arm"] == third, "absent"))
    contrasts = {"kept": {first: 1.0, second: -1.0}, "lost": {first: 1.0, third: -1.0}}
    found = analyse_table(rows, control="real", contrasts=contrasts)
    assert [test.name for test in found.contrasts] == ["kept"]
    assert "lost is not tested, since an arm of it has no score." in found.limits
    assert [one.arm for one in found.dead] == [third]


def distances(seed):
    """Distances in place of Dice: an arm, its base and a control that are alike."""
    rows = table(seed, cause=0.0, seeds=3)
    rows = rows[rows["arm"].isin(["real", "cell 111", "cell 011"])]
    return rows.assign(metric="hd95_mm", value=np.exp(1 + 6 * (0.9 - rows["value"])))


LADDER = {
    "primary": "hd95_mm",
    "margin": 0.3,
    "control": "real",
    "contrasts": {"ladder": {"cell 111": 1, "cell 011": -1}},
}


def test_structures_that_an_arm_misses_count_in_its_contrasts_however_many():
    rows = distances(3)
    (before,) = analyse_table(rows, **LADDER).contrasts
    assert before.verdict is not Verdict.INFERIOR
    for missed in (10, 39, 40):
        lost = (rows["arm"] == "cell 111") & (rows["patient"] < f"p{missed:02d}")
        worse = rows.assign(value=rows["value"].mask(lost, np.inf), status=rows["status"].mask(lost, "missed"))
        (after,) = analyse_table(worse, **LADDER).contrasts
        assert after.verdict is Verdict.INFERIOR, missed


def test_a_run_that_fails_makes_no_contrast_milder():
    rows = table(4, cause=0.0, seeds=5, run_sd=0.003)
    own = rows["arm"] == "cell 111"
    rows = rows.assign(value=rows["value"] - 0.03 * own)
    asked = {"control": "real", "contrasts": {"ladder": {"cell 111": 1.0, "cell 011": -1.0}}}
    assert analyse_table(rows, **asked).contrasts[0].verdict is Verdict.INFERIOR
    failed = rows.assign(value=rows["value"].mask(own & (rows["seed"] == 2), 0.0))
    assert analyse_table(failed, **asked).contrasts[0].verdict is Verdict.INFERIOR


def without(rows, *arms):
    return rows.assign(status=rows["status"].mask(rows["arm"].isin(arms), "absent"))


def test_effects_that_a_dead_arm_takes_along_are_named():
    """A 2 x 2 grid loses its interaction with one cell, and every effect with two in a row."""
    names = [cell_name(cell) for cell in CELLS if cell[2] == 0]
    grid = [arm for arm in infos() if arm.control or arm.name in names]
    grid = [ArmInfo(arm.name, dict(list(arm.levels.items())[:2]), control=arm.control) for arm in grid]
    rows = table(1)[lambda rows: rows["arm"].isin([arm.name for arm in grid])]
    whole = analyse(rows, NO_POOLS, FACTORIAL, arms=grid)
    assert [test.name for test in whole.contrasts] == ["text.labels", "text.look", INTERACTION]
    broken = analyse(without(rows, "cell 110"), NO_POOLS, FACTORIAL, arms=grid)
    kept = [test.name for test in broken.contrasts]
    lost = [test.name for test in whole.contrasts if test.name not in kept]
    assert INTERACTION in lost
    told = [f"{name} is not tested, since an arm of it has no score." for name in lost]
    assert list(broken.limits[: len(told)]) == told
    dead = analyse(without(rows, "cell 110", "cell 100", "cell 010"), NO_POOLS, FACTORIAL, arms=grid)
    assert (dead.contrasts, len(dead.limits) >= 3) == ((), True)
    assert dead.limits[0] == "text.labels is not tested, since an arm of it has no score."
    assert dead.headline == "No effect on Dice (n = 40) can be tested, since arms of the grid have no score."
