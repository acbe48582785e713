"""Friedman against published numbers, and where it has nothing to say."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from hypothesis.extra.numpy import arrays
from published import expected, given, printed, wide
from scipy import stats

from analysis.omnibus import NoOmnibus, Omnibus, friedman

TABLES = arrays(
    np.float64, st.tuples(st.integers(2, 12), st.integers(3, 6)), elements=st.integers(0, 6).map(lambda i: i / 4)
)


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
    assert found.f == pytest.approx(oracle["iman_davenport_tied"], rel=1e-9)


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
