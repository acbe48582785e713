"""The bootstrap of a ranking against plain loops."""

import math

import numpy as np
import pytest
from scipy import stats

from helpers.published import wide
from medsweep.analysis.stats.effects import patient_weights
from medsweep.analysis.stats.rank_stability import ranking


def table(seed=1, n=9, k=4):
    return wide(np.random.default_rng(seed).normal(size=(n, k)).tolist())


def test_one_draw_for_all_arms_equals_a_loop_over_resamples():
    data = table().to_numpy()
    found = ranking(table(), higher_is_better=False, level=0.9, resamples=300)
    counts = (patient_weights(9, 300, "patients") * 9).round().astype(int)
    means = np.stack([np.repeat(data, row, axis=0).mean(axis=0) for row in counts])
    ranks = stats.rankdata(means, axis=1)
    full = stats.rankdata(data.mean(axis=0))
    for i, one in enumerate(found.arms):
        assert one.shares == pytest.approx([(ranks[:, i] == place).mean() for place in (1, 2, 3, 4)])
        ends = np.quantile(ranks[:, i], [0.05, 0.95], method="inverted_cdf")
        assert (one.rank, one.low, one.high) == (full[i], *ends)
        assert one.mean_rank == pytest.approx(stats.rankdata(data, axis=1)[:, i].mean())
    tau = [stats.kendalltau(row, full).statistic for row in ranks]
    assert found.tau == pytest.approx(np.mean(tau))
    ends = np.quantile(np.round(tau, 12), [0.05, 0.95], method="inverted_cdf")
    assert (found.tau_low, found.tau_high) == pytest.approx(tuple(ends))
    mean_ranks = [one.mean_rank for one in found.arms]
    assert found.tau_aggregation == pytest.approx(stats.kendalltau(mean_ranks, full).statistic)


def test_shares_of_an_arm_and_of_a_rank_sum_to_one_with_ties_too():
    base = np.random.default_rng(0).normal(size=12)
    twins = wide(np.stack([base, base, base + 0.1, base[::-1]], axis=1).tolist())
    shares = np.array([one.shares for one in ranking(twins, higher_is_better=True, level=0.95).arms])
    assert shares.sum(axis=0) == pytest.approx(np.ones(4))
    assert shares.sum(axis=1) == pytest.approx(np.ones(4))
    assert shares[0] == pytest.approx(shares[1])


def test_row_order_arm_order_and_direction_change_no_byte():
    found = ranking(table(), higher_is_better=True, level=0.95)
    assert ranking(table().iloc[::-1], higher_is_better=True, level=0.95) == found
    assert ranking(-table(), higher_is_better=False, level=0.95) == found
    turned = ranking(table().iloc[:, ::-1], higher_is_better=True, level=0.95).arms
    assert {one.arm: one for one in turned} == {one.arm: one for one in found.arms}
    assert ranking(table(), higher_is_better=True, level=0.95).arms == found.arms


def test_a_missed_structure_ranks_its_arm_last_where_the_patient_is_drawn():
    data = table(k=3).to_numpy().copy()
    data[:, 2] -= 9  # clearly best, but for the one patient it missed
    data[4, 2] = math.inf
    found = ranking(wide(data.tolist()), higher_is_better=False, level=0.95)
    drawn = (patient_weights(9, found.resamples, "patients")[:, 4] > 0).mean()
    assert found.arms[2].rank == 3.0
    assert found.arms[2].shares == pytest.approx((1 - drawn, 0.0, drawn))


def test_alike_arms_have_no_tau_and_a_hole_is_refused():
    assert math.isnan(ranking(wide([[1.0, 1.0]] * 3), higher_is_better=True, level=0.95).tau)
    with pytest.raises(ValueError, match="1 of 2 patients lack a score"):
        ranking(wide([[1.0, None], [1.0, 2.0]]), higher_is_better=True, level=0.95)
