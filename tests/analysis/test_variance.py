"""Variance components, and tests that keep their level when retraining moves the scores."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from score_arrays import crossed, cut, reduced_of
from simulated_results import CONTROL, arm, simulate
from statsmodels.stats.anova import AnovaRM, anova_lm

from analysis.method.contrasts import basis, hillis_f, repeated_f
from analysis.method.variance import (
    all_components,
    components,
    mean_squares,
    method_test,
    method_tests,
    nadeau_bengio,
    run_means,
    run_omnibus,
    two_way,
)
from analysis.ranking.omnibus import NoOmnibus
from analysis.records import mean_estimate, plain
from analysis.table.checks import complete
from analysis.table.scores import Design, scores_of
from analysis.table.tables import AnalysisPlan, reduce

ARMS = [arm(CONTROL, 0), arm("x", 8)]
NAMES = [one.name for one in ARMS]


def reduced(**settings):
    table = simulate(ARMS, settings.pop("shifts", {}), **settings)
    return reduce(complete(table, NAMES, "dice"), AnalysisPlan(), NAMES, "dice")


def test_mean_squares_are_those_of_an_anova():
    y = np.random.default_rng(0).normal(size=(6, 4)) + np.arange(6)[:, None]
    long = pd.DataFrame({"y": y.ravel(), "p": np.repeat(range(6), 4), "r": np.tile(range(4), 6)})
    oracle = anova_lm(smf.ols("y ~ C(p) + C(r)", long).fit())["mean_sq"]
    found = mean_squares(y)
    assert [found.patients, found.runs, found.residual] == pytest.approx(oracle.tolist())


def test_components_find_the_simulated_spread():
    found = components(reduced(patients=80, seeds=40, run_sd=0.01, residual_sd=0.02, classes=("1",)), CONTROL)
    assert found.run == pytest.approx(0.01, rel=0.3)
    assert found.residual == pytest.approx(0.02, rel=0.1)
    assert found.patient == pytest.approx(0.06, rel=0.3)
    assert found.between_seeds == pytest.approx(math.hypot(0.01, 0.02 / math.sqrt(80)), rel=0.3)


def test_one_seed_has_no_components_and_no_method_test():
    one = reduced(seeds=1)
    assert math.isnan(components(one, CONTROL).run)
    assert method_test(one, "x", CONTROL, 0.95) is None


def test_run_means_are_plain_means():
    found = reduced(seeds=2, folds=2, patients=6)
    runs = run_means(found)
    cells = found.cells
    assert len(runs) == 2 * 2 * 2
    for run in runs:
        mine = cells[(cells["arm"] == run.arm) & (cells["fold"] == run.fold) & (cells["seed"] == run.seed)]
        assert (run.n, run.value) == (3, pytest.approx(mine["value"].mean()))


def test_folds_are_tested_by_their_means():
    found = reduced(folds=4, seeds=2, patients=16, shifts={"x": 0.02})
    test = method_test(found, "x", CONTROL, 0.95)
    fold = found.cells.groupby("patient")["fold"].first()
    means = (found.wide["x"] - found.wide[CONTROL]).groupby(fold).mean()
    oracle = stats.ttest_1samp(means, 0)
    assert test.units == 4
    assert test.estimate.p == pytest.approx(oracle.pvalue)
    # variance factor 1/J + n_test/n_train = 1/4 + 1/3 in place of 1/4
    assert test.nadeau_bengio.se == pytest.approx(test.estimate.se * math.sqrt((1 / 4 + 1 / 3) / (1 / 4)))


def test_nadeau_bengio_by_hand():
    d = np.array([0.01, 0.03, 0.02, 0.04, 0.0])
    t = d.mean() / math.sqrt(d.var(ddof=1) * (1 / 5 + 1 / 4))
    found = nadeau_bengio(d, 1 / 4, 0.95)
    assert found.p == pytest.approx(2 * stats.t.sf(t, 4))


def test_two_way_by_hand():
    d = np.random.default_rng(1).normal(0.01, 0.02, (7, 3))
    ms = mean_squares(d)
    spread = ms.runs + max(ms.patients - ms.residual, 0)
    found = two_way(d, 0.95)
    assert found.se == pytest.approx(math.sqrt(spread / 21))
    assert found.df == pytest.approx(spread**2 / (ms.runs**2 / 2 + ms.patients**2 / 6 + ms.residual**2 / 12))
    assert two_way(np.full((4, 2), 0.01), 0.95).p == 0
    assert two_way(np.zeros((4, 2)), 0.95).p == 1


def test_the_df_of_a_pair_are_never_below_those_of_its_runs():
    """Without a patient x arm effect Satterthwaite's formula alone gives next to none with two runs."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        found = two_way(rng.normal(0, 0.003, 2) + rng.normal(0, 0.02, (40, 2)), 0.95)
        assert found.df >= 1


def test_two_way_keeps_its_level_where_patients_as_blocks_do_not():
    rng = np.random.default_rng(2)
    method = patients = 0
    for _ in range(400):
        runs = rng.normal(0, 0.006, (2, 1, 5))
        y = rng.normal(0, 0.01, (2, 30, 1)) + runs + rng.normal(0, 0.02, (2, 30, 5))
        d = y[0] - y[1]
        method += two_way(d, 0.95).p < 0.05
        patients += stats.ttest_1samp(d.mean(axis=1), 0).pvalue < 0.05
    assert 0.02 <= method / 400 <= 0.09
    assert patients / 400 > 0.12


def test_fold_means_keep_their_level():
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(400):
        patients = rng.normal(0, 0.015, (5, 8)).mean(axis=1)
        folds = rng.normal(0, 0.006 * math.sqrt(2 / 3), 5) + patients
        rejected += stats.ttest_1samp(folds, 0).pvalue < 0.05
    assert 0.02 <= rejected / 400 <= 0.09


def test_scores_hold_every_cell_in_order():
    y = crossed(np.random.default_rng(0), 3, 5, 2)
    scores = scores_of(reduced_of(y))
    assert scores.values.tolist() == y.reshape(3, -1).tolist()
    folds = cut(np.random.default_rng(0), 2, 7, 2, folds=3)
    parts = scores_of(reduced_of(folds))
    assert [parts.values[:, part].tolist() for part in parts.parts()] == [y.reshape(2, -1).tolist() for y, _ in folds]
    assert [parts.patient[part][::2].tolist() for part in parts.parts()] == [patients for _, patients in folds]


def test_all_arms_at_once_are_each_arm_alone():
    for source in (crossed(np.random.default_rng(1)), cut(np.random.default_rng(1))):
        found = reduced_of(source)
        alone = tuple(method_test(found, name, "arm 1", 0.95) for name in ("arm 0", "arm 2", "arm 3"))
        assert method_tests(found, "arm 1", 0.95) == alone
        assert all_components(found) == tuple(components(found, f"arm {i}") for i in range(4))


def test_method_tests_do_not_depend_on_row_order_or_names():
    found = reduced_of(cut(np.random.default_rng(2)))
    shuffled = dataclasses.replace(found, cells=found.cells.sample(frac=1, random_state=0))
    assert method_tests(shuffled, "arm 0", 0.95) == method_tests(found, "arm 0", 0.95)
    assert run_omnibus(shuffled, level=0.95) == run_omnibus(found, level=0.95)
    y = crossed(np.random.default_rng(2))
    turned = run_omnibus(reduced_of(y[[2, 0, 3, 1]]), level=0.95)
    straight = run_omnibus(reduced_of(y), level=0.95)
    assert (turned.test.f, turned.test.df2) == pytest.approx((straight.test.f, straight.test.df2))


def test_a_patient_missed_by_one_arm_is_left_out_of_its_tests_alone():
    y = crossed(np.random.default_rng(3), 3, 12, 3)
    y[2, 4, 1] = math.inf
    found = reduced_of(y, metric="hd95_mm")
    first, second = method_tests(found, "arm 0", 0.95)
    assert (first.patients, second.patients) == (12, 11)
    kept = np.delete(y, 4, axis=1)
    assert second.estimate == method_test(reduced_of(kept), "arm 2", "arm 0", 0.95).estimate
    omnibus = run_omnibus(found, level=0.95)
    assert (omnibus.n, omnibus.left_out) == (11, 1)
    assert omnibus.test == run_omnibus(reduced_of(kept), level=0.95).test


def test_hillis_mean_squares_are_those_of_an_anova():
    y = crossed(np.random.default_rng(4), 3, 6, 4)
    a, p, r = (part.ravel() for part in np.indices(y.shape))
    long = pd.DataFrame({"y": y.ravel(), "a": a, "p": p, "r": r})
    model = "y ~ C(a) + C(p) + C(r) + C(a):C(r) + C(a):C(p) + C(p):C(r)"
    table = anova_lm(smf.ols(model, long).fit())
    ms, rest = table["mean_sq"], table.loc["Residual", "mean_sq"]
    den = ms["C(a):C(r)"] + max(ms["C(a):C(p)"] - rest, 0)
    found = run_omnibus(reduced_of(y), level=0.95)
    assert found.test.f == pytest.approx(ms["C(a)"] / den)
    assert found.test.df2 == pytest.approx(den**2 / (ms["C(a):C(r)"] ** 2 / (2 * 3)))
    assert found.test.p == pytest.approx(stats.f.sf(found.test.f, 2, found.test.df2))
    assert (found.k, found.units, found.design) == (3, 4, Design.HELD_OUT)


def test_the_f_of_one_contrast_is_the_square_of_the_two_way_test():
    y = crossed(np.random.default_rng(5), 2, 9, 3)
    one = two_way(y[1] - y[0], 0.95)
    found = hillis_f(np.tensordot(basis(np.array([[-1.0, 1.0]])), y, 1))
    assert (found.f, found.df2, found.p) == pytest.approx(((one.value / one.se) ** 2, one.df, one.p))


def test_fold_means_omnibus_is_a_repeated_measures_anova():
    folds = cut(np.random.default_rng(6), 4, 24, 2, folds=6)
    found = run_omnibus(reduced_of(folds), level=0.95)
    means = np.array([y.mean(axis=(1, 2)) for y, _ in folds])
    fold, a = (part.ravel() for part in np.indices(means.shape))
    oracle = AnovaRM(pd.DataFrame({"y": means.ravel(), "f": fold, "a": a}), "y", "f", within=["a"]).fit().anova_table
    assert found.test.f == pytest.approx(oracle["F Value"].iloc[0])
    assert found.test.p_uncorrected == pytest.approx(oracle["Pr > F"].iloc[0])
    # Greenhouse and Geisser 1959 from the double-centred covariance matrix
    cov = np.cov(means.T)
    double = cov - cov.mean(axis=0) - cov.mean(axis=1)[:, None] + cov.mean()
    epsilon = np.trace(double) ** 2 / (3 * (double**2).sum())
    assert found.test.greenhouse_geisser == pytest.approx(epsilon)
    assert found.test.p_greenhouse_geisser == pytest.approx(stats.f.sf(found.test.f, 3 * epsilon, 15 * epsilon))
    assert found.test.epsilon == pytest.approx(min((6 * 3 * epsilon - 2) / (3 * (5 - 3 * epsilon)), 1))
    assert found.test.p_uncorrected <= found.test.p <= found.test.p_greenhouse_geisser


def test_omnibus_components_find_the_simulated_spread():
    rng = np.random.default_rng(7)
    for source in (crossed(rng, 6, 300, 30, run_sd=0.01), cut(rng, 6, 300, 30, folds=3, run_sd=0.01)):
        found = run_omnibus(reduced_of(source), level=0.95)
        assert [found.patient, found.run, found.patient_arm, found.residual] == pytest.approx(
            [0.06, 0.01, 0.01, 0.02], rel=0.15
        )


def test_what_has_no_omnibus_says_why():
    rng = np.random.default_rng(8)
    missed = crossed(rng, 3)
    missed[1] = math.inf
    for source, reason in (
        (crossed(rng, 2), "two arms"),
        (crossed(rng, 3, seeds=1), "one run of each arm"),
        (missed, "0 of 24 patients"),
    ):
        found = run_omnibus(reduced_of(source), level=0.95)
        assert isinstance(found, NoOmnibus)
        assert found.reason.startswith(reason)


def test_without_any_spread_the_omnibus_is_certain():
    same = np.tile(np.linspace(0.7, 0.9, 6)[None, :, None], (3, 1, 4))
    assert run_omnibus(reduced_of(same), level=0.95).test.p == 1
    shifted = run_omnibus(reduced_of(same + np.array([0, 0, 0.01])[:, None, None]), level=0.95)
    assert (shifted.test.p, shifted.test.f) == (0, math.inf)
    assert plain(shifted)["test"]["f"] == "inf"


def overlapping(rng, patients=30, tested=10, folds=6, arms=2):
    """Hold-out repeated on the same patients, whose differences between arms stay what they are."""
    own = rng.normal(0, 0.01, (arms, patients, 1))
    drawn = [sorted(rng.choice(patients, tested, replace=False).tolist()) for _ in range(folds)]
    return [(0.8 + own[:, mine] + rng.normal(0, 0.005, (arms, tested, 2)), mine) for mine in drawn]


def test_overlapping_test_sets_are_judged_by_nadeau_and_bengio():
    folds = overlapping(np.random.default_rng(9))
    (found,) = method_tests(reduced_of(folds), "arm 0", 0.95, test_over_train=0.5)
    means = np.array([(y[1] - y[0]).mean() for y, _ in folds])
    assert (found.design, found.interval) == (Design.REPEATED_HOLD_OUT, "Nadeau-Bengio")
    assert found.estimate == found.nadeau_bengio
    assert found.estimate.se == pytest.approx(math.sqrt(means.var(ddof=1) * (1 / 6 + 0.5)))
    assert found.uncorrected == mean_estimate(means.round(12), 0.95)
    k_fold = method_test(reduced_of(cut(np.random.default_rng(9))), "arm 1", "arm 0", 0.95)
    assert (k_fold.interval, k_fold.uncorrected) == ("fold means", None)
    assert k_fold.estimate.se < k_fold.nadeau_bengio.se


def test_without_the_ratio_the_table_tells_how_many_trained():
    folds = overlapping(np.random.default_rng(10), patients=12, tested=4, folds=8)
    found = method_test(reduced_of(folds), "arm 1", "arm 0", 0.95)
    assert found.test_over_train == pytest.approx(4 / 8)
    same = [(y, list(range(4))) for y, _ in folds]
    hidden = method_test(reduced_of(same), "arm 1", "arm 0", 0.95)
    assert math.isinf(hidden.estimate.se)
    assert hidden.estimate.p == 1


def test_overlap_divides_the_omnibus_as_it_widens_the_interval():
    folds = overlapping(np.random.default_rng(11), arms=3)
    plain_f = repeated_f(np.array([y.mean(axis=(1, 2)) for y, _ in folds]) @ basis(np.eye(3) - 1 / 3).T)
    found = run_omnibus(reduced_of(folds), level=0.95, test_over_train=0.5)
    assert found.test.f == pytest.approx(plain_f.f / (1 + 6 * 0.5))
    assert found.test.inflation == 4


def test_repeated_hold_out_keeps_its_level_only_when_corrected():
    rng = np.random.default_rng(12)
    plain_rejects = corrected_rejects = 0
    for _ in range(400):
        own = rng.normal(0, 0.01, 30)
        means = np.array([own[rng.choice(30, 10, replace=False)].mean() for _ in range(6)])
        plain_rejects += mean_estimate(means, 0.95).p < 0.05
        corrected_rejects += nadeau_bengio(means, 10 / 20, 0.95).p < 0.05
    assert plain_rejects / 400 > 0.2
    assert corrected_rejects / 400 <= 0.08


@pytest.mark.parametrize("run_sd", [0, 0.003, 0.006, 0.012])
def test_method_level_tests_keep_their_level(run_sd):
    rng, runs = np.random.default_rng(13), 700
    rows = basis(np.eye(4) - 1 / 4)
    rejects = dict.fromkeys(("omnibus", "pair", "omnibus of folds", "pair of folds", "Greenhouse-Geisser"), 0)
    for _ in range(runs):
        y = crossed(rng, 4, 30, 5, run_sd=run_sd)
        means = np.array([y.mean(axis=(1, 2)) for y, _ in cut(rng, 4, 30, 2, folds=5, run_sd=run_sd)])
        folds = repeated_f(means @ rows.T)
        rejects["omnibus"] += hillis_f(np.tensordot(rows, y, 1)).p < 0.05
        rejects["pair"] += two_way(y[1] - y[0], 0.95).p < 0.05
        rejects["omnibus of folds"] += folds.p < 0.05
        rejects["Greenhouse-Geisser"] += folds.p_greenhouse_geisser < 0.05
        rejects["pair of folds"] += mean_estimate(means[:, 1] - means[:, 0], 0.95).p < 0.05
    too_careful = rejects.pop("Greenhouse-Geisser")
    assert all(0.03 <= count / runs <= 0.08 for count in rejects.values()), rejects
    assert too_careful < rejects["omnibus of folds"]


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (5, 4), elements=st.integers(-50, 50)), st.permutations(range(4)), st.integers(-9, 9))
def test_neither_the_order_of_arms_nor_a_constant_per_unit_moves_the_f(table, order, step):
    rows = basis(np.eye(4) - 1 / 4)
    found = repeated_f((table @ rows.T).round(12))
    moved = repeated_f(((table + step * np.arange(5)[:, None])[:, order] @ rows.T).round(12))
    assert moved.p == pytest.approx(found.p, rel=1e-6, abs=1e-12)
    assert moved.p_greenhouse_geisser == pytest.approx(found.p_greenhouse_geisser, rel=1e-6, abs=1e-12)
