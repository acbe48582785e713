"""Fractions and factors that move together: what is confounded with what, and what least squares still tell."""

import numpy as np
import pytest

from helpers.factor_cases import cells, effect, shifted, study
from medsweep.analysis.factors.design import CROSS, layout
from medsweep.analysis.factors.least_squares import alias_sets
from medsweep.sweep.fractions import aliases_of, best_fraction


@pytest.mark.parametrize(("k", "halvings"), [(4, 1), (5, 2), (6, 2), (7, 4)])
def test_aliases_of_a_fraction_are_found_from_its_columns(k, halvings):
    columns = best_fraction(tuple("abcdefg"[:k]), halvings).columns
    design = layout(cells(columns.tolist()))
    found = {
        tuple("".join("ABCDEFG"[i] for i in e) for e in members) for members in alias_sets(design) if len(members) > 1
    }
    assert found == set(aliases_of(columns))


def test_a_fraction_gives_its_effects_with_what_they_are_confounded_with():
    columns = best_fraction(tuple("abcde"), 2).columns.tolist()
    arms = cells(columns)
    y = shifted(arms, lambda a, b, c, d, e: 0.01 * a + 0.005 * b * c)
    found = study(arms, y)
    assert found.design == "fractional factorial"
    assert effect(found, "a").aliases == (f"b {CROSS} d", f"c {CROSS} e")
    assert effect(found, f"b {CROSS} c").aliases == (f"d {CROSS} e",)
    means = y[1:].mean(axis=(1, 2))
    sign = np.array(columns)
    assert effect(found, "a").terms[0].patients.value == pytest.approx((means * sign[:, 0]).mean() * 2)
    assert effect(found, f"b {CROSS} c").terms[0].patients.value == pytest.approx(
        (means * sign[:, 1] * sign[:, 2]).mean() * 2
    )
    reasons = {one.name: one.reason for one in found.not_estimable}
    assert reasons[f"b {CROSS} d"] == "confounded with a: their columns coincide"
    assert reasons[f"d {CROSS} e"] == f"confounded with b {CROSS} c: their columns coincide"
    assert ("a", f"b {CROSS} d", f"c {CROSS} e") in found.aliases


def test_a_fraction_that_lost_an_arm_falls_back_to_main_effects():
    arms = cells(best_fraction(tuple("abcde"), 2).columns.tolist()[1:])
    y = shifted(arms, lambda *levels: 0.01 * levels[3])
    y[1:] = (
        y[1:]
        - y[1:].mean(axis=1, keepdims=True)
        + np.array([0.8 + 0.01 * a.levels["d"] for a in arms[1:]])[:, None, None]
    )
    found = study(arms, y)
    assert effect(found, "d").terms[0].patients.value == pytest.approx(0.02)
    assert effect(found, "a").terms[0].patients.value == pytest.approx(0, abs=1e-9)
    assert any("too few arms" in one.reason for one in found.not_estimable)


def test_three_levels_of_a_latin_square_are_their_marginal_means():
    arms = cells([(a, b, "xyz"[(a + b) % 3]) for a in range(3) for b in range(3)])
    y = shifted(arms, lambda *_: 0.0)
    found = study(arms, y)
    means = y[1:].mean(axis=(1, 2)).reshape(3, 3)
    for name, by_level in (("a", means.mean(axis=1)), ("b", means.mean(axis=0))):
        assert effect(found, name).method == "least squares"
        terms = [term.patients.value for term in effect(found, name).terms]
        assert terms == pytest.approx((by_level - means.mean()).tolist())
    assert {one.name for one in found.effects} == {"a", "b", "c"}


def test_factors_that_move_together_are_one():
    arms = cells([(0, "x", 1), (1, "y", 1), (0, "x", 2), (1, "y", 2)])
    found = study(arms, shifted(arms, lambda *_: 0.0))
    assert effect(found, "a").aliases == ("b",)
    assert {one.name: one.reason for one in found.not_estimable}["b"] == "confounded with a: their columns coincide"
