"""Wilcoxon's signed ranks against published numbers and scipy: zeros, ties, missed patients, many arms at once."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from hypothesis.extra.numpy import arrays
from scipy import stats

from helpers.published import expected, given
from medsweep.analysis.stats.wilcoxon import against_control, signed_rank_p, signed_rank_ps, smallest_p


def test_wilcoxon_published():
    depression = np.array(given("hollander_depression", "x")) - np.array(given("hollander_depression", "y"))
    assert signed_rank_p(depression.round(12)) == pytest.approx(expected("hollander_depression", "p_two_sided"))
    demsar = np.array(given("demsar_wilcoxon", "differences"))
    assert signed_rank_p(demsar) == pytest.approx(expected("demsar_wilcoxon", "scipy_p_pratt"), rel=1e-9)


def test_wilcoxon_edges():
    assert signed_rank_p(np.zeros(6)) == 1.0
    assert math.isnan(signed_rank_p(np.zeros(0)))
    assert signed_rank_p(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(0.0625)
    assert signed_rank_p(np.array([math.inf, 1, 2, 3, 4, 5.5])) == pytest.approx(0.03125)


@randomly(arrays(np.float64, st.integers(1, 7), elements=st.integers(-6, 6).map(float)))
@settings(max_examples=25, deadline=None)
def test_negating_a_metric_keeps_p(delta):
    assert signed_rank_p(-delta) == pytest.approx(signed_rank_p(delta))


def test_wilcoxon_of_demsar_by_all_three_ways_to_meet_zeros():
    demsar = np.array(given("demsar_wilcoxon", "differences"))
    ranks = stats.rankdata(np.abs(demsar).round(12))
    half = ranks[demsar == 0].sum() / 2
    plus, minus = ranks[demsar > 0].sum() + half, ranks[demsar < 0].sum() + half
    assert [plus, minus] == [expected("demsar_wilcoxon", "R_plus"), expected("demsar_wilcoxon", "R_minus")]
    assert min(plus, minus) == expected("demsar_wilcoxon", "T") < expected("demsar_wilcoxon", "critical_T_0_05_n14")
    z = (minus - 14 * 15 / 4) / math.sqrt(14 * 15 * 29 / 24)
    assert z == pytest.approx(expected("demsar_wilcoxon", "z_uncorrected"), rel=1e-9)
    for method in ("wilcox", "pratt", "zsplit"):
        p = stats.wilcoxon(demsar, zero_method=method, method="asymptotic", correction=False).pvalue
        assert p == pytest.approx(expected("demsar_wilcoxon", f"scipy_p_{method}"), rel=1e-9)
    assert signed_rank_p(demsar) == pytest.approx(expected("demsar_wilcoxon", "scipy_p_pratt"), rel=1e-9)


def test_hollander_v_and_one_sided_p():
    x, y = (np.array(given("hollander_depression", name)) for name in "xy")
    d = (x - y).round(12)
    assert stats.rankdata(np.abs(d))[d > 0].sum() == expected("hollander_depression", "V")
    # the distribution is symmetric: half of the two-sided p
    assert signed_rank_p(d) / 2 == pytest.approx(expected("hollander_depression", "p_greater"), rel=1e-9)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("n", [1, 2, 5, 8, 14, 50, 51, 90])
@pytest.mark.parametrize("digits", [9, 1, 0])
def test_many_arms_at_once_give_scipys_p(n, digits):
    d = np.random.default_rng(n).normal(0.2, 1, (n, 6)).round(digits)
    oracle = [1.0 if not one.any() else stats.wilcoxon(one, zero_method="pratt").pvalue for one in d.T]
    assert signed_rank_ps(d) == pytest.approx(np.array(oracle), rel=1e-10)
    assert smallest_p(5) == expected("edge_cases", "min_p_wilcoxon_n5")


def test_thirteen_patients_with_ties_go_through_all_signs_and_fourteen_do_not():
    d = np.array([1.0, 1, 2, 2, 2, -1, 3, 3, 0, 4, 5, -2, 6])
    assert signed_rank_p(d) == pytest.approx(stats.wilcoxon(d, zero_method="pratt").pvalue, rel=1e-10)
    longer = np.append(d, 7.0)
    normal = stats.wilcoxon(longer, zero_method="pratt", method="asymptotic", correction=False).pvalue
    assert signed_rank_p(longer) == pytest.approx(normal, rel=1e-10)


def test_scipy_drops_patients_that_both_arms_missed_and_ours_counts_them():
    a = np.array([math.inf, math.inf, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0])
    b = np.array([math.inf, math.inf, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    with np.errstate(invalid="ignore"):
        silent, loud = stats.wilcoxon(a, b).pvalue, stats.wilcoxon(a - b).pvalue
    assert silent == pytest.approx(2 / 2**6)  # six patients, unsaid
    assert math.isnan(loud)
    with (
        pytest.raises(ValueError, match="2 differences are NaN; two infinite scores differ by 0"),
        np.errstate(all="ignore"),
    ):
        signed_rank_p(a - b)
    delta = np.where(a == b, 0.0, np.subtract(a, b, where=a != b, out=np.zeros(8)))
    assert signed_rank_p(delta) == pytest.approx(2 / 2**6)
    assert against_control([("a", delta)])[0].n == 8
