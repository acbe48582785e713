"""Several looks at growing data: published boundaries, and how often claims are false with and without them."""

import numpy as np
import pytest
from scipy import stats

from medsweep.analysis.stats.arm_family import family_of
from medsweep.analysis.stats.dunnett import adjusted_p, quantiles
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.power import Size, Spread
from medsweep.analysis.stats.sequential import LEAST, Spending, error_of_peeking, looks_of, nominal_levels
from medsweep.analysis.stats.sequential_power import stop_shares
from medsweep.analysis.study.evidence import judge
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.score_array import ScoreArray
from medsweep.metrics import SCORES

FIVE = (0.2, 0.4, 0.6, 0.8, 1.0)


def equal(looks: int) -> list[float]:
    return [(look + 1) / looks for look in range(looks)]


# Armitage, McPherson and Rowe 1969, table 2: repeated tests at 5% of a normal mean with known variance.
@pytest.mark.parametrize(("looks", "error"), [(1, 0.050), (2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193)])
def test_peeking_errs_as_published(looks: int, error: float) -> None:
    assert error_of_peeking(equal(looks), [0.05] * looks) == pytest.approx(error, abs=6e-4)


# Critical values for 5%: Pocock 1977, and O'Brien and Fleming 1979 (at look k of K times sqrt(K / k)). Pocock's are of
# the levels .0294, .0221, .0182 and .0158 in http://twiki.owiki.org/wiki/Pocock_boundary. That of O'Brien and Fleming
# for three looks is in the tests of rpact, which print 3.4710914, 2.4544323 and 2.0040356:
# https://github.com/rpact-com/rpact/blob/1d81a55ea2b5/tests/testthat/test-f_design_group_sequential.R
# Those for two looks, 2.797 and 1.977, are in the examples of lrsim in https://github.com/kaifenglu/lrstat. For those
# for four and five (Jennison and Turnbull 2000, table 2.3, by memory) SciPy's multivariate normal is the source below.
@pytest.mark.parametrize(
    ("looks", "pocock", "fleming"), [(2, 2.178, 1.977), (3, 2.289, 2.004), (4, 2.361, 2.024), (5, 2.413, 2.040)]
)
def test_published_constants_err_in_five_percent(looks: int, pocock: float, fleming: float) -> None:
    shares = np.array(equal(looks))
    for critical in (np.full(looks, pocock), fleming / np.sqrt(shares)):
        assert error_of_peeking(shares, 2 * stats.norm.sf(critical)) == pytest.approx(0.05, abs=1.5e-4)


# O'Brien and Fleming 1979 to six digits, from the recursion itself; SciPy integrates the same by quasi-Monte Carlo.
@pytest.mark.parametrize(
    ("looks", "fleming"), [(2, 1.977431), (3, 2.004036), (4, 2.024296), (5, 2.040073), (10, 2.086502)]
)
def test_the_recursion_is_the_integral_of_the_multivariate_normal(looks: int, fleming: float) -> None:
    shares = np.array(equal(looks))
    critical = fleming / np.sqrt(shares)
    found = error_of_peeking(shares, 2 * stats.norm.sf(critical))
    assert found == pytest.approx(0.05, abs=1e-7)
    correlation = np.sqrt(np.minimum.outer(shares, shares) / np.maximum.outer(shares, shares))
    normal = stats.multivariate_normal(cov=correlation, seed=0, maxpts=100_000)
    assert found == pytest.approx(1 - normal.cdf(critical, lower_limit=-critical), abs=1e-4)


@pytest.mark.parametrize(("looks", "level"), [(2, 0.0294), (3, 0.0221), (4, 0.0182), (5, 0.0158)])
def test_published_levels_of_pocock_err_in_five_percent(looks: int, level: float) -> None:
    assert error_of_peeking(equal(looks), [level] * looks) == pytest.approx(0.05, abs=1.5e-4)


def test_published_boundary_of_obrien_and_fleming_errs_in_five_percent() -> None:
    levels = 2 * stats.norm.sf([3.4710914, 2.4544323, 2.0040356])
    assert error_of_peeking(equal(3), levels.tolist()) == pytest.approx(0.05, abs=1e-6)


# Boundaries of both spending functions at five equal looks, two-sided 5%. Those of O'Brien and Fleming are printed in
# the vignette of the R package ldbounds 2.0.2, https://github.com/cran/ldbounds/blob/a17e568742da/inst/doc/ldbounds.pdf
# (after Reboussin, DeMets, Kim and Lan 2000). No document was found that prints Pocock's with four digits.
@pytest.mark.parametrize(
    ("spending", "printed"),
    [
        ("obrien-fleming", (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        ("pocock", (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_boundaries_are_those_of_lan_and_demets(spending: Spending, printed: tuple[float, ...]) -> None:
    found = stats.norm.isf(np.array(nominal_levels(FIVE, 0.05, spending)) / 2)
    assert found == pytest.approx(printed, abs=2e-4)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
@pytest.mark.parametrize("shares", [[1.0], [0.5, 1.0], [0.2, 0.48, 0.72, 1.0], [0.04, 0.9, 1.0]])
def test_all_looks_together_spend_alpha(spending: Spending, shares: list[float]) -> None:
    for alpha in (0.01, 0.05):
        levels = nominal_levels(shares, alpha, spending)
        assert error_of_peeking(shares, levels) == pytest.approx(alpha, abs=1e-6)
        assert all(LEAST <= level <= alpha + 1e-12 for level in levels)


def test_looks_say_where_they_stand() -> None:
    looks = looks_of((5, 12, 18, 25), 0.05, "obrien-fleming")
    assert [(look.number, look.looks, look.seeds, look.most) for look in looks] == [
        (1, 4, 5, 25),
        (2, 4, 12, 25),
        (3, 4, 18, 25),
        (4, 4, 25, 25),
    ]
    assert [look.alpha for look in looks] == sorted(look.alpha for look in looks)


def test_dunnett_holds_at_the_levels_of_first_looks() -> None:
    for df in (1.0, 2.0, 8.0, 48.0):
        for alpha in (1e-3, 1e-6, LEAST):
            alone, bonferroni = stats.t.isf(alpha / 2, df), stats.t.isf(alpha / 12, df)
            assert quantiles(np.array([df]), 1, 1 - alpha)[0] == pytest.approx(alone, rel=3e-3)
            assert alone < quantiles(np.array([df]), 6, 1 - alpha)[0] <= bonferroni * 1.003
            assert adjusted_p(alone, df, 1) == pytest.approx(alpha)
            assert alpha <= adjusted_p(alone, df, 6) <= 6 * alpha


def held_out(values_APR: np.ndarray) -> ScoreArray:
    arms, patients, seeds = values_APR.shape
    names = tuple(f"arm {number}" for number in range(arms))
    patient = np.repeat(np.arange(patients), seeds)
    return ScoreArray(names, (0,), (tuple(range(seeds)),), (0,), patient, values_APR.reshape(arms, -1))


def false_claims(
    seeds: tuple[int, ...], levels: tuple[float, ...], *, arms: int, arm_sd: float = 0.0, tables: int = 400
) -> float:
    """Share of tables in which any of ``arms`` alike is said to differ at any look, by the test of the report."""
    rng, patients, false = np.random.default_rng(5), 12, 0
    for _ in range(tables):
        values = rng.normal(0.7, 0.05, (1, patients, 1)) + rng.normal(0, arm_sd, (arms + 1, patients, 1))
        values = values + rng.normal(0, 0.01, (arms + 1, 1, seeds[-1]))
        values = values + rng.normal(0, 0.005, (arms + 1, patients, seeds[-1]))
        for count, level in zip(seeds, levels, strict=True):
            tests = family_of(held_out(values[:, :, :count]), "arm 0", AnalysisRules(alpha=level))
            if any(test is not None and judge(test, 0.01, SCORES["dice"]).evidence.different for test in tests):
                false += 1
                break
    return false / tables


SEEDS = (5, 12, 18, 25)


def levels(spending: Spending) -> tuple[float, ...]:
    return tuple(look.alpha for look in looks_of(SEEDS, 0.05, spending))


@pytest.mark.parametrize(
    ("alphas", "low", "high"),
    [((0.05,) * 4, 0.12, 0.21), (levels("obrien-fleming"), 0.04, 0.06), (levels("pocock"), 0.04, 0.06)],
)
def test_t_tests_at_four_looks_err_as_promised(alphas: tuple[float, ...], low: float, high: float) -> None:
    runs = np.random.default_rng(1).normal(size=(20_000, 2, SEEDS[-1]))
    p_TL = np.stack([stats.ttest_ind(runs[:, 0, :n], runs[:, 1, :n], axis=1).pvalue for n in SEEDS], axis=1)
    assert low < (p_TL <= alphas).any(axis=1).mean() < high


@pytest.mark.slow
@pytest.mark.parametrize("arms", [1, 6])
def test_the_family_at_four_looks_errs_as_promised(arms: int) -> None:
    assert 0.1 < false_claims(SEEDS, (0.05,) * 4, arms=arms) < 0.21
    for spending in ("obrien-fleming", "pocock"):
        # 400 tables: two standard errors are .022
        assert false_claims(SEEDS, levels(spending), arms=arms) < 0.05 + 0.022
    # patients that stay the same make looks more alike, and the level lower
    assert false_claims(SEEDS, levels("pocock"), arms=arms, arm_sd=0.01) < 0.05 + 0.022


def test_a_sweep_stops_when_the_spread_lets_it() -> None:
    size, looks = Size(patients=30, folds=1, seeds=5, scores=5, comparisons=3), looks_of(SEEDS, 0.05, "pocock")
    still, noisy = Spread(0.0, 1e-6, 1e-6), Spread(0.2, 0.1, 0.1)
    for difference in (0.0, 0.02):
        assert stop_shares(size, still, looks, margin=0.01, difference=difference) == (1, 0, 0, 0)
        assert stop_shares(size, noisy, looks, margin=0.01, difference=difference)[-1] > 0.8
    # nothing can be shown to be equivalent at its margin, nor different at half of it
    assert stop_shares(size, Spread(0.005, 0.008, 0.005), looks, margin=0.01, difference=0.005)[0] < 0.1


def test_the_simulated_stop_is_that_of_the_tests() -> None:
    rng, looks, tables = np.random.default_rng(3), looks_of(SEEDS, 0.05, "pocock"), 150
    run, residual, shift, patients = 0.012, 0.01, 0.02, 20
    stops = np.zeros(len(looks))
    for _ in range(tables):
        values = 0.7 + np.array([0.0, shift, shift])[:, None, None] + rng.normal(0, run, (3, 1, SEEDS[-1]))
        values = values + rng.normal(0, residual, (3, patients, SEEDS[-1]))
        for at, look in enumerate(looks):
            tests = family_of(held_out(values[:, :, : look.seeds]), "arm 0", AnalysisRules(alpha=look.alpha))
            reached = [judge(test, 0.01, SCORES["dice"]).verdict for test in tests if test is not None]
            if Verdict.INCONCLUSIVE not in reached or at == len(looks) - 1:
                stops[at] += 1 / tables
                break
    size = Size(patients, folds=1, seeds=SEEDS[0], scores=SEEDS[0], comparisons=2)
    spread = Spread(residual * np.sqrt(2 / SEEDS[0]), run, residual)
    assert stop_shares(size, spread, looks, margin=0.01, difference=shift) == pytest.approx(stops.tolist(), abs=0.12)
    assert 0.1 < stops[0] < stops[1] < 0.9
