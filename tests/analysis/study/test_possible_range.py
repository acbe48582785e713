"""No interval of a share leaves what a difference can be, and no verdict hangs on that."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from helpers.simulated_results import CONTROL, NO_POOLS, arm, simulate
from medsweep.analysis.stats.arm_tests import Bounds
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.table.reduction import AnalysisRules

ARMS = [arm(CONTROL, 0), arm("a", 8), arm("b", 16)]
CONTRASTS = {"a twice": {"a": 2.0, "b": -1.0, CONTROL: -1.0}}


def wild(seed, *, seeds, folds):
    """Scores anywhere from 0 to 1, which few runs say almost nothing of."""
    rng = np.random.default_rng(seed)
    table = simulate(ARMS, {}, patients=max(folds, 2) * 2, seeds=seeds, folds=folds, seed=seed)
    table = table[table["metric"] == "dice"]
    runs = {key: rng.uniform() for key in table.groupby(["arm", "fold", "seed"]).groups}
    level = [runs[key] for key in table[["arm", "fold", "seed"]].itertuples(index=False, name=None)]
    values = np.clip(np.array(level) + rng.normal(0, 0.1, len(table)), 0, 1)
    return table.assign(value=values, status="ok")


def intervals(found):
    for answer in found.answers:
        yield 1.0, answer.estimate.low, answer.estimate.high
        yield 1.0, *answer.narrow
        yield 1.0, answer.effect.mean.low, answer.effect.mean.high
    for test in found.contrasts:
        yield 2.0, test.estimate.low, test.estimate.high
    for one in (*found.by_class, *found.failures):
        if one.difference is not None:
            yield 1.0, one.difference.low, one.difference.high


def record(seed, seeds, folds):
    rules = AnalysisRules(margin=0.01, contrasts=CONTRASTS)
    return analyse(wild(seed, seeds=seeds, folds=folds), NO_POOLS, rules, arms=ARMS)


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3]))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_no_interval_of_dice_leaves_the_possible_range(seed, seeds, folds):
    for reach, low, high in intervals(record(seed, seeds, folds)):
        assert math.isnan(low) or -reach <= low <= high <= reach


def test_the_verdict_is_that_of_the_intervals_as_computed(monkeypatch):
    clipped = [record(seed, 2, 2) for seed in range(4)]
    monkeypatch.setattr(Bounds, "clipped", lambda bounds, reach: bounds)
    whole = [record(seed, 2, 2) for seed in range(4)]
    beyond = [answer for found in whole for answer in found.answers if answer.estimate.low < -1]
    assert beyond
    for one, other in zip(clipped, whole, strict=True):
        assert [answer.verdict for answer in one.answers] == [answer.verdict for answer in other.answers]
        assert [test.verdict for test in one.contrasts] == [test.verdict for test in other.contrasts]
        assert one.headline == other.headline


@pytest.mark.parametrize("metric", ["hd95_mm"])
def test_distances_have_no_bound(metric):
    table = simulate(ARMS, {"a": -0.3}, patients=4, seeds=2, folds=2, run_sd=0.1)
    rules = AnalysisRules(primary=metric, margin=0.5)
    found = analyse(table, NO_POOLS, rules, arms=ARMS)
    assert max(answer.estimate.high for answer in found.answers) > 1
