"""Wilcoxon's signed ranks against published numbers and scipy: zeros, ties, missed patients, many arms at once."""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from hypothesis.extra.numpy import arrays
from scipy import stats

from helpers.published import expected, given
from medsweep.analysis.stats.wilcoxon import against_control, signed_rank_p, signed_rank_ps


def test_wilcoxon_published():
    depression = np.array(given("hollander_depression", "x")) - np.array(given("hollander_depression", "y"))
    assert signed_rank_p(depression.round(12)) == pytest.approx(expected("hollander_depression", "p_two_sided"))
    demsar = np.array(given("demsar_wilcoxon", "differences"))
    assert signed_rank_p(demsar) == pytest.approx(by_all_signs(demsar), rel=1e-9)


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
    # those are normal approximations; ours counts the distribution out
    assert signed_rank_p(demsar) == pytest.approx(by_all_signs(demsar), rel=1e-9)


def test_hollander_v_and_one_sided_p():
    x, y = (np.array(given("hollander_depression", name)) for name in "xy")
    d = (x - y).round(12)
    assert stats.rankdata(np.abs(d))[d > 0].sum() == expected("hollander_depression", "V")
    # the distribution is symmetric: half of the two-sided p
    assert signed_rank_p(d) / 2 == pytest.approx(expected("hollander_depression", "p_greater"), rel=1e-9)


def by_all_signs(d):
    """The definition: every sign of every nonzero difference, zeros ranked and then dropped."""
    ranks = stats.rankdata(np.abs(d).round(12))[d != 0]
    signs = np.array(list(itertools.product([0.0, 1.0], repeat=len(ranks))))
    sums, plus = signs @ ranks, ranks[d[d != 0] > 0].sum()
    return min(1.0, 2 * min((sums <= plus + 1e-9).mean(), (sums >= plus - 1e-9).mean()))


@pytest.mark.parametrize("n", [1, 2, 5, 8, 14])
@pytest.mark.parametrize("digits", [9, 1, 0])
def test_p_is_that_of_all_signs_with_ties_and_zeros(n, digits):
    d = np.random.default_rng(n).normal(0.2, 1, (n, 3)).round(digits)
    oracle = [by_all_signs(one) if one.any() else 1.0 for one in d.T]
    assert signed_rank_ps(d) == pytest.approx(np.array(oracle), rel=1e-10)


def test_p_is_scipys_exact_one_without_ties_beyond_fifty_patients():
    d = np.random.default_rng(0).normal(0.2, 1, 90)
    assert signed_rank_p(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)
    assert signed_rank_p(np.arange(1.0, 52)) == pytest.approx(2 / 2**51)


def test_five_of_forty_patients_that_differ_show_nothing():
    """The normal distribution gave .025."""
    d = np.zeros(40)
    d[:5] = [0.1, 0.12, 0.08, 0.2, 0.15]
    assert signed_rank_p(d) == pytest.approx(0.0625)


def test_thousands_of_patients_take_the_normal_distribution():
    d = np.random.default_rng(0).normal(0.05, 1, 2000)
    oracle = stats.wilcoxon(d, method="asymptotic", correction=False).pvalue
    assert signed_rank_p(d) == pytest.approx(oracle, rel=1e-9)


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
