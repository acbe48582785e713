"""Meta-analysis over data sets: agreement with statsmodels, its traps, and what few data sets leave open."""

import math
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from medsweep.analysis.records import to_json
from medsweep.analysis.stats.meta_analysis import (
    StudyEffect,
    few_studies,
    friedman_over_datasets,
    synthesise,
    synthesise_all,
)
from medsweep.analysis.stats.omnibus import NoOmnibus


def studies(effects, ses, label="b-sg"):
    return [StudyEffect(f"set-{i}", label, e, s, 20 + i) for i, (e, s) in enumerate(zip(effects, ses, strict=True))]


def drawn(k, between, seed=0):
    rng = np.random.default_rng(seed)
    ses = rng.uniform(0.002, 0.006, k)
    return studies((0.005 + rng.normal(0, between, k) + rng.normal(0, ses)).tolist(), ses.tolist())


def oracle(given, method):
    """statsmodels on the same studies."""
    effects, variances = np.array([s.effect for s in given]), np.array([s.se**2 for s in given])
    return combine_effects(effects, variances, method_re=method, use_t=True)


def common_se(given):
    """Standard error of the mean of one common effect."""
    return 1 / math.sqrt(sum(1 / study.se**2 for study in given))


@pytest.mark.parametrize("k", [3, 6, 12])
def test_hartung_knapp_is_the_wls_row_of_statsmodels(k):
    given = drawn(k, 0.01, seed=k)
    found, them = synthesise(given, level=0.95), oracle(given, "iterated")
    assert found.tau2 == pytest.approx(them.tau2, rel=1e-6)
    assert (found.q, found.estimate.df) == (pytest.approx(them.q, rel=1e-9), k - 1)
    # ours is never below the classical variance
    guard = math.sqrt(max(1.0, 1 / them.scale_hksj_re))
    assert [found.estimate.value, found.estimate.se] == pytest.approx(
        [them.mean_effect_re, guard * math.sqrt(them.var_hksj_re)], rel=1e-6
    )
    half = [(high - low) / 2 for low, high in (them.conf_int()[3], (found.estimate.low, found.estimate.high))]
    assert half[1] == pytest.approx(guard * half[0], rel=1e-6)


def test_studies_that_agree_by_luck_do_not_narrow_the_interval():
    given = studies([0.0100, 0.0101, 0.0099], [0.004, 0.004, 0.004])
    them = oracle(given, "dl")
    # statsmodels lets the variance between data sets fall below 0, and the interval with it
    assert them.tau2 < 0
    low, high = them.conf_int()[3]
    found, se = synthesise(given, level=0.95), common_se(given)
    assert (high - low) / 2 < 0.1 * 1.96 * se
    assert found.tau2 == 0.0
    assert found.estimate.se == pytest.approx(se, rel=1e-12)
    assert found.estimate.high - found.estimate.value == pytest.approx(stats.t.ppf(0.975, 2) * se)


@randomly(st.lists(st.tuples(st.floats(-0.1, 0.1), st.floats(0.001, 0.1)), min_size=2, max_size=8))
@settings(deadline=None, max_examples=40)
def test_laws_of_the_synthesis(pairs):
    given = studies([e for e, _ in pairs], [s for _, s in pairs])
    found = synthesise(given, level=0.95)
    assert to_json(synthesise(given[::-1], level=0.95)) == to_json(found)
    assert found.estimate.high - found.estimate.low >= 2 * 1.9599 * common_se(given) - 1e-12
    assert found.tau2 >= 0
    assert 0 <= found.i2 < 1
    assert sum(one.weight for one in found.studies) == pytest.approx(1)
    mirrored = synthesise([replace(one, effect=-one.effect) for one in given], level=0.95)
    assert mirrored.estimate.value == pytest.approx(-found.estimate.value, abs=1e-12)
    if found.tau2 > 0:
        weights = np.array([1 / (s**2 + found.tau2) for _, s in pairs])
        effects = np.array([e for e, _ in pairs])
        centre = (weights * effects).sum() / weights.sum()
        assert (weights * (effects - centre) ** 2).sum() == pytest.approx(len(pairs) - 1, abs=1e-4)


def test_heterogeneity_and_prediction_by_hand():
    found = synthesise(studies([0.0, 0.02, 0.04], [0.005, 0.005, 0.005]), level=0.95)
    assert found.q == pytest.approx(32.0)
    assert found.i2 == pytest.approx(30 / 32)
    assert found.tau2 == pytest.approx(0.0004 - 0.000025)
    assert found.q_p == pytest.approx(stats.chi2.sf(32, 2))
    half = stats.t.ppf(0.975, 1) * math.sqrt(found.tau2 + found.estimate.se**2)
    assert [found.prediction_low, found.prediction_high] == pytest.approx([0.02 - half, 0.02 + half])


def test_coverage_with_few_data_sets_is_nominal_where_the_normal_interval_is_not():
    rng = np.random.default_rng(1)
    guarded, normal = [], []
    for _ in range(300):
        ses = rng.uniform(0.003, 0.006, 4)
        found = synthesise(studies(rng.normal(0, 0.006, 4) + rng.normal(0, ses), ses), level=0.95)
        guarded.append(found.estimate.low < 0 < found.estimate.high)
        normal.append(abs(found.estimate.value) < 1.96 / math.sqrt(sum(1 / (s**2 + found.tau2) for s in ses)))
    assert np.mean(guarded) >= 0.93
    assert np.mean(normal) < 0.92


@pytest.mark.parametrize(
    ("k", "said"),
    [
        (1, "One data set: there is nothing to combine"),
        (2, "2 data sets: 1 degree of freedom, 12.7 standard errors to each side"),
        (6, "6 data sets: 5 degrees of freedom, 2.6 standard errors"),
        (7, ""),
    ],
)
def test_few_data_sets_are_said_plainly(k, said):
    found = synthesise(drawn(k, 0.01), level=0.95)
    assert found.note.startswith(said) if said else found.note == ""
    assert found.note == few_studies(k, 0.95)
    assert found.note.endswith("no prediction interval exists.") == (k == 2)
    assert math.isnan(found.prediction_low) == (k < 3)
    assert math.isnan(found.estimate.low) == (k == 1)
    assert (found.k, found.n) == (k, sum(range(20, 20 + k)))
    assert '"label": "b-sg"' in to_json(found)


def test_a_study_of_each_label_in_first_order():
    delta = np.array([0.01, 0.02, 0.04])
    one = StudyEffect("set-0", "late", delta.mean(), delta.std(ddof=1) / math.sqrt(3), 3)
    found = synthesise_all([one, *drawn(3, 0.01), replace(one, dataset="set-1")], level=0.95)
    assert [(meta.label, meta.k) for meta in found] == [("late", 2), ("b-sg", 3)]


def test_consensus_ranks_and_friedman_are_extras():
    rng = np.random.default_rng(2)
    given = [
        StudyEffect(f"set-{d}", label, shift + rng.normal(0, 0.001), 0.01, 9)
        for d in range(6)
        for label, shift in (("good", 0.02), ("bad", -0.02), ("rare", 0.05))
        if label != "rare" or d
    ]
    found = friedman_over_datasets(given, higher_is_better=True, control="real only")
    assert (found.labels, found.mean_ranks, found.best) == (("real only", "good", "bad"), (2.0, 1.0, 3.0), (0, 6, 0))
    assert found.left_out == ("rare",)
    assert found.note.startswith("exploratory: 6 data sets as blocks")
    wide = [[0.0] * 6, *([s.effect for s in given if s.label == name] for name in ("good", "bad"))]
    assert found.omnibus.chi2 == pytest.approx(stats.friedmanchisquare(*wide).statistic)
    turned = friedman_over_datasets(given, higher_is_better=False, control="real only")
    assert turned.mean_ranks == (2.0, 3.0, 1.0)
    assert isinstance(friedman_over_datasets(given[:1], higher_is_better=True).omnibus, NoOmnibus)
