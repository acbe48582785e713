"""The family that carries the verdicts: published oracles, the law of failures, cases whose right value is known."""

import math

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from scipy import stats

from medsweep.analysis.stats.arm_family import arm_tests
from medsweep.analysis.stats.arm_tests import Setting, Units, bounds_of, pair_weights
from medsweep.analysis.stats.dunnett import adjusted_p, quantiles
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.run_error import blocked_error, few_networks, independent_error
from medsweep.analysis.study.evidence import judge
from medsweep.analysis.table.reduction import AnalysisRules, Reduced
from medsweep.metrics import SCORES

DICE = AnalysisRules(margin=0.01)
DISTANCE = AnalysisRules(primary="hd95_mm", margin=0.3)


def reduced_of(values, metric="dice", folds=None):
    """Arms x runs x patients, the control first; ``folds`` of the patients."""
    arms = ["real", *(f"arm {i}" for i in range(1, len(values)))]
    keys = [arms, range(values.shape[1]), [f"case-{i:03d}" for i in range(values.shape[2])]]
    cells = pd.MultiIndex.from_product(keys, names=["arm", "seed", "patient"]).to_frame(index=False)
    fold = 0 if folds is None else np.tile(folds, values.shape[0] * values.shape[1])
    cells = cells.assign(fold=fold, value=values.ravel()).dropna()
    wide = cells.groupby(["patient", "arm"])["value"].mean().unstack("arm")[arms].round(12)
    none = dict.fromkeys(arms, 0)
    return Reduced(SCORES[metric], wide, cells, (), none, none)


def judged(values, rules=DICE, folds=None):
    reduced = reduced_of(values, rules.primary, folds)
    tests = arm_tests(reduced, "real", rules)
    return [None if test is None else judge(test, rules.margin, reduced.metric) for test in tests]


def verdicts(values, rules=DICE, folds=None):
    return [None if one is None else one.verdict for one in judged(values, rules, folds)]


def scores(seed, *, arms=3, runs=5, patients=30, run_sd=0.005, shift=-0.03):
    rng = np.random.default_rng(seed)
    values = 0.8 + rng.normal(0, 0.08, patients)[None, None, :] + rng.normal(0, 0.01, (arms, 1, patients))
    values = values + rng.normal(0, run_sd, (arms, runs, 1)) + rng.normal(0, 0.02, (arms, runs, patients))
    values[1:] += shift
    return np.clip(values, 0, 1)


def distances(seed, **design):
    return np.exp(1 + 6 * (0.9 - scores(seed, **design)))


@pytest.mark.parametrize("arms", [1, 3, 6])
def test_p_and_quantiles_are_dunnetts(arms):
    rng = np.random.default_rng(arms)
    groups = [rng.normal(0.3 * i, 1, 6) for i in range(arms + 1)]
    oracle = stats.dunnett(*groups[1:], control=groups[0], random_state=np.random.default_rng(0))
    df = 5 * (arms + 1)
    ours = [adjusted_p(float(t), df, arms) for t in oracle.statistic]
    assert ours == pytest.approx(oracle.pvalue.tolist(), abs=2e-4)
    c = quantiles(np.array([float(df)]), arms, 0.95)[0]
    assert adjusted_p(c, df, arms) == pytest.approx(0.05, abs=1e-4)


def test_one_arm_has_students_t():
    for df in (1.0, 2.5, 10.0, math.inf):
        t = stats.t.ppf(0.975, df)
        assert quantiles(np.array([df]), 1, 0.95)[0] == pytest.approx(t, rel=2e-3)
        assert adjusted_p(t, df, 1) == pytest.approx(0.05, abs=1e-4)


def test_the_error_of_runs_has_dunnetts_and_welchs_as_its_ends():
    rng = np.random.default_rng(0)
    groups = [rng.normal(0, scale, 6) for scale in (1, 2, 3)]
    variances = np.array([[group.var(ddof=1) for group in groups]])
    runs = np.full(3, 6)
    pooled = independent_error(variances, runs, pair_weights(3, 1, 0), own_share=0)
    oracle = stats.dunnett(*groups[1:], control=groups[0], random_state=np.random.default_rng(0))
    difference = groups[1].mean() - groups[0].mean()
    assert difference / math.sqrt(pooled.variance[0]) == pytest.approx(oracle.statistic[0])
    own = independent_error(variances, runs, pair_weights(3, 1, 0), own_share=1)
    welch = stats.ttest_ind(groups[1], groups[0], equal_var=False)
    assert difference / math.sqrt(own.variance[0]) == pytest.approx(welch.statistic)
    assert own.df[0] == pytest.approx(welch.df)


def test_the_error_of_folds_has_the_paired_and_the_repeated_measures_one_as_its_ends():
    means = np.random.default_rng(0).normal(0, 1, (4, 5))
    pooled = blocked_error(means[None], pair_weights(4, 1, 0), own_share=0)
    residual = means - means.mean(0) - means.mean(1, keepdims=True) + means.mean()
    assert pooled.variance[0] == pytest.approx(2 * (residual**2).sum() / (3 * 4) / 5)
    assert pooled.df[0] == pytest.approx(3 * 4)
    pair = blocked_error(means[None, :2], pair_weights(2, 1, 0))
    assert pair.variance[0] == pytest.approx((means[1] - means[0]).var(ddof=1) / 5)
    assert pair.df[0] == 3
    few = blocked_error(means[None, :3, :3], pair_weights(3, 1, 0), own_share=0)
    assert few.df[0] == pytest.approx(2 * 2 - 1)


@pytest.mark.parametrize(("arms", "runs", "df"), [(2, 2, 1), (3, 2, 3), (2, 3, 4)])
def test_few_runs_pay_a_degree_of_freedom(arms, runs, df):
    """One arm of two seeds; with equal variances Satterthwaite's are those of Dunnett's pooled error."""
    found = independent_error(np.ones((1, arms)), np.full(arms, runs), pair_weights(arms, 1, 0), own_share=0)
    assert found.df[0] == pytest.approx(df)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_one_arm_over_few_folds_is_seldom_claimed_to_differ_where_it_does_not(folds):
    claimed = 0
    for seed in range(120):
        values = scores(seed, arms=2, runs=1, patients=20, run_sd=0.0, shift=0.0)
        claimed += judged(values, folds=np.arange(20) % folds)[0].evidence.different
    assert claimed <= 14  # 5 % are 6; three standard errors more are 13


def severity(one):
    """From worst to best; inconclusive and equivalent are not ordered."""
    if one is None or one.verdict in (Verdict.INCONCLUSIVE, Verdict.EQUIVALENT):
        return 2
    if one.verdict is Verdict.NEGLIGIBLE:
        return 1 if one.evidence.sign < 0 else 3
    return 0 if one.verdict is Verdict.INFERIOR else 4


def worsened(values, what, rng, *, higher):
    """The table with the first arm made worse in one way."""
    worse = values.copy()
    run, patient = rng.integers(values.shape[1]), rng.integers(values.shape[2])
    step = (-1 if higher else 50) * rng.choice([0.02, 0.2, 0.8])
    failed = 0.0 if higher else math.inf
    match what:
        case "a run is lower":
            worse[1, run] += step
        case "a patient is lower":
            worse[1, :, patient] += step
        case "a structure is missed":
            worse[1, run, patient] = failed
        case "a structure is always missed":
            worse[1, :, patient] = failed
        case "a run diverged":
            worse[1, run] = failed
    return np.clip(worse, 0, None)


WAYS = [
    "a run is lower", "a patient is lower", "a structure is missed", "a structure is always missed", "a run diverged",
]  # fmt: skip


@pytest.mark.parametrize("higher", [True, False])
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 3, 5]),
    st.sampled_from([-0.03, -0.015, 0.0, 0.015]),
    st.sampled_from(["folds of three arms", "three arms", "two arms"]),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_worse_arm_never_gets_a_milder_verdict(higher, seed, runs, shift, what):
    rng = np.random.default_rng(seed)
    in_folds, arms = what.startswith("folds"), 2 if what == "two arms" else 3
    design = {"arms": arms, "runs": runs, "patients": 20, "run_sd": rng.choice([0.0, 0.006, 0.012]), "shift": shift}
    values = scores(seed, **design) if higher else distances(seed, **design)
    failed = rng.random(values.shape) < rng.choice([0, 0.03])
    values = np.where(failed, 0.0 if higher else math.inf, values)
    rules, folds = DICE if higher else DISTANCE, np.arange(20) % 4 if in_folds else None
    before = judged(values, rules, folds)[0]
    for way in WAYS:
        after = judged(worsened(values, way, rng, higher=higher), rules, folds)[0]
        assert severity(after) <= severity(before), way


def test_a_run_that_fails_leaves_an_inferior_arm_inferior():
    values = scores(3)
    assert verdicts(values)[0] is Verdict.INFERIOR
    for loss in (0.2, 1.0):
        worse = values.copy()
        worse[1, 2] = np.maximum(values[1, 2] - loss, 0)
        assert verdicts(worse)[0] is Verdict.INFERIOR


@pytest.mark.parametrize("folds", [None, np.arange(30) % 5])
def test_a_run_that_fails_in_one_arm_leaves_the_others_their_precision(folds):
    values = scores(3, arms=6)
    before = judged(values, folds=folds)[0].bounds
    values[3, 2, :6] = 0
    after = judged(values, folds=folds)[0].bounds
    assert after.high - after.low < 2.5 * (before.high - before.low)
    assert verdicts(values, folds=folds)[0] is Verdict.INFERIOR


def test_missed_structures_make_a_distance_inferior_however_many():
    values = distances(3, shift=0.0, arms=2)
    assert verdicts(values, DISTANCE)[0] is not Verdict.INFERIOR
    for missed in (6, 10, 20, 29, 30):
        worse = values.copy()
        worse[1, :, :missed] = math.inf
        assert verdicts(worse, DISTANCE)[0] is Verdict.INFERIOR


def test_patients_that_both_arms_miss_say_nothing():
    values = distances(5, arms=2, runs=1, patients=40, run_sd=0.0, shift=0.0)
    values[1] = values[0] + 0.36 + np.random.default_rng(0).normal(0, 0.05, values[0].shape)
    assert verdicts(values, DISTANCE)[0] is Verdict.INFERIOR
    values[:, :, :14] = math.inf
    assert verdicts(values, DISTANCE)[0] is Verdict.INFERIOR
    assert arm_tests(reduced_of(values, "hd95_mm"), "real", DISTANCE)[0].patients == 26
    assert verdicts(np.full_like(values, math.inf), DISTANCE) == [None]


def test_a_few_missed_structures_do_not_hide_a_gain():
    shown = 0
    for seed in range(10):
        values = scores(seed, arms=7, patients=40, run_sd=0.003, shift=0.02)
        values[np.random.default_rng(seed).random(values.shape) < 0.03] = 0
        shown += sum(verdict is Verdict.SUPERIOR for verdict in verdicts(values))
    assert shown >= 0.85 * 60  # the mean with zeros alone shows one in six


def test_thirty_percent_missed_against_three_is_shown():
    rng = np.random.default_rng(0)
    values = distances(1, arms=3, shift=0.0)
    values[0][rng.random(values[0].shape) < 0.03] = math.inf
    values[1:][rng.random(values[1:].shape) < 0.3] = math.inf
    assert verdicts(values, DISTANCE) == [Verdict.INFERIOR, Verdict.INFERIOR]


def test_p_never_shows_what_the_interval_leaves_open():
    """Three of 33 patients lose far more than the others gain. Pulled in, they leave a gain where there is a loss."""
    rng = np.random.default_rng(1)
    control = rng.normal(0.8, 0.03, 33)
    arm = control + 0.01 + rng.normal(0, 0.001, 33)
    arm[:3] -= 0.5
    (one,) = judged(np.stack([control, arm])[:, None], DICE.model_copy(update={"margin": 0.005}))
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.bounds.low < one.bounds.estimate.value < 0 < one.bounds.high
    assert one.bounds.p_adjusted > 0.05


def test_names_of_seeds_mean_nothing_where_runs_are_independent():
    values = scores(4, shift=0.012)
    other = values.copy()
    other[1] = values[1][[3, 1, 4, 0, 2]]
    lows = [[one.bounds.low for one in judged(table)] for table in (values, other)]
    assert lows[0] == pytest.approx(lows[1], abs=1e-12)
    paired = DICE.model_copy(update={"seeds": "paired"})
    assert judged(values, paired)[0].bounds.low != pytest.approx(judged(other, paired)[0].bounds.low, abs=1e-5)


def test_arms_may_have_unequal_numbers_of_seeds():
    values = scores(6)
    values[1, 3:] = math.nan
    test = arm_tests(reduced_of(values), "real", DICE)[0]
    assert (test.kind, test.units) == ("patients and runs", 3)
    assert test.whole.estimate.value == pytest.approx(np.nanmean(values[1]) - values[0].mean())


def test_one_network_per_arm_is_conditional_and_one_per_fold_is_not():
    values = scores(2, runs=1)
    assert arm_tests(reduced_of(values), "real", DICE)[0].conditional
    in_folds = arm_tests(reduced_of(values, folds=np.arange(30) % 5), "real", DICE)[0]
    assert (in_folds.kind, in_folds.conditional) == ("folds", False)


@pytest.mark.parametrize("seeds", ["independent", "paired"])
@pytest.mark.parametrize(
    ("arms", "runs", "few"), [(2, 1, True), (7, 1, True), (2, 2, True), (3, 2, True), (4, 2, False), (2, 3, False)]
)
def test_few_networks_on_a_held_out_set_hold_for_themselves(arms, runs, few, seeds):
    """A matter of the design: neither what a run scores nor whether the arm has it changes that."""
    rules = DICE.model_copy(update={"seeds": seeds})
    values = scores(2, arms=arms, runs=runs)
    worse, fewer = values.copy(), values.copy()
    worse[1, 0] = 0
    fewer[1, 1:] = math.nan
    # paired seeds of which an arm has one alone leave nothing to compare
    tables = (values, worse, fewer) if seeds == "independent" else (values, worse)
    found = [arm_tests(reduced_of(table), "real", rules)[0] for table in tables]
    assert {test.conditional for test in found} == {few}
    assert (found[0].kind == "patients alone") == few
    assert few_networks(runs, arms) == few


def test_scores_as_they_are_spend_a_part_of_alpha_beside_bounded_ones():
    """Five of 30 patients missed in every run: so few that one score or the other would show too much by chance."""
    values = distances(3, shift=0.0, arms=2)
    values[1, :, :5] = math.inf
    (test,), (one,) = arm_tests(reduced_of(values, "hd95_mm"), "real", DISTANCE), judged(values, DISTANCE)
    assert test.whole.wide_low < 0 < test.whole.low
    assert test.bounded.low < 0
    assert (one.verdict, one.bounded) == (Verdict.INCONCLUSIVE, True)
    assert one.bounds.low < 0 < one.bounds.high
    assert one.bounds.p_adjusted > 0.05
    values[1] = 0.5 * values[0]
    alone = arm_tests(reduced_of(values, "hd95_mm"), "real", DISTANCE.model_copy(update={"margin": 50.0}))[0]
    assert alone.bounded is None
    assert (alone.whole.wide_low, alone.whole.wide_high) == (alone.whole.low, alone.whole.high)


def test_equivalence_of_the_family_asks_for_more():
    means = np.random.default_rng(0).normal(0, 1, (5, 6))
    units = Units(means, blocked=True)
    each = bounds_of(units, pair_weights(5, 1, 0), Setting(4, 0.05))
    family = bounds_of(units, pair_weights(5, 1, 0), Setting(4, 0.05, "family"))
    assert family.narrow_low < each.narrow_low < each.narrow_high < family.narrow_high
    assert (family.low, family.high) == (each.low, each.high)
