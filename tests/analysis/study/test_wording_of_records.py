"""What is said follows from one record: the verdict, the interval beside it, p and the words never contradict."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from helpers.simulated_results import CONTROL, NO_POOLS, arm, simulate
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.study.wording import percent
from medsweep.analysis.table.reduction import AnalysisRules

ARMS = [arm(CONTROL, 0), arm("a", 8), arm("b", 16), arm("c", 32)]
SHOWN = (Verdict.SUPERIOR, Verdict.INFERIOR, Verdict.NEGLIGIBLE)
INSIDE = (Verdict.EQUIVALENT, Verdict.NEGLIGIBLE)
SAYS = {
    Verdict.SUPERIOR: "which is better",
    Verdict.INFERIOR: "which is worse",
    Verdict.NEGLIGIBLE: "yet the difference is confined",
    Verdict.EQUIVALENT: "no difference is shown",
    Verdict.INCONCLUSIVE: "neither shown nor confined",
}


def study(seed, *, metric, seeds, folds, missed):
    rng = np.random.default_rng(seed)
    shifts = {name: float(rng.choice([-0.2, -0.03, -0.012, 0, 0.012, 0.03])) for name in "abc"}
    sds = {"run_sd": float(rng.choice([0.0, 0.006])), "residual_sd": float(rng.choice([0.002, 0.02]))}
    table = simulate(ARMS, shifts, patients=12, seeds=seeds, folds=folds, seed=seed, **sds)
    fails = (rng.random(len(table)) < missed) & (table["metric"] == metric)
    worst = 0.0 if metric == "dice" else math.inf
    table = table.assign(status=table["status"].mask(fails, "missed"), value=table["value"].mask(fails, worst))
    margin = 0.01 if metric == "dice" else 0.5
    return analyse(table, NO_POOLS, AnalysisRules(primary=metric, margin=margin), arms=ARMS)


@pytest.mark.parametrize("metric", ["dice", "hd95_mm"])
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 5]), st.sampled_from([1, 4]), st.sampled_from([0, 0.03, 0.5, 1.0]))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_verdict_interval_p_and_words_agree(metric, seed, seeds, folds, missed):
    found = study(seed, metric=metric, seeds=seeds, folds=folds, missed=missed)
    for answer in found.answers:
        assert str(answer.verdict) in answer.lead
        if answer.judged is None:
            assert "nothing can be compared" in answer.sentence
            continue
        bounds, margin = answer.judged.bounds, found.rules.margin
        excludes_zero = bounds.low > 0 or bounds.high < 0
        assert (answer.verdict in SHOWN) == excludes_zero
        assert (bounds.p_adjusted < found.rules.alpha) == excludes_zero
        if answer.verdict in INSIDE:
            assert -margin < bounds.narrow_low
            assert bounds.narrow_high < margin
        assert [verdict for verdict, words in SAYS.items() if words in answer.detail] == [answer.verdict]
        assert bounds.low <= bounds.estimate.value <= bounds.high
    named = [verdict for verdict in Verdict if str(verdict) in found.headline]
    reached = {answer.verdict for answer in found.answers}
    assert set(named) - {Verdict.SUPERIOR} <= reached


def test_less_than_nothing_has_a_minus_sign_in_percent_too() -> None:
    assert percent(-0.525) == "\N{MINUS SIGN}52.5%"
