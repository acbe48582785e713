"""Holm and Shaffer: against statsmodels, against the definition, and in their order."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from statsmodels.stats.multitest import multipletests

from medsweep.analysis.stats.p_adjustment import holm, shaffer, true_counts


@st.composite
def pairs_of_arms(draw):
    k = draw(st.integers(2, 6))
    size = k * (k - 1) // 2
    values = st.integers(0, 1000).map(lambda i: (i / 1000) ** 3)
    return k, draw(st.lists(values, min_size=size, max_size=size))


@randomly(pairs_of_arms())
@settings(max_examples=40, deadline=None)
def test_shaffer_is_at_least_as_sharp_as_holm_and_holm_as_bonferroni(drawn):
    k, p = drawn
    chain = [np.minimum(1, len(p) * np.array(p)), np.array(holm(p)), np.array(shaffer(p, k)), np.array(p)]
    for blunter, sharper in itertools.pairwise(chain):
        assert (sharper <= blunter + 1e-12).all()


@randomly(pairs_of_arms(), st.randoms())
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_pairs_permutes_the_result(drawn, chance):
    k, p = drawn
    order = list(range(len(p)))
    chance.shuffle(order)
    assert shaffer([p[i] for i in order], k) == pytest.approx([shaffer(p, k)[i] for i in order])


@pytest.mark.parametrize(
    ("k", "counts"), [(2, {0, 1}), (3, {0, 1, 3}), (4, {0, 1, 2, 3, 6}), (5, {0, 1, 2, 3, 4, 6, 10})]
)
def test_equalities_that_can_hold_at_once_as_shaffer_lists_them(k, counts):
    assert true_counts(k) == counts


def test_shaffer_of_three_arms_is_fishers_protected_step():
    # after one of three equalities has fallen, at most one other can hold
    assert shaffer([0.01, 0.02, 0.04], 3) == pytest.approx([0.03, 0.03, 0.04])


def test_what_is_no_p_of_every_pair_is_refused():
    for p in ([0.1, 0.2], [0.1, 0.2, float("nan")]):
        with pytest.raises(ValueError, match="3 arms need 3 p values, one for each pair, got 2"):
            shaffer(p, 3)


@randomly(pairs_of_arms())
@settings(max_examples=10, deadline=None)
def test_holm_is_that_of_statsmodels(drawn):
    _, p = drawn
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_a_nan_stays_and_counts_as_a_comparison():
    assert holm([0.01, np.nan, 0.02]) == pytest.approx((0.03, np.nan, 0.04), nan_ok=True)
    assert holm([]) == ()
