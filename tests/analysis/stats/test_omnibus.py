"""Friedman against published numbers, and where it has nothing to say."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from scipy import special, stats

from helpers.published import expected, given, printed, wide
from helpers.random_tables import TABLES
from medsweep.analysis.stats.omnibus import NoOmnibus, Omnibus, friedman


def test_demsar_raw_data_with_ties():
    found = friedman(wide(given("demsar_c45_auc", "data")), higher_is_better=True)
    oracle = expected("demsar_c45_auc", "raw_data_tied")
    assert isinstance(found, Omnibus)
    assert found.mean_ranks == pytest.approx(oracle["mean_ranks"], rel=1e-9)
    assert found.chi2 == pytest.approx(oracle["chi2_tied"], rel=1e-9)
    assert found.p_chi2 == pytest.approx(oracle["p_chi2_tied"], rel=1e-9)
    assert found.f == pytest.approx(oracle["iman_davenport_tied"], rel=1e-9)
    assert found.p == pytest.approx(oracle["p_id_tied"], rel=1e-9)
    assert found.kendall_w == pytest.approx(oracle["kendall_w_tied"], rel=1e-9)


def test_demsar_printed_ranks():
    found = friedman(wide(given("demsar_c45_auc", "printed_ranks")), higher_is_better=False)
    oracle = expected("demsar_c45_auc", "printed_ranks_tied")
    assert found.chi2 == pytest.approx(oracle["chi2_tied"], rel=1e-9)
    assert found.p_chi2 == pytest.approx(oracle["p_chi2_tied"], rel=1e-9)
    assert found.f == pytest.approx(oracle["iman_davenport_tied"], rel=1e-9)
    assert found.p == pytest.approx(oracle["p_id_tied"], rel=1e-9)
    assert found.ties == 4


def test_demsars_9_28_has_no_tie_correction_and_ours_has():
    found = friedman(wide(given("demsar_c45_auc", "printed_ranks")), higher_is_better=False)
    ranks, half_unit = printed("demsar_c45_auc", "mean_ranks")
    assert found.mean_ranks == pytest.approx(ranks, abs=half_unit)
    n, k = found.n, found.k
    untied = 12 * n / (k * (k + 1)) * (sum(rank**2 for rank in found.mean_ranks) - k * (k + 1) ** 2 / 4)
    f = (n - 1) * untied / (n * (k - 1) - untied)
    for value, name in ((untied, "friedman_chi2_untied"), (f, "iman_davenport_F")):
        assert value == pytest.approx(printed("demsar_c45_auc", name)[0], abs=printed("demsar_c45_auc", name)[1])
    assert found.chi2 > untied + 0.9
    critical, half_unit = printed("demsar_c45_auc", "F_critical_0_05_3_39")
    assert stats.f.isf(0.05, found.df1, found.df2) == pytest.approx(critical, abs=half_unit)


def test_hollander_first_base_p_and_the_chi2_without_ties():
    found = friedman(wide(given("hollander_first_base", "data")), higher_is_better=False)
    assert found.p_chi2 == pytest.approx(expected("hollander_first_base", "p"), rel=1e-9)
    untied = 12 * 22 / 12 * (sum(rank**2 for rank in found.mean_ranks) - 12)
    assert untied == pytest.approx(expected("hollander_first_base", "chi2_untied"), rel=1e-9)


@pytest.mark.parametrize(("case", "name"), [("hollander_first_base", "chi2"), ("sachs_diuretics", "friedman_chi2")])
def test_textbook_chi2_as_printed(case, name):
    value, half_unit = printed(case, name)
    assert friedman(wide(given(case, "data")), higher_is_better=False).chi2 == pytest.approx(value, abs=half_unit)


def test_catalysts_and_transposed():
    data = given("catalysts", "data")
    assert friedman(wide(data), higher_is_better=True).chi2 == pytest.approx(expected("catalysts", "chi2"))
    turned = [list(row) for row in zip(*data, strict=True)]
    assert friedman(wide(turned), higher_is_better=True).chi2 == pytest.approx(expected("catalysts", "chi2_transposed"))


def test_all_tied_says_so_and_rejects_nothing():
    found = friedman(wide([[0.5] * 3] * 4), higher_is_better=True)
    assert (found.chi2, found.p, found.mean_ranks) == (0.0, 1.0, (2.0, 2.0, 2.0))
    assert "alike" in found.note


def test_perfect_order_has_the_exact_p():
    found = friedman(wide([[0.1 + i / 1000, 0.2 + i / 1000, 0.3 + i / 1000] for i in range(10)]), higher_is_better=True)
    assert math.isinf(found.f)
    assert found.p == pytest.approx(9.922903012752117e-08, rel=1e-9)  # (1/3!)^9
    assert found.chi2 == pytest.approx(20.0)
    assert found.mean_ranks == (3.0, 2.0, 1.0)


def test_two_arms_point_to_wilcoxon_and_one_patient_to_nothing():
    assert isinstance(friedman(wide([[0.1, 0.2], [0.3, 0.2], [0.5, 0.6]]), higher_is_better=True), NoOmnibus)
    alone = friedman(wide([[0.1, 0.2, 0.3]]), higher_is_better=True)
    assert isinstance(alone, NoOmnibus)
    assert "1 patient" in alone.reason


def test_a_hole_is_refused_by_name():
    with pytest.raises(ValueError, match="case-01"):
        friedman(wide([[0.1, 0.2, 0.3], [0.2, None, 0.1], [0.3, 0.1, 0.2]]), higher_is_better=True)


def test_an_infinite_score_ranks_last():
    found = friedman(wide([[math.inf, 3, 4], [2, 3, 4]]), higher_is_better=False)
    assert found.mean_ranks == (2.0, 1.5, 2.5)


@randomly(TABLES)
@settings(max_examples=60, deadline=None)
def test_equals_scipy_and_ignores_what_it_should(data):
    table = wide(data.tolist())
    found = friedman(table, higher_is_better=True)
    if np.ptp(data, axis=1).max() > 0:
        oracle = stats.friedmanchisquare(*data.T)
        assert found.chi2 == pytest.approx(oracle.statistic, rel=1e-9, abs=1e-9)
    assert friedman(-table, higher_is_better=False) == found
    assert friedman(table.iloc[::-1], higher_is_better=True).p == pytest.approx(found.p)
    shifted = table.add(np.arange(len(table)) * 8.0, axis=0)
    assert friedman(shifted, higher_is_better=True).mean_ranks == pytest.approx(found.mean_ranks)
    turned = friedman(table[table.columns[::-1]], higher_is_better=True)
    assert turned.mean_ranks[::-1] == pytest.approx(found.mean_ranks)
    assert turned.p == pytest.approx(found.p)


def test_one_order_with_ties_counts_the_orders_that_ties_leave():
    found = friedman(wide([[1.0, 1.0, 2.0]] * 5), higher_is_better=False)
    assert found.p == pytest.approx((1 / 3) ** 4, rel=1e-12)
    # by brute force: 3 of the 3^5 equally likely tables agree in all five patients
    orders = [(1.5, 1.5, 3), (1.5, 3, 1.5), (3, 1.5, 1.5)]
    agree = sum(len(set(table)) == 1 for table in itertools.product(orders, repeat=5))
    assert found.p == pytest.approx(agree / 3**5)


def test_edge_cases_as_stated():
    perfect = friedman(wide(given("edge_cases", "perfect")), higher_is_better=True)
    assert perfect.chi2 == pytest.approx(expected("edge_cases", "perfect_chi2"), abs=1e-9)
    assert perfect.p == pytest.approx(expected("edge_cases", "perfect_exact_p"), rel=1e-9)
    tied = friedman(wide(given("edge_cases", "all_tied")), higher_is_better=True)
    assert (tied.chi2, tied.p, tied.mean_ranks) == (0.0, 1.0, (2.0, 2.0, 2.0))
    assert "Wilcoxon" in friedman(wide(given("edge_cases", "two_arms")), higher_is_better=True).reason
    with pytest.raises(ValueError, match=r"1 of 4 patients lack a score, first \['case-01'\]"):
        friedman(wide(given("edge_cases", "one_missing")), higher_is_better=True)
    infinite = [[math.inf if x == 1e308 else x for x in row] for row in given("edge_cases", "hd95_inf")]
    assert friedman(wide(infinite), higher_is_better=False).mean_ranks == (2.0, 1.5, 2.5)


def test_p_of_a_firm_answer_is_not_zero():
    rng = np.random.default_rng(0)
    sizes = ((400, 0.01), (40, 0.5), (900, 0.5))
    one_order, firm, firmer = (wide((np.arange(6) + rng.normal(0, sd, (n, 6))).tolist()) for n, sd in sizes)
    assert 0 < friedman(one_order, higher_is_better=True).p < 1e-300
    assert 0 < friedman(firmer, higher_is_better=True).p < 1e-200
    found = friedman(firm, higher_is_better=True)
    # the incomplete beta function reaches far below what 1 - P could hold
    x = found.df2 / (found.df2 + found.df1 * found.f)
    assert found.p == pytest.approx(special.betainc(found.df2 / 2, found.df1 / 2, x), rel=1e-8)
    assert found.p < 1e-30
