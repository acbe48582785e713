"""Sizes of differences against published numbers."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from hypothesis.extra.numpy import arrays
from scipy import stats

from helpers.published import expected, given
from medsweep.analysis.stats import effects
from medsweep.analysis.stats.effects import (
    RESAMPLES,
    effect,
    effects_of,
    p_better_interval,
    patient_weights,
)
from medsweep.analysis.stats.wilcoxon import signed_rank_pmf

DEPRESSION = (np.array(given("hollander_depression", "x")) - np.array(given("hollander_depression", "y"))).round(12)


def of(differences):
    return effect("x", differences, higher_is_better=True, level=0.95)


def test_hodges_lehmann_of_hollander_and_wolfe():
    found = effect("x", DEPRESSION, higher_is_better=True, level=0.95)
    assert found.hodges_lehmann == pytest.approx(expected("hollander_depression", "hodges_lehmann"))
    ci = found.hodges_lehmann_ci
    assert [ci.low, ci.high] == pytest.approx(expected("hollander_depression", "ci95"))
    assert ci.coverage == pytest.approx(0.9609, abs=5e-5)


def test_rank_sums_of_demsar_table_2():
    differences = np.array(given("demsar_wilcoxon", "differences"))
    found = effect("c4.5+m", differences, higher_is_better=True, level=0.95)
    wins = expected("demsar_wilcoxon", "sign_test")
    assert (found.wins, found.losses, found.ties) == (wins["wins"], wins["losses"], wins["ties"])
    # R+ and R- with the two zeros' ranks (sum 3) split: dropping them leaves R+ - 1.5 and R- - 1.5
    plus, minus = expected("demsar_wilcoxon", "R_plus") - 1.5, expected("demsar_wilcoxon", "R_minus") - 1.5
    assert found.rank_biserial == pytest.approx((plus - minus) / (plus + minus))


def test_exact_interval_is_the_widest_below_six_and_says_its_coverage():
    ci = of(np.array([1.0, 2, 3, 4, 5])).hodges_lehmann_ci
    assert (ci.low, ci.high) == (1, 5)
    assert ci.coverage == pytest.approx(1 - 2 / 2**5)


def test_normal_interval_takes_over_smoothly():
    sample = np.random.default_rng(3).normal(0.01, 0.02, 60)
    exact, large = of(sample[:50]).hodges_lehmann_ci, of(sample[:51]).hodges_lehmann_ci
    assert large.high - large.low == pytest.approx(exact.high - exact.low, rel=0.08)


def test_signed_rank_distribution_is_scipys():
    pmf = signed_rank_pmf(9)
    assert pmf.sum() == pytest.approx(1)
    p = stats.wilcoxon(DEPRESSION, alternative="greater", method="exact")
    assert pmf[int(p.statistic) :].sum() == pytest.approx(p.pvalue)


def test_t_interval_is_scipys():
    found = effect("x", DEPRESSION, higher_is_better=True, level=0.95).mean
    oracle = stats.ttest_1samp(DEPRESSION, 0)
    ci = oracle.confidence_interval()
    assert [found.p, found.low, found.high] == pytest.approx([oracle.pvalue, ci.low, ci.high])


def test_bca_is_repeatable_blind_to_order_and_near_t():
    first, second = of(DEPRESSION).bca, of(DEPRESSION[::-1]).bca
    assert first == second
    found = effect("x", DEPRESSION, higher_is_better=True, level=0.95)
    assert found.mean.low < first.low < found.mean.value < first.high < found.mean.high


def test_infinite_differences_count_in_ranks_and_stay_out_of_means():
    found = effect("x", np.array([math.inf, 1.0, 2.0, -math.inf]), higher_is_better=False, level=0.95)
    assert (found.n, found.n_finite, found.mean.value) == (4, 2, 1.5)
    assert (found.wins, found.losses) == (1, 3)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_patients_give_nan_not_an_error(n):
    found = effect("x", np.linspace(0.1, 0.2, n), higher_is_better=True, level=0.95)
    assert math.isnan(found.bca.low)
    assert math.isnan(found.mean.low) == (n < 2)
    assert found.wins == n


def test_no_spread_is_certain():
    found = effect("x", np.full(5, 0.02), higher_is_better=True, level=0.95)
    assert (found.mean.low, found.mean.high, found.mean.p) == (0.02, 0.02, 0.0)
    assert (found.bca.low, found.bca.high) == (0.02, 0.02)


@randomly(arrays(np.float64, st.integers(1, 12), elements=st.integers(-8, 8).map(float)))
@settings(deadline=None)
def test_flipping_the_metric_mirrors_everything(delta):
    up = effect("x", delta, higher_is_better=True, level=0.95)
    down = effect("x", -delta, higher_is_better=False, level=0.95)
    assert (up.wins, up.ties, up.losses) == (down.wins, down.ties, down.losses)
    assert up.rank_biserial == pytest.approx(down.rank_biserial)
    assert up.hodges_lehmann == pytest.approx(-down.hodges_lehmann)
    assert -1 <= up.rank_biserial <= 1


def test_bca_by_scipys_formula_on_the_same_resamples():
    sample = np.sort(np.random.default_rng(7).gamma(1.5, 1.0, 15).round(6))
    weights = patient_weights(15, RESAMPLES, "patients")
    means = (weights @ sample).round(12)
    bias = stats.norm.ppf(((means < sample.mean()).mean() + (means <= sample.mean().round(12)).mean()) / 2)
    jackknife = np.array([np.delete(sample, i).mean() for i in range(15)])
    pull = jackknife.mean() - jackknife
    a = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    z = stats.norm.ppf([0.025, 0.975])
    ends = np.quantile(means, stats.norm.cdf(bias + (bias + z) / (1 - a * (bias + z))))
    found = of(sample).bca
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-9)
    peer = stats.bootstrap((sample,), np.mean, n_resamples=20000, method="BCa", rng=1, batch=2000).confidence_interval
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=0.06 * (peer.high - peer.low))


def test_one_draw_serves_all_arms_and_no_arm_moves_another():
    rng = np.random.default_rng(1)
    differences = {f"arm {i}": rng.normal(0.01 * i, 0.02, 20).round(12) for i in range(4)}
    differences["missed one"] = np.array([math.inf, *rng.normal(0, 0.02, 19)])
    together = effects_of(differences, higher_is_better=True, level=0.95)
    assert [one.arm for one in together] == list(differences)
    for one in together:
        alone = effect(one.arm, differences[one.arm], higher_is_better=True, level=0.95)
        assert (one.bca.low, one.bca.high) == pytest.approx((alone.bca.low, alone.bca.high), abs=1e-12)
        assert (one.mean, one.hodges_lehmann_ci, one.wins) == (alone.mean, alone.hodges_lehmann_ci, alone.wins)
    assert together[-1].n_finite == 19
    assert effects_of({}, higher_is_better=True, level=0.95) == ()


def test_hodges_lehmann_is_the_median_of_all_walsh_averages():
    for n in (2, 9, 30, 61):
        sample = np.random.default_rng(n).normal(size=n).round(2)
        found = effect("x", sample, higher_is_better=True, level=0.9)
        i, j = np.triu_indices(n)
        averages = np.sort((sample[i] + sample[j]) / 2)
        assert found.hodges_lehmann == pytest.approx(np.median(averages), abs=1e-12)
        cut = int(np.searchsorted(averages, found.hodges_lehmann_ci.low))
        assert averages[cut] == found.hodges_lehmann_ci.low
        assert found.hodges_lehmann_ci.high in averages


@pytest.mark.parametrize("digits", [2, 6, 16])
def test_counted_walsh_averages_are_those_of_the_list(monkeypatch, digits):
    sample = np.random.default_rng(digits).normal(size=301).round(digits)
    listed = effect("x", sample, higher_is_better=True, level=0.95)
    monkeypatch.setattr(effects, "LISTED_UP_TO", 300)
    counted = effect("x", sample, higher_is_better=True, level=0.95)
    assert counted.hodges_lehmann == pytest.approx(listed.hodges_lehmann, abs=1e-14)
    for end in ("low", "high", "coverage"):
        own, other = getattr(counted.hodges_lehmann_ci, end), getattr(listed.hodges_lehmann_ci, end)
        assert own == pytest.approx(other, abs=1e-14)


def test_p_better_counts_a_tie_as_half_and_its_interval_is_wilsons_without_ties():
    found = effect("x", np.array([1.0, 2, 0, -1, 3]), higher_is_better=True, level=0.95)
    assert found.p_better == pytest.approx(3.5 / 5)
    oracle = stats.binomtest(13, 20).proportion_ci(0.95, method="wilson")
    plain = p_better_interval(13, 0, 20, 0.95)
    assert (plain.low, plain.high) == pytest.approx((oracle.low, oracle.high))
    tied = p_better_interval(9, 8, 20, 0.95)  # the same share from fewer decided patients
    assert plain.low < tied.low < 0.65 < tied.high < plain.high
    assert (p_better_interval(0, 7, 7, 0.95).low, p_better_interval(0, 7, 7, 0.95).high) == (0.5, 0.5)


def test_p_better_interval_holds_its_level():
    rng = np.random.default_rng(2)
    counts = rng.multinomial(60, [0.5, 0.2, 0.3], size=3000)
    inside = [p_better_interval(int(w), int(t), 60, 0.95) for w, t, _ in counts]
    assert np.mean([one.low <= 0.6 <= one.high for one in inside]) == pytest.approx(0.95, abs=0.015)
