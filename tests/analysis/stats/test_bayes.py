"""The Bayesian signed-rank test against its exact posterior means, brute force, and its laws."""

import math
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from hypothesis.extra.numpy import arrays

from medsweep.analysis.records import plain
from medsweep.analysis.stats.bayes import PRIOR_STRENGTH, _mass_above, bayes_signed_ranks

TIED = arrays(np.float64, st.integers(1, 12), elements=st.integers(-6, 6).map(lambda i: i / 200))


def alone(differences, rope, **rest):
    return bayes_signed_ranks({"arm": differences}, rope, **rest)["arm"]


def indicator(differences, rope):
    """1[z_i + z_j > 2 rope] over the prior at 0 and the differences, the decimals taken at their word."""
    z = np.round(np.concatenate([[0.0], differences]), 12)
    return np.round(z[:, None] + z, 11) > np.round(2 * rope, 11)


@randomly(TIED, st.sampled_from([0.0, 0.005, 0.01, 0.02]), st.integers(0, 5))
@settings(deadline=None)
def test_cumulative_sums_are_the_double_sum(differences, rope, seed):
    rng = np.random.default_rng(seed)
    z = np.sort(differences)
    weights = rng.dirichlet([PRIOR_STRENGTH, *np.ones(len(z))], size=7)
    brute = np.einsum("bi,bj,ij->b", weights, weights, indicator(z, rope))
    w = weights[:, 1:].T
    sums = np.concatenate([np.zeros((1, 7)), np.cumsum(w, axis=0)])
    assert _mass_above(z, w, sums, weights[:, 0], rope) == pytest.approx(brute, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("higher", [True, False])
def test_posterior_means_are_those_of_the_dirichlet(n, higher):
    differences = np.random.default_rng(n).normal(0.02, 0.02, n).round(3)
    found = alone(differences, 0.01, higher_is_better=higher, draws=50_000)
    a = np.array([PRIOR_STRENGTH, *np.ones(n)])
    total = a.sum()
    moments = (np.outer(a, a) + np.diag(a)) / (total * (total + 1))
    gains = differences if higher else -differences
    better, worse = ((moments * indicator(sign * gains, 0.01)).sum() for sign in (1, -1))
    means = [found.theta_better, found.theta_worse, found.theta_rope]
    assert means == pytest.approx([better, worse, 1 - better - worse], abs=0.004)
    assert (found.n, found.draws, found.prior_strength, found.prior_at) == (n, 50_000, 0.5, 0.0)


def test_the_verdicts_of_clear_cases():
    rng = np.random.default_rng(0)
    gain, none = rng.normal(0.05, 0.01, 30), rng.normal(0.0, 0.005, 30)
    assert alone(gain, 0.01, higher_is_better=True).p_better > 0.999
    assert alone(gain, 0.01, higher_is_better=False).p_worse > 0.999
    assert alone(none, 0.01, higher_is_better=True).p_rope > 0.999
    assert alone(np.zeros(5), 0.01, higher_is_better=True).p_rope == 1.0


def test_few_patients_leave_much_to_the_prior_and_say_so():
    found = alone(np.array([0.05]), 0.01, higher_is_better=True)
    assert found.theta_rope > 0.1
    assert found.p_better < 0.95
    empty = alone(np.zeros(0), 0.01, higher_is_better=True)
    assert (empty.n, math.isnan(empty.p_better)) == (0, True)


@randomly(TIED, st.booleans(), st.randoms())
@settings(deadline=None, max_examples=20)
def test_row_order_direction_and_company_change_nothing(differences, higher, random):
    found = alone(differences, 0.01, higher_is_better=higher, draws=300)
    shuffled = differences.copy()
    random.shuffle(shuffled)
    assert alone(shuffled, 0.01, higher_is_better=higher, draws=300) == found
    assert alone(-differences, 0.01, higher_is_better=not higher, draws=300) == found
    other = {"b": np.array([0.1, 0.2]), "a": differences, "c": -differences}
    assert bayes_signed_ranks(other, 0.01, higher_is_better=higher, draws=300)["a"] == found
    assert found.p_better + found.p_rope + found.p_worse == pytest.approx(1, abs=1e-12)


def test_infinite_gains_count_and_opposite_ones_cancel():
    lost = alone(np.array([math.inf, math.inf, 0.0]), 1.0, higher_is_better=False)
    assert lost.p_worse > 0.5
    even = alone(np.array([math.inf, -math.inf]), 1.0, higher_is_better=False, draws=50_000)
    assert even.theta_better == pytest.approx(even.theta_worse, abs=0.005)
    assert even.theta_rope == pytest.approx(2 / (2.5 * 3.5) + 0.5 * 1.5 / (2.5 * 3.5), abs=0.005)


def test_what_cannot_be_asked():
    with pytest.raises(ValueError, match=r"rope must be >= 0, got -0\.01"):
        alone(np.zeros(3), -0.01, higher_is_better=True)
    with pytest.raises(ValueError, match=r"arm 'x': 1 of 2 differences are NaN"):
        bayes_signed_ranks({"x": np.array([0.1, math.nan])}, 0.01, higher_is_better=True)


def test_fifty_thousand_draws_of_five_hundred_patients_take_moments():
    differences = np.random.default_rng(0).normal(0, 0.02, 500)
    start = time.process_time()
    found = alone(differences, 0.01, higher_is_better=True, draws=50_000)
    assert time.process_time() - start < 20.0
    assert {type(value) for value in vars(found).values()} == {int, float}
    assert plain(found)["draws"] == 50_000
    assert alone(differences[:100], 0.01, higher_is_better=True).draws == 50_000
    assert alone(differences, 0.01, higher_is_better=True).draws == 10_000
