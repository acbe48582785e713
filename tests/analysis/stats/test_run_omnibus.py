"""The omnibus test over runs: its F against an ANOVA's, and the level that it keeps."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.anova import AnovaRM, anova_lm

from helpers.score_arrays import crossed, cut, overlapping, reduced_of
from medsweep.analysis.records import mean_estimate, plain
from medsweep.analysis.stats.method_tests import basis, hillis_f, repeated_f, run_omnibus, two_way
from medsweep.analysis.stats.omnibus import NoOmnibus
from medsweep.analysis.table.score_array import Replication


def test_hillis_mean_squares_are_those_of_an_anova():
    y = crossed(np.random.default_rng(4), 3, 6, 4)
    a, p, r = (part.ravel() for part in np.indices(y.shape))
    long = pd.DataFrame({"y": y.ravel(), "a": a, "p": p, "r": r})
    model = "y ~ C(a) + C(p) + C(r) + C(a):C(r) + C(a):C(p) + C(p):C(r)"
    table = anova_lm(smf.ols(model, long).fit())
    ms, rest = table["mean_sq"], table.loc["Residual", "mean_sq"]
    den = ms["C(a):C(r)"] + max(ms["C(a):C(p)"] - rest, 0)
    found = run_omnibus(reduced_of(y))
    assert found.test.f == pytest.approx(ms["C(a)"] / den)
    assert found.test.df2 == pytest.approx(den**2 / (ms["C(a):C(r)"] ** 2 / (2 * 3)))
    assert found.test.p == pytest.approx(stats.f.sf(found.test.f, 2, found.test.df2))
    assert (found.k, found.units, found.design) == (3, 4, Replication.HELD_OUT)


def test_the_f_of_one_contrast_is_the_square_of_the_two_way_test():
    y = crossed(np.random.default_rng(5), 2, 9, 3)
    one = two_way(y[1] - y[0], 0.95)
    found = hillis_f(np.tensordot(basis(np.array([[-1.0, 1.0]])), y, 1))
    assert (found.f, found.df2, found.p) == pytest.approx(((one.value / one.se) ** 2, one.df, one.p))


def test_fold_means_omnibus_is_a_repeated_measures_anova():
    folds = cut(np.random.default_rng(6), 4, 24, 2, folds=6)
    found = run_omnibus(reduced_of(folds))
    means = np.array([y.mean(axis=(1, 2)) for y, _ in folds])
    fold, a = (part.ravel() for part in np.indices(means.shape))
    oracle = AnovaRM(pd.DataFrame({"y": means.ravel(), "f": fold, "a": a}), "y", "f", within=["a"]).fit().anova_table
    assert found.test.f == pytest.approx(oracle["F Value"].iloc[0])
    # Greenhouse and Geisser 1959 from the double-centred covariance matrix
    cov = np.cov(means.T)
    double = cov - cov.mean(axis=0) - cov.mean(axis=1)[:, None] + cov.mean()
    epsilon = np.trace(double) ** 2 / (3 * (double**2).sum())
    assert found.test.epsilon == pytest.approx(min((6 * 3 * epsilon - 2) / (3 * (5 - 3 * epsilon)), 1))
    assert found.test.p == pytest.approx(stats.f.sf(found.test.f, 3 * found.test.epsilon, 15 * found.test.epsilon))


def test_what_has_no_omnibus_says_why():
    rng = np.random.default_rng(8)
    missed = crossed(rng, 3)
    missed[1] = math.inf
    for source, reason in (
        (crossed(rng, 2), "two arms"),
        (crossed(rng, 3, seeds=1), "one run of each arm"),
        (missed, "0 of 24 patients"),
    ):
        found = run_omnibus(reduced_of(source))
        assert isinstance(found, NoOmnibus)
        assert found.reason.startswith(reason)


def test_without_any_spread_the_omnibus_is_certain():
    same = np.tile(np.linspace(0.7, 0.9, 6)[None, :, None], (3, 1, 4))
    assert run_omnibus(reduced_of(same)).test.p == 1
    shifted = run_omnibus(reduced_of(same + np.array([0, 0, 0.01])[:, None, None]))
    assert (shifted.test.p, shifted.test.f) == (0, math.inf)
    assert plain(shifted)["test"]["f"] == "inf"


def test_overlap_divides_the_omnibus_as_it_widens_the_interval():
    folds = overlapping(np.random.default_rng(11), arms=3)
    plain_f = repeated_f(np.array([y.mean(axis=(1, 2)) for y, _ in folds]) @ basis(np.eye(3) - 1 / 3).T)
    found = run_omnibus(reduced_of(folds), test_over_train=0.5)
    assert found.test.f == pytest.approx(plain_f.f / (1 + 6 * 0.5))


@pytest.mark.parametrize("run_sd", [0, 0.003, 0.006, 0.012])
def test_method_level_tests_keep_their_level(run_sd):
    rng, runs = np.random.default_rng(13), 700
    rows = basis(np.eye(4) - 1 / 4)
    rejects = dict.fromkeys(("omnibus", "pair", "omnibus of folds", "pair of folds"), 0)
    for _ in range(runs):
        y = crossed(rng, 4, 30, 5, run_sd=run_sd)
        means = np.array([y.mean(axis=(1, 2)) for y, _ in cut(rng, 4, 30, 2, folds=5, run_sd=run_sd)])
        folds = repeated_f(means @ rows.T)
        rejects["omnibus"] += hillis_f(np.tensordot(rows, y, 1)).p < 0.05
        rejects["pair"] += two_way(y[1] - y[0], 0.95).p < 0.05
        rejects["omnibus of folds"] += folds.p < 0.05
        rejects["pair of folds"] += mean_estimate(means[:, 1] - means[:, 0], 0.95).p < 0.05
    assert all(0.03 <= count / runs <= 0.08 for count in rejects.values()), rejects


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (5, 4), elements=st.integers(-50, 50)), st.permutations(range(4)), st.integers(-9, 9))
def test_neither_the_order_of_arms_nor_a_constant_per_unit_moves_the_f(table, order, step):
    rows = basis(np.eye(4) - 1 / 4)
    found = repeated_f((table @ rows.T).round(12))
    moved = repeated_f(((table + step * np.arange(5)[:, None])[:, order] @ rows.T).round(12))
    assert moved.p == pytest.approx(found.p, rel=1e-6, abs=1e-12)
