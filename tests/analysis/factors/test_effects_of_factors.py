"""Effects of factors: read off the design, equal to a mixed model's where balanced, and honest where not."""

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.anova import AnovaRM

from helpers.factor_cases import CONTROL, TWO, cells, effect, grid, shifted, study
from helpers.score_arrays import crossed, cut, method_test, reduced_of
from medsweep.analysis.factors.design import CROSS, MINUS
from medsweep.analysis.factors.effects import NoFactors, factor_effects
from medsweep.analysis.records import ArmInfo, mean_estimate, plain
from medsweep.analysis.stats.method_tests import run_omnibus
from medsweep.analysis.stats.omnibus import NoOmnibus


def test_two_by_two_is_read_off_the_cells():
    y = shifted(TWO, lambda a, b: 0.02 * (a == "mc-sg") + 0.01 * b + 0.03 * (a == "mc-sg") * b)
    found = study(TWO, y)
    means = y[1:].mean(axis=2)
    by_hand = {
        "a": (means[2] + means[3] - means[0] - means[1]) / 2,
        "b": (means[1] + means[3] - means[0] - means[2]) / 2,
        f"a {CROSS} b": ((means[3] - means[2]) - (means[1] - means[0])) / 2,
    }
    assert [one.name for one in found.effects] == list(by_hand)
    for name, values in by_hand.items():
        (term,) = effect(found, name).terms
        oracle = mean_estimate(values, 0.95)
        assert dataclasses.astuple(term.patients) == pytest.approx(dataclasses.astuple(oracle))
        assert effect(found, name).patients.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert [effect(found, name).terms[0].label for name in by_hand] == [
        f"mc-sg {MINUS} b-sg",
        f"yes {MINUS} no",
        f"half of (mc-sg {MINUS} b-sg) at yes against no",
    ]
    assert (found.design, found.left_out[0].reason) == ("full factorial", "the control, which belongs to no cell")


def test_balanced_contrasts_equal_the_mixed_model():
    """Random patient, patient x a and patient x b; the interaction's error is the residual."""
    rng = np.random.default_rng(5)
    y = (
        0.8
        + rng.normal(0, 0.06, (1, 1, 14, 1))
        + rng.normal(0, 0.02, (2, 1, 14, 1))
        + rng.normal(0, 0.03, (1, 2, 14, 1))
    )
    y = (y + rng.normal(0, 0.01, (2, 2, 14, 1)) + 0.02 * np.arange(2)[:, None, None, None]).reshape(4, 14, 1)
    found = study(TWO, np.concatenate([y[:1], y]))
    cell, p = (part.ravel() for part in np.indices((4, 14)))
    a, b = cell // 2, cell % 2
    long = pd.DataFrame({"y": y.ravel(), "a": a - 0.5, "b": b - 0.5, "p": p, "pa": p * 2 + a, "pb": p * 2 + b})
    parts = {"pa": "0+C(pa)", "pb": "0+C(pb)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("y ~ a * b", long, groups="p", vc_formula=parts, re_formula="1").fit(method=["powell"])
    for name, column, scale in (("a", "a", 1), ("b", "b", 1), (f"a {CROSS} b", "a:b", 2)):
        one = effect(found, name).terms[0].patients
        assert one.value == pytest.approx(model.params[column] / scale)
        assert one.se == pytest.approx(model.bse[column] / scale, rel=2e-3)


def test_f_tests_are_those_of_a_repeated_measures_anova():
    arms = grid(["x", "y", "z"], ["k", "l"])
    y = shifted(arms, lambda a, b: 0.01 * (a == "z") * (b == "k"))
    found = study(arms, y)
    cell, p = (part.ravel() for part in np.indices((6, 24)))
    long = pd.DataFrame({"y": y[1:].mean(axis=2).ravel(), "p": p, "a": cell // 2, "b": cell % 2})
    oracle = AnovaRM(long, "y", "p", within=["a", "b"]).fit().anova_table
    for name, row in (("a", "a"), ("b", "b"), (f"a {CROSS} b", "a:b")):
        test = effect(found, name).patients
        assert test.f == pytest.approx(oracle.loc[row, "F Value"])
    assert [term.label for term in effect(found, "a").terms] == [
        f"x {MINUS} mean",
        f"y {MINUS} mean",
        f"z {MINUS} mean",
    ]
    assert sum(term.patients.value for term in effect(found, f"a {CROSS} b").terms) == pytest.approx(0, abs=1e-12)


def test_runs_are_random_at_the_method_level():
    arms = grid(["x", "y"], ["k", "l"])
    y = shifted(arms, lambda a, b: 0.0)
    found = study(arms, y)
    pair = np.stack([(y[1] + y[2]) / 2, (y[3] + y[4]) / 2])
    oracle = method_test(reduced_of(pair), "arm 1", "arm 0", 0.95).estimate
    mine = effect(found, "a").terms[0].runs
    assert dataclasses.astuple(mine) == pytest.approx(dataclasses.astuple(oracle))
    assert effect(found, "a").runs.p == pytest.approx(oracle.p)
    folds = cut(np.random.default_rng(0), 5, 20, 2)
    by_fold = study(arms, folds)
    means = np.array([y.mean(axis=(1, 2)) for y, _ in folds])
    values = (means[:, 3] + means[:, 4] - means[:, 1] - means[:, 2]) / 2
    assert effect(by_fold, "a").terms[0].runs == mean_estimate(values.round(12), 0.95)
    assert effect(study(arms, y[:, :, :1]), "a").runs is None


def test_all_cells_of_one_factor_are_the_omnibus_over_the_arms():
    arms = cells([(i,) for i in "wxyz"])
    y = shifted(arms, lambda a: 0.0)
    found, whole = study(arms, y), run_omnibus(reduced_of(y[1:]))
    assert not isinstance(whole, NoOmnibus)
    assert effect(found, "a").runs.f == pytest.approx(whole.test.f)
    assert effect(found, "a").runs.p == pytest.approx(whole.test.p)


def test_excluded_cells_are_compared_where_they_exist():
    """b-sg has no injection point but ``full``, as in a sweep that excludes the others."""
    rows = [
        r
        for r in itertools.product(["b-sg", "mc-sg"], ["full", "gen", "disc"], [20, 50])
        if r[0] != "b-sg" or r[1] == "full"
    ]
    arms = cells(rows)
    y = shifted(arms, lambda a, b, c: 0.02 * (a == "mc-sg") + 0.01 * (b == "gen"))
    found = study(arms, y)
    assert found.design == "incomplete factorial"
    pipeline, injection, count = (effect(found, name) for name in "abc")
    assert pipeline.arms == ("b-sg full 20", "b-sg full 50", "mc-sg full 20", "mc-sg full 50")
    assert (injection.contexts, len(injection.arms), injection.levels) == (2, 6, (("full", "gen", "disc"),))
    assert (count.contexts, len(count.arms)) == (4, 8)
    assert [one.name for one in found.not_estimable] == [f"a {CROSS} b"]
    assert "no two levels of one factor are crossed" in found.not_estimable[0].reason
    means = y[1:].mean(axis=(1, 2))
    assert pipeline.terms[0].patients.value == pytest.approx(means[2:4].mean() - means[:2].mean())


def test_one_at_a_time_compares_with_the_base_and_shows_no_interaction():
    rows = [(1, "x", False), (2, "x", False), (3, "x", False), (1, "y", False), (1, "x", True)]
    arms = cells(rows)
    found = study(arms, shifted(arms, lambda a, b, c: 0.0))
    assert [one.name for one in found.effects] == ["a", "b", "c"]
    assert all(one.contexts == 1 for one in found.effects)
    assert effect(found, "b").arms == ("1 x False", "1 y False")
    assert len(found.not_estimable) == 3


def test_an_arm_too_many_does_not_spoil_the_rest():
    """A control with one field, an explicit arm with another, and one cell that stands alone."""
    arms = [*grid(["b-sg", "mc-sg"], [8, 16, 32]), ArmInfo("else", {"z": 1}, 8)]
    arms = [dataclasses.replace(arm, levels={**arm.levels, "c": 0.0}) if len(arm.levels) == 2 else arm for arm in arms]
    arms.append(ArmInfo("filtered", {"a": "mc-sg", "b": 16, "c": 0.7}, 16))
    arms.append(ArmInfo("again", {"a": "mc-sg", "b": 16, "c": 0.7}, 16))
    found = study(arms, shifted(arms, lambda *_: 0.0))
    assert {one.name: one.reason for one in found.left_out} == {
        "control": "the control, which belongs to no cell",
        "else": "sets other fields than the factors",
        "again": "has the levels of an earlier arm",
    }
    assert effect(found, "c").arms == ("mc-sg 16", "filtered")
    assert len(effect(found, "b").arms) == 6


def test_without_images_the_generator_is_no_factor():
    arms = grid(["b-sg", "mc-sg"], [0, 8, 16])
    arms = [dataclasses.replace(arm, count=int(arm.levels.get("b", 0))) for arm in arms]
    y = shifted(arms, lambda a, b: 0.0)
    y[4] = y[1]
    found = study(arms, y)
    assert {one.name for one in found.left_out} == {"control", "b-sg 0", "mc-sg 0"}
    assert effect(found, "b").levels == (("8", "16"),)
    kept = study(arms, shifted(arms, lambda a, b: 0.0))
    assert effect(kept, "b").levels == (("0", "8", "16"),)


def test_what_has_no_factors_says_why():
    y = crossed(np.random.default_rng(0), 3)
    alone = [CONTROL, ArmInfo("x", {"a": 1}, 5), ArmInfo("y", {"b": 1}, 5)]
    same = [CONTROL, ArmInfo("x", {"a": 1}, 5), ArmInfo("y", {"a": 1, "b": 2}, 5)]
    for arms in (alone, same):
        assert study(arms, y) == NoFactors("no field has two levels among arms that set the same fields")
    one = cells([(0,), (1,)])
    missed = crossed(np.random.default_rng(0), 3)
    missed[1] = math.inf
    assert "fewer than two patients" in study(one, missed).reason


def test_missed_patients_are_left_out_where_they_are_missed():
    arms = grid(["x", "y"], [1, 2, 3])
    y = shifted(arms, lambda a, b: 0.0)
    y[1, 3, 0] = math.inf
    found = factor_effects(reduced_of(y, [arm.name for arm in arms], "hd95_mm"), arms, 0.95)
    assert {one.n for one in found.effects} == {23}
    y[1, 3, 0], y[0, 3, 0] = 0.8, math.inf
    assert {one.n for one in study(arms, y).effects} == {24}
    corner = cells([("x", 1), ("y", 1), ("x", 2)])
    y = shifted(corner, lambda a, b: 0.0)
    y[3, 3, 0] = math.inf
    assert {one.name: one.n for one in study(corner, y).effects} == {"a": 24, "b": 23}
    assert effect(study(corner, y), "a").terms[0].runs.p == pytest.approx(
        method_test(reduced_of(y[[1, 2]]), "arm 1", "arm 0", 0.95).estimate.p
    )


def test_holm_is_over_the_effects_of_the_study():
    found = study(TWO, shifted(TWO, lambda a, b: 0.004 * b))
    p = sorted(one.patients.p for one in found.effects)
    assert min(one.p_holm for one in found.effects) == pytest.approx(min(3 * p[0], 1))
    assert found.family == "the 3 main effects and two-factor interactions that the arms can show, Holm"


def test_relabelling_row_order_and_a_constant_per_patient_change_nothing():
    arms = grid(["x", "y"], [1, 2, 3])
    y = shifted(arms, lambda a, b: 0.01 * (a == "y") + 0.005 * b)
    reduced = reduced_of(y, [arm.name for arm in arms])
    found = factor_effects(reduced, arms, 0.95)
    rows = dataclasses.replace(
        reduced, cells=reduced.cells.sample(frac=1, random_state=1), wide=reduced.wide.sample(frac=1, random_state=2)
    )
    assert plain(factor_effects(rows, arms, 0.95)) == plain(found)
    renamed = [dataclasses.replace(arm, name=f"arm {i}") for i, arm in enumerate(arms)]
    names = [[(t.patients, t.runs) for t in one.terms] for one in found.effects]
    assert [[(t.patients, t.runs) for t in one.terms] for one in study(renamed, y).effects] == names
    moved = study(arms, y + np.random.default_rng(3).normal(0, 1, (1, 24, 1)))
    for one, other in zip(found.effects, moved.effects, strict=True):
        assert other.patients.f == pytest.approx(one.patients.f)
        assert other.runs.f == pytest.approx(one.runs.f)
        assert [t.patients.value for t in other.terms] == pytest.approx([t.patients.value for t in one.terms], abs=1e-9)
