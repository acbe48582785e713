"""Shares in percent with Fieller's interval, and second opinions of the ladder."""

import math

import numpy as np
import pytest
from scipy import stats

from helpers.lattice import ARMS
from medsweep.analysis.records import Estimate, t_estimate
from medsweep.analysis.study.mechanisms.portions import portion, second_opinions


def fieller(a, b, cov, quantile):
    """By its definition: the ratios r for which a - r b is within the quantile times its standard error."""
    r = np.linspace(-1, 3, 400_001)
    inside = np.abs(a - r * b) <= quantile * np.sqrt(cov[0, 0] - 2 * r * cov[0, 1] + r**2 * cov[1, 1])
    return r[inside].min(), r[inside].max()


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.8])
def test_the_interval_holds_all_ratios_that_are_not_told_from_0(correlation):
    a, b, se_a, se_b, df = 0.03, 0.07, 0.006, 0.008, 12
    cov = correlation * se_a * se_b
    share, whole = t_estimate(a, se_a, df, 0.95), t_estimate(b, se_b, df, 0.95)
    rest = t_estimate(a - b, math.sqrt(se_a**2 + se_b**2 - 2 * cov), df, 0.95)
    found = portion(share, whole, rest)
    assert found.value == pytest.approx(a / b)
    expected = fieller(a, b, np.array([[se_a**2, cov], [cov, se_b**2]]), stats.t.ppf(0.975, df))
    assert (found.low, found.high) == pytest.approx(expected, abs=2e-5)


def test_coverage_is_nominal():
    rng, df, true = np.random.default_rng(3), 4, 0.4
    hits = 0
    for _ in range(2000):
        whole_runs = rng.normal(0.06, 0.01, df + 1)
        share_runs = true * 0.06 + 0.5 * (whole_runs - 0.06) + rng.normal(0, 0.004, df + 1)
        parts = (share_runs, whole_runs, share_runs - whole_runs)
        found = portion(*(t_estimate(x.mean(), x.std(ddof=1) / math.sqrt(df + 1), df, 0.95) for x in parts))
        hits += found.low <= true <= found.high
    # six standard errors of a share of 2000
    assert abs(hits / 2000 - 0.95) < 0.03


def test_a_whole_that_may_be_nothing_has_no_portions():
    share = t_estimate(0.01, 0.004, 8, 0.95)
    assert portion(share, t_estimate(0.01, 0.006, 8, 0.95), share) is None
    assert portion(share, t_estimate(math.nan, math.nan, math.nan, 0.95), share) is None


def cost(value, half):
    return Estimate(value, half / 2, 10.0, 0.01, value - half, value + half, 0.95)


@pytest.mark.parametrize(
    ("step", "share", "agrees"),
    [
        (cost(0.03, 0.01), cost(0.04, 0.01), True),
        (cost(0.03, 0.01), cost(0.06, 0.01), False),
        (cost(-0.001, 0.01), cost(0.004, 0.01), False),
    ],
)
def test_opinions_agree_where_intervals_overlap_and_signs_match(step, share, agrees):
    arms = ARMS.model_copy(update={"steps": {"labels": "gan"}})
    ladder = {"new to images": cost(0.01, 0.01), "images to gan": step}
    (found,) = second_opinions(arms, ladder, {"labels": share}, {})
    assert (found.causes, found.step, found.agrees) == (("labels",), "images to gan", agrees)
    assert second_opinions(arms, {}, {"labels": share}, {}) == ()
    assert second_opinions(arms, ladder, {}, {}) == ()


def test_a_step_from_real_to_generated_images_is_held_against_look_and_variety_together():
    arms = ARMS.model_copy(update={"steps": {"look": "images"}})
    ladder = {"new to images": cost(0.023, 0.009), "images to gan": cost(0.0, 0.01)}
    shares = {"look": cost(0.002, 0.004), "variety": cost(0.012, 0.004)}
    (found,) = second_opinions(arms, ladder, shares, {"look + variety": cost(0.0145, 0.006)})
    assert (found.causes, found.share.value, found.agrees) == (("look", "variety"), 0.0145, True)
    (alone,) = second_opinions(arms, ladder, {"look": shares["look"]}, {})
    assert (alone.causes, alone.agrees) == (("look",), False)
