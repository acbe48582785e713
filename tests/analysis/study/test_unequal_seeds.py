"""Arms with different numbers of seeds are analysed, and how much runs of one seed move together is told."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.analyse import analyse_table

SEEDS = {"real": 5, "x": 3, "y": 4, "z": 2}


def table(folds=1, seeds=SEEDS, *, shared=0.0, scale=1.0) -> pd.DataFrame:
    """Scores of every arm under seeds of its own; ``shared`` is the SD of what all arms have in common under a seed."""
    rng, patients, gain = np.random.default_rng(4), 24, 0.03
    level = rng.normal(0.7, 0.05, patients)
    common = rng.normal(0, shared, (folds, max(seeds.values()))) if shared else np.zeros((folds, 99))
    rows = []
    for number, (arm, count) in enumerate(seeds.items()):
        for fold in range(folds):
            for seed in range(count):
                run = rng.normal(0, 0.003) + common[fold, seed] + gain * (number > 0)
                for i in range(fold, patients, folds):
                    value = scale * (level[i] + run + rng.normal(0, 0.01))
                    rows.append((arm, fold, seed, f"case-{i:02}", value, 8 * number))
    return pd.DataFrame(rows, columns=["arm", "fold", "seed", "patient", "value", "synthesise.count"])


@pytest.mark.parametrize("folds", [1, 4])
@pytest.mark.parametrize("pairing", ["independent", "paired"])
def test_every_arm_is_judged_by_all_of_its_runs(folds, pairing):
    given = table(folds)
    found = analyse_table(given, control="real", margin=0.05, seeds=pairing)
    assert [one.judged.evidence.sign for one in found.answers] == [1, 1, 1]
    for one in found.answers:
        assert one.test.units == (folds if folds > 1 else SEEDS[one.arm])
    assert [one.seeds for one in found.components] == list(SEEDS.values())
    assert all(np.isfinite(one.between_seeds) for one in found.components)
    means = given.groupby(["patient", "arm"])["value"].mean().unstack("arm")
    assert found.primary.effects[0].mean.value == pytest.approx((means["x"] - means["real"]).mean())
    (series,) = found.dose
    assert series.shape_runs is not None


def test_seeds_are_counted_by_arm():
    found = analyse_table(table(), control="real", margin=0.05)
    assert (found.fewest_seeds, found.seeds) == (2, 5)
    assert "one held-out set and 2 to 5 seeds per arm" in found.scope
    given = table(seeds={"real": 3, "x": 3})
    named = given.assign(seed=given["seed"] + given["arm"].map({"real": 0, "x": 10}))
    both = [analyse_table(one, control="real", margin=0.05) for one in (given, named)]
    for found in both:
        assert "one held-out set and 3 seeds per arm. 5 seeds or more are better" in found.scope


def test_arms_without_a_seed_in_common_are_compared_all_the_same():
    given = table(seeds={"real": 3, "x": 3, "y": 3})
    apart = given.assign(seed=given["seed"] + given["arm"].map({"real": 0, "x": 10, "y": 20}))
    found = analyse_table(apart, control="real", margin=0.05)
    for one, other in zip(found.answers, analyse_table(given, control="real", margin=0.05).answers, strict=True):
        assert one.short == other.short
    assert found.sensitivity.runs.reason.startswith("the arms have no seed in common")


def test_an_arm_of_one_seed_takes_no_pair_of_seeds_from_another():
    seeds = {"real": 5, "x": 5, "y": 1}
    found = analyse_table(table(seeds=seeds), control="real", margin=0.05, seeds="paired")
    alone = analyse_table(table(seeds=seeds).query("arm != 'y'"), control="real", margin=0.05, seeds="paired")
    assert found.answers[0].test.units == 5
    assert found.answers[0].test.whole.estimate.value == pytest.approx(alone.answers[0].test.whole.estimate.value)
    assert found.answers[0].verdict != Verdict.INCONCLUSIVE
    assert found.answers[1].verdict == Verdict.INCONCLUSIVE


def test_the_correlation_of_seeds_is_that_of_shrout_and_fleiss():
    given = table(seeds=dict.fromkeys("abcd", 6), shared=0.01)
    found = analyse_table(given, control="a").seed_correlation
    means = given.groupby(["arm", "seed"])["value"].mean().unstack("seed").to_numpy()
    k, r = means.shape
    between = k * means.mean(axis=0).var(ddof=1)
    rest = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0) + means.mean()
    within = (rest**2).sum() / ((k - 1) * (r - 1))
    assert found.value == pytest.approx((between - within) / (between + (k - 1) * within))
    low = between / within / stats.f.ppf(0.975, r - 1, (r - 1) * (k - 1))
    assert found.low == pytest.approx((low - 1) / (low + k - 1))
    assert found.low < found.value < found.high
    assert found.value > 0.7
    assert (found.runs, found.arms) == (6, 4)


def test_seeds_that_share_nothing_have_a_correlation_near_0_and_one_seed_has_none():
    found = analyse_table(table(folds=4, seeds=dict.fromkeys("abcdef", 6)), control="a").seed_correlation
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.2
    assert (found.runs, found.arms) == (24, 6)
    assert analyse_table(table(seeds=dict.fromkeys("ab", 1)), control="a").seed_correlation is None


@pytest.mark.parametrize("scale", [1e-13, 1e-6, 1e7])
@pytest.mark.parametrize("folds", [1, 4])
def test_verdicts_ties_and_ranks_hang_on_no_unit(scale, folds):
    settings = {"control": "real", "primary": "own", "higher_is_better": True}
    one = analyse_table(table(folds), margin=0.01, **settings)
    other = analyse_table(table(folds, scale=scale), margin=0.01 * scale, **settings)
    assert [answer.verdict for answer in other.answers] == [answer.verdict for answer in one.answers]
    assert [answer.wilcoxon.p for answer in other.answers] == [answer.wilcoxon.p for answer in one.answers]
    assert other.answers[0].estimate.p == pytest.approx(one.answers[0].estimate.p, rel=1e-4)
    assert other.answers[0].estimate.low / scale == pytest.approx(one.answers[0].estimate.low, rel=1e-6)
    assert other.primary.omnibus.p == pytest.approx(one.primary.omnibus.p)
    assert other.ranking.arms == one.ranking.arms
