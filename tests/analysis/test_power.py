"""Power against G*Power, a published table, and simulation."""

import math

import numpy as np
import pytest
from published import expected, given, wide

from analysis.effects import effect
from analysis.equivalence import tost
from analysis.power import detectable, power_of, tost_power
from analysis.ranks import rank_stability


def test_detectable_inverts_gpower():
    n = expected("gpower_paired_t", "n_continuous")
    found = detectable(n, 1.0, given("gpower_paired_t", "alpha"), given("gpower_paired_t", "power"))
    assert found == pytest.approx(given("gpower_paired_t", "dz"), rel=1e-4)


def test_smaller_alpha_needs_a_larger_difference():
    assert detectable(20, 0.04, 0.05 / 6) == pytest.approx(0.034, abs=5e-4)
    assert detectable(20, 0.04, 0.05) == pytest.approx(0.026, abs=5e-4)


@pytest.mark.parametrize(("n", "sd"), [(20, 0.02), (40, 0.02), (40, 0.04)])
def test_tost_power_by_simulation(n, sd):
    rng = np.random.default_rng(n)
    hits = np.mean([tost(rng.normal(0, sd, n), 0.01, 0.05).inside for _ in range(1500)])
    assert tost_power(n, sd, 0.01, 0.05) == pytest.approx(hits, abs=0.04)


def test_edges():
    alone = effect("x", np.array([0.1]), higher_is_better=True, level=0.95)
    assert math.isnan(power_of(alone, margin=0.01, alpha=0.05, comparisons=3).detectable)
    sure = effect("x", np.full(4, 0.1), higher_is_better=True, level=0.95)
    assert power_of(sure, margin=0.01, alpha=0.05, comparisons=3).tost == 1.0


def test_rank_stability_is_firm_for_a_clear_winner_and_shared_for_twins():
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.05, 20)
    clear = wide(np.stack([base, base + 0.05, base - 0.05], axis=1).tolist())
    first, best, worst = rank_stability(clear, higher_is_better=True, level=0.95)
    assert (best.share_first, best.low, best.high) == (1.0, 1.0, 1.0)
    assert (first.rank, worst.rank) == (2.0, 3.0)
    twins = rank_stability(wide(np.stack([base, base], axis=1).tolist()), higher_is_better=False, level=0.95)
    assert [one.share_first for one in twins] == [0.5, 0.5]


def test_rank_stability_ignores_row_order_and_direction_flips_with_the_metric():
    table = wide(np.random.default_rng(1).normal(size=(9, 4)).tolist())
    found = rank_stability(table, higher_is_better=True, level=0.95)
    assert rank_stability(table.iloc[::-1], higher_is_better=True, level=0.95) == found
    assert rank_stability(-table, higher_is_better=False, level=0.95) == found
