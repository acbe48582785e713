"""Skillings-Mack against its paper, against Friedman, and against Durbin."""

import math

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from hypothesis import given as randomly
from hypothesis import settings

from helpers.published import expected, given, printed, wide
from helpers.random_tables import TABLES
from medsweep.analysis.stats.incomplete import SkillingsMack, skillings_mack
from medsweep.analysis.stats.omnibus import friedman

FANO = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
"""Seven patients, seven arms, three arms a patient, each pair of arms in one patient."""


def assembly():
    return wide(given("skillings_mack_assembly", "data"), given("skillings_mack_assembly", "treatments"))


def test_assembly_methods_of_the_paper():
    found = skillings_mack(assembly(), higher_is_better=False)
    value, half_unit = printed("skillings_mack_assembly", "T")
    assert isinstance(found, SkillingsMack)
    assert found.statistic == pytest.approx(value, abs=half_unit)
    assert found.statistic == pytest.approx(expected("skillings_mack_assembly", "T"), rel=1e-9)
    assert found.df == expected("skillings_mack_assembly", "df")
    assert found.p == pytest.approx(expected("skillings_mack_assembly", "p"), abs=5e-6)
    assert (found.n, found.complete, found.dropped, found.missing, found.ties) == (9, 6, 0, 4, 0)
    assert found.arms[int(np.argmin(found.scores))] == "A"


@randomly(TABLES)
@settings(max_examples=30, deadline=None)
def test_complete_data_give_friedman_ties_or_not(data):
    table = wide(data.tolist())
    found, whole = skillings_mack(table, higher_is_better=True), friedman(table, higher_is_better=True)
    assert (found.statistic, found.p) == (pytest.approx(whole.chi2, abs=1e-9), pytest.approx(whole.p_chi2))
    assert found.missing == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_balanced_incomplete_blocks_give_durbin():
    rng = np.random.default_rng(3)
    data = np.full((7, 7), math.nan)
    for row, arms in enumerate(FANO):
        data[row, list(arms)] = rng.permutation(3) + 0.1 * rng.random(3)
    found = skillings_mack(wide(data.tolist()), higher_is_better=True)
    p, statistic, df = scikit_posthocs.test_durbin(pd.DataFrame(data).to_numpy())
    assert (found.statistic, found.df, found.p) == (pytest.approx(statistic), df, pytest.approx(p))


def test_missing_order_names_and_direction_change_nothing():
    table = assembly()
    found = skillings_mack(table, higher_is_better=True)
    assert skillings_mack(-table, higher_is_better=False) == found
    assert skillings_mack(np.exp(3 * table), higher_is_better=True).statistic == pytest.approx(found.statistic)
    turned = skillings_mack(table.iloc[::-1, ::-1], higher_is_better=True)
    assert turned.statistic == pytest.approx(found.statistic)
    assert turned.scores[::-1] == pytest.approx(found.scores)


def test_patients_with_one_score_say_nothing_and_are_counted():
    table = pd.concat([assembly(), pd.DataFrame([[1.0, None, None, None], [None] * 4], columns=list("ABCD"))])
    found = skillings_mack(table.astype(float), higher_is_better=True)
    assert (found.dropped, found.n) == (2, 9)
    assert found.statistic == pytest.approx(expected("skillings_mack_assembly", "T"), rel=1e-9)


def test_infinity_is_a_score_and_nan_is_none():
    rows = [[math.inf, 3, 4], [2, 3, math.nan], [5, 1, 2], [math.inf, 2, math.nan]]
    ranked = [[3, 1, 2], [1, 2, math.nan], [3, 1, 2], [2, 1, math.nan]]
    found, oracle = (skillings_mack(wide(data), higher_is_better=False) for data in (rows, ranked))
    assert found == oracle
    assert found.missing == 2


def test_ties_are_met_by_the_covariance_of_their_permutations():
    rng = np.random.default_rng(8)
    data = rng.integers(0, 3, (12, 4)).astype(float)
    data[rng.random(data.shape) < 0.15] = math.nan
    permuted = []
    for _ in range(400):
        rows = data.copy()
        for row in rows:
            here = ~np.isnan(row)
            row[here] = rng.permutation(row[here])
        permuted.append(skillings_mack(wide(rows.tolist()), higher_is_better=True).statistic)
    found = skillings_mack(wide(data.tolist()), higher_is_better=True)
    assert found.ties > 5
    assert np.mean(permuted) == pytest.approx(found.df, rel=0.12)


def test_p_is_never_zero_by_underflow():
    data = np.arange(4) + np.random.default_rng(0).normal(0, 0.2, (900, 4))
    data[0, 0] = math.nan
    assert 0 < skillings_mack(wide(data.tolist()), higher_is_better=True).p < 1e-300


def test_where_there_is_no_test_there_is_a_reason():
    assert "Wilcoxon" in skillings_mack(wide([[1.0, 2], [2, None]]), higher_is_better=True).reason
    apart = wide([[1.0, 2, None, None], [2, 1, None, None], [None, None, 1, 2]])
    assert (
        "no chain of patients links 'arm 0' with 'arm 2', 'arm 3'"
        in skillings_mack(apart, higher_is_better=True).reason
    )
    empty = wide([[1.0, 2, None], [2, 1, None]])
    assert "'arm 2'" in skillings_mack(empty, higher_is_better=True).reason
    tied = skillings_mack(wide([[1.0, 1, None], [2, 2, 2], [None, 3, 3]]), higher_is_better=True)
    assert (tied.statistic, tied.p, "alike" in tied.note) == (0.0, 1.0, True)


def test_peers_drop_a_block_with_a_hole_unasked_and_ours_counts_it():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(8, 4)) + np.array([0, 0.4, 0.8, 2.0])
    table = wide(data.tolist())
    holed = table.mask((table == table.iloc[0, 1]) | (table == table.iloc[3, 2]))
    melted = holed.rename_axis("block").reset_index().melt("block").dropna()
    names = {"y_col": "value", "group_col": "variable", "block_col": "block", "block_id_col": "block", "melted": True}
    theirs = scikit_posthocs.posthoc_nemenyi_friedman(melted, **names)
    dropped = scikit_posthocs.posthoc_nemenyi_friedman(holed.dropna().to_numpy())
    assert theirs.to_numpy() == pytest.approx(dropped.to_numpy())  # six patients, unsaid
    with pytest.raises(ValueError, match="2 of 8 patients lack a score"):
        friedman(holed, higher_is_better=True)
    found = skillings_mack(holed, higher_is_better=True)
    assert (found.n, found.complete, found.missing) == (8, 6, 2)
