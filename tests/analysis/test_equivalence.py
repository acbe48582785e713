"""TOST against published numbers, and the two-axis verdict."""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from published import expected, given

from analysis.equivalence import Evidence, Verdict, tost, verdict, weaker


@pytest.mark.parametrize("pair", ["var1", "var2"])
def test_tost_of_the_clinic_data(pair):
    delta = np.array(given("clinic_tost", f"{pair}_x")) - np.array(given("clinic_tost", f"{pair}_y"))
    found = tost(delta, given("clinic_tost", "margin"), 0.05)
    assert found.p == pytest.approx(expected("clinic_tost", f"{pair}_p"), rel=1e-9)
    assert [found.low, found.high] == pytest.approx(expected("clinic_tost", f"{pair}_ci90"), rel=1e-9)
    assert found.inside == (pair == "var1")


@randomly(st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=20), st.sampled_from([0.005, 0.01, 0.03]))
@settings(deadline=None)
def test_inside_exactly_when_the_narrow_interval_is(values, margin):
    found = tost(np.array(values), margin, 0.05)
    room = min(found.high - margin, -margin - found.low, key=abs)
    if abs(room) > 1e-9:
        assert found.inside == (-margin < found.low and found.high < margin)


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


def test_the_weaker_never_claims_more_than_either_level():
    claims = {
        Verdict.SUPERIOR: {"difference"},
        Verdict.INFERIOR: {"difference"},
        Verdict.NEGLIGIBLE: {"difference", "margin"},
        Verdict.EQUIVALENT: {"margin"},
        Verdict.INCONCLUSIVE: set(),
    }
    levels = [Evidence(*axes) for axes in itertools.product((True, False), (True, False), (-1, 0, 1))]
    for one, other in itertools.product(levels, levels):
        both = claims[verdict(weaker(one, other))]
        assert both <= claims[verdict(one)]
        assert both <= claims[verdict(other)]
