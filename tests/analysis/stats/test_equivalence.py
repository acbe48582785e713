"""TOST, non-inferiority and power against published numbers, and the two-axis verdict."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from scipy import stats
from statsmodels.stats.power import TTestPower

from helpers.published import expected, given
from medsweep.analysis.stats.equivalence import Evidence, Verdict, non_inferiority, tost, verdict
from medsweep.analysis.stats.power import detectable


def clinic(pair):
    return np.array(given("clinic_tost", f"{pair}_x")) - np.array(given("clinic_tost", f"{pair}_y"))


@pytest.mark.parametrize("pair", ["var1", "var2"])
def test_tost_of_the_clinic_data(pair):
    found = tost(clinic(pair), given("clinic_tost", "margin"), 0.05)
    assert found.p == pytest.approx(expected("clinic_tost", f"{pair}_p"), rel=1e-10)
    assert found.p == pytest.approx(expected("clinic_tost", "statsmodels")[pair == "var2"], rel=1e-10)
    assert [found.low, found.high] == pytest.approx(expected("clinic_tost", f"{pair}_ci90"), rel=1e-10)
    assert found.inside == (pair == "var1")


@randomly(st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=20), st.sampled_from([0.005, 0.01, 0.03]))
@settings(deadline=None)
def test_inside_exactly_when_the_narrow_interval_is(values, margin):
    found = tost(np.array(values), margin, 0.05)
    room = min(found.high - margin, -margin - found.low, key=abs)
    if abs(room) > 1e-9:
        assert found.inside == (-margin < found.low and found.high < margin)


@pytest.mark.parametrize("higher", [True, False])
def test_non_inferiority_is_one_side_of_tost_and_scipys_t(higher):
    delta = clinic("var1")
    both, found = tost(delta, 0.6, 0.05), non_inferiority(delta, 0.6, 0.05, higher_is_better=higher)
    side = "greater" if higher else "less"
    oracle = stats.ttest_1samp(delta, -0.6 if higher else 0.6, alternative=side)
    ends = oracle.confidence_interval(0.95)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-10)
    assert found.p <= both.p + 1e-12
    assert found.bound == pytest.approx(ends.low if higher else ends.high, rel=1e-10)
    assert found.shown


@randomly(st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=20), st.booleans())
@settings(deadline=None)
def test_equivalent_is_non_inferior_both_ways_and_flipping_the_metric_changes_nothing(values, higher):
    delta = np.array(values)
    found = non_inferiority(delta, 0.01, 0.05, higher_is_better=higher)
    mirrored = non_inferiority(-delta, 0.01, 0.05, higher_is_better=not higher)
    assert (found.p, found.bound, found.shown) == (mirrored.p, -mirrored.bound, mirrored.shown)
    other = non_inferiority(delta, 0.01, 0.05, higher_is_better=not higher)
    edge = min(abs(found.p - 0.05), abs(other.p - 0.05))
    if edge > 1e-9:
        assert tost(delta, 0.01, 0.05).inside == (found.shown and other.shown)


def test_a_superior_arm_is_non_inferior_but_not_equivalent():
    delta = np.random.default_rng(0).normal(0.05, 0.01, 20)
    assert non_inferiority(delta, 0.01, 0.05, higher_is_better=True).shown
    assert not non_inferiority(delta, 0.01, 0.05, higher_is_better=False).shown
    assert not tost(delta, 0.01, 0.05).inside


def test_non_inferiority_without_spread_or_patients():
    assert non_inferiority(np.full(5, -0.009), 0.01, 0.05, higher_is_better=True).shown
    assert not non_inferiority(np.full(5, -0.01), 0.01, 0.05, higher_is_better=True).shown
    alone = non_inferiority(np.zeros(1), 0.01, 0.05, higher_is_better=True)
    assert (alone.shown, math.isnan(alone.p), math.isnan(alone.bound)) == (False, True, True)


def test_power_of_the_paired_t_is_gpowers():
    dz, alpha, power = (given("gpower_paired_t", name) for name in ("dz", "alpha", "power"))
    n = expected("gpower_paired_t", "n_continuous")
    assert TTestPower().solve_power(dz, None, alpha, power) == pytest.approx(n, rel=1e-6)
    assert math.ceil(n) == expected("gpower_paired_t", "n")
    assert detectable(n, 1.0, alpha, power) == pytest.approx(dz, rel=1e-6)
    reached = expected("gpower_paired_t", "power_n34")
    assert TTestPower().power(dz, 34, alpha) == pytest.approx(reached, rel=1e-8)
    assert detectable(34, 1.0, alpha, reached) == pytest.approx(dz, rel=1e-6)


def test_without_spread_or_patients():
    assert tost(np.zeros(5), 0.01, 0.05).inside
    assert not tost(np.full(5, 0.01), 0.01, 0.05).inside
    alone = tost(np.zeros(1), 0.01, 0.05)
    assert not alone.inside
    assert math.isnan(alone.p)


@pytest.mark.parametrize(
    ("different", "inside", "sign", "expect"),
    [
        (True, False, 1, Verdict.SUPERIOR),
        (True, False, -1, Verdict.INFERIOR),
        (True, True, 1, Verdict.NEGLIGIBLE),
        (False, True, -1, Verdict.EQUIVALENT),
        (False, False, 1, Verdict.INCONCLUSIVE),
        (True, False, 0, Verdict.INCONCLUSIVE),
        (True, True, 0, Verdict.EQUIVALENT),
    ],
)
def test_the_two_axes(different, inside, sign, expect):
    assert verdict(Evidence(different, inside, sign)) == expect
