"""Equivalence and power against published numbers, and the two-axis verdict."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from helpers.published import expected, given
from medsweep.analysis.stats.arm_tests import Setting, Units, bounds_of, pair_weights
from medsweep.analysis.stats.equivalence import Evidence, Verdict, verdict
from medsweep.analysis.stats.power import detectable


@pytest.mark.parametrize("pair", ["var1", "var2"])
def test_equivalence_of_the_clinic_data_is_tost(pair):
    """A pair of arms over patients alone: the narrow interval is that of two one-sided paired t tests."""
    arms = np.stack([np.array(given("clinic_tost", f"{pair}_{name}"), dtype=float) for name in "yx"])
    found = bounds_of(Units(arms, blocked=True), pair_weights(2, 1, 0), Setting(1, 0.05))
    low, high = expected("clinic_tost", f"{pair}_ci90")
    # an end may lie further in: extreme patients are pulled in for what they cannot hide
    assert found.estimate.interval(0.9) == pytest.approx((low, high), rel=1e-10)
    assert low - 1e-3 <= found.narrow_low <= found.narrow_high <= high + 1e-3
    margin = given("clinic_tost", "margin")
    assert (-margin < found.narrow_low and found.narrow_high < margin) == (pair == "var1")


def test_power_of_the_paired_t_is_gpowers():
    dz, alpha, power = (given("gpower_paired_t", name) for name in ("dz", "alpha", "power"))
    n = expected("gpower_paired_t", "n_continuous")
    assert TTestPower().solve_power(dz, None, alpha, power) == pytest.approx(n, rel=1e-6)
    assert math.ceil(n) == expected("gpower_paired_t", "n")
    assert detectable(n, 1.0, alpha, power) == pytest.approx(dz, rel=1e-6)
    reached = expected("gpower_paired_t", "power_n34")
    assert TTestPower().power(dz, 34, alpha) == pytest.approx(reached, rel=1e-8)
    assert detectable(34, 1.0, alpha, reached) == pytest.approx(dz, rel=1e-6)


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
