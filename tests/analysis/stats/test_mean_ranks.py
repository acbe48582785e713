"""Nemenyi, cliques, Bonferroni-Dunn and Holm against published numbers."""

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given as randomly
from hypothesis import settings
from scipy import stats
from statsmodels.stats.multitest import multipletests

from helpers.published import CASES, expected, given, printed, wide
from helpers.random_tables import TABLES
from medsweep.analysis.stats.mean_ranks import bonferroni_dunn, cliques, critical_difference, nemenyi, standard_error
from medsweep.analysis.stats.omnibus import friedman
from medsweep.analysis.stats.p_adjustment import holm
from medsweep.analysis.stats.wilcoxon import against_control, signed_rank_p


def dunn(table, control, *, higher_is_better=True, alpha=0.05):
    omnibus = friedman(table, higher_is_better=higher_is_better)
    return bonferroni_dunn(table, omnibus, control, higher_is_better=higher_is_better, alpha=alpha)


def of(data, *, higher_is_better=True, alpha=0.05, arms=None):
    table = wide(data, arms)
    omnibus = friedman(table, higher_is_better=higher_is_better)
    return nemenyi(table, omnibus, higher_is_better=higher_is_better, alpha=alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.10])
def test_demsar_critical_difference_and_cliques(alpha):
    tag = f"0_{round(100 * alpha):02d}"
    value, half_unit = printed("demsar_c45_auc", f"nemenyi_CD_{tag}")
    assert critical_difference(4, 14, alpha) == pytest.approx(value, abs=half_unit)
    found = of(
        given("demsar_c45_auc", "printed_ranks"),
        higher_is_better=False,
        alpha=alpha,
        arms=given("demsar_c45_auc", "treatments"),
    )
    assert [list(group) for group in found.cliques] == expected("demsar_c45_auc", f"cliques_{tag}")
    pairs = itertools.combinations(range(4), 2)
    significant = [[found.arms[i], found.arms[j]] for i, j in pairs if found.p[i][j] < alpha]
    assert significant == expected("demsar_c45_auc", f"nemenyi_significant_pairs_{tag}")


@pytest.mark.parametrize("alpha", [0.05, 0.10])
def test_demsar_table_5_q(alpha):
    name = f"nemenyi_0_{round(100 * alpha):02d}"
    value, half_unit = printed("demsar_q_table", name)
    found = [critical_difference(k, 1, alpha) / math.sqrt(k * (k + 1) / 6) for k in given("demsar_q_table", "k")]
    assert found == pytest.approx(value, abs=half_unit)
    assert found == pytest.approx(expected("demsar_q_table", name), rel=1e-6)


def test_nemenyi_p_of_sachs_and_demsar():
    found = of(given("sachs_diuretics", "data"), higher_is_better=False)
    lower = [found.p[i][j] for i in range(6) for j in range(i)]
    assert lower == pytest.approx(expected("sachs_diuretics", "nemenyi_p_lower"), rel=1e-6)
    found = of(given("demsar_c45_auc", "printed_ranks"), higher_is_better=False)
    assert np.array(found.p) == pytest.approx(np.array(expected("demsar_c45_auc", "nemenyi_p_printed_ranks")), rel=1e-6)


def test_the_pool_decides_nemenyi_but_not_wilcoxon():
    p = {}
    for pool in ("pool1", "pool2"):
        data = np.array(given("benavoli_pools", pool))
        p[pool] = of(data.tolist()).p[0][1]
        differences = (data[:, 0] - data[:, 1]).round(12)
        normal = stats.wilcoxon(differences, zero_method="pratt", method="asymptotic", correction=False).pvalue
        assert normal == pytest.approx(expected("benavoli_pools", "wilcoxon_p_AB"), rel=1e-6)
        # with ties ours counts the distribution out
        assert signed_rank_p(differences) == pytest.approx(0.04138946533203125, rel=1e-9)
    assert p["pool1"] == pytest.approx(expected("benavoli_pools", "nemenyi_p_AB_pool1"), rel=1e-6)
    assert p["pool2"] == pytest.approx(expected("benavoli_pools", "nemenyi_p_AB_pool2"), rel=1e-6)


def test_ten_of_ten_in_order_and_neighbours_still_not_apart():
    found = of([[0.1 + i / 1000, 0.2 + i / 1000, 0.3 + i / 1000] for i in range(10)])
    assert found.p[0][1] == pytest.approx(0.06526, abs=5e-6)
    assert found.cliques == (("arm 2", "arm 1"), ("arm 1", "arm 0"))


@randomly(TABLES)
@settings(max_examples=15, deadline=None)
def test_nemenyi_is_significant_exactly_beyond_the_critical_difference(data):
    omnibus = friedman(wide(data.tolist()), higher_is_better=True)
    found = of(data.tolist())
    for i, j in itertools.combinations(range(len(found.arms)), 2):
        apart = abs(omnibus.mean_ranks[i] - omnibus.mean_ranks[j])
        if abs(apart - found.critical_difference) > 1e-6:
            assert (found.p[i][j] < 0.05) == (apart > found.critical_difference)


@randomly(
    st.lists(st.integers(0, 40).map(lambda i: i / 8), min_size=2, max_size=9), st.integers(1, 20).map(lambda i: i / 8)
)
def test_cliques_are_the_maximal_groups_without_a_far_pair(ranks, difference):
    arms = [str(i) for i in range(len(ranks))]
    near = {
        frozenset(group)
        for size in range(2, len(arms) + 1)
        for group in itertools.combinations(arms, size)
        if max(ranks[int(a)] for a in group) - min(ranks[int(a)] for a in group) < difference
    }
    maximal = {group for group in near if not any(group < other for other in near)}
    assert {frozenset(group) for group in cliques(arms, ranks, difference)} == maximal


@randomly(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_holm_lies_between_raw_and_bonferroni(p):
    adjusted = holm(p)
    for raw, value in zip(p, adjusted, strict=True):
        assert raw <= value + 1e-12
        assert value <= min(1, raw * len(p)) + 1e-12 or value == pytest.approx(max(adjusted))
    assert min(adjusted) == pytest.approx(min(1, min(p) * len(p)))
    assert list(adjusted) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_holm_counts_a_missing_p_as_a_comparison():
    assert holm([0.02, math.nan])[0] == pytest.approx(0.04)
    assert math.isnan(holm([0.02, math.nan])[1])
    assert holm([]) == ()


def test_family_corrects_over_all_arms():
    found = against_control([("a", np.arange(1.0, 9)), ("b", np.array([1.0, -2, 3, -4, 5, -6, 7, -8]))])
    assert found[0].p == pytest.approx(2 / 2**8)
    assert found[0].p_holm == pytest.approx(2 * found[0].p)


def test_critical_values_to_fifty_arms():
    for k, by_alpha in expected("demsar_q_table", "nemenyi_exact").items():
        for alpha, q in by_alpha.items():
            found = critical_difference(int(k), 1, float(alpha)) / standard_error(int(k), 1)
            assert found == pytest.approx(q, rel=1e-8)


@pytest.mark.parametrize("alpha", [0.05, 0.10])
def test_demsar_bonferroni_dunn(alpha):
    ranks = wide(given("demsar_c45_auc", "printed_ranks"), given("demsar_c45_auc", "treatments"))
    found = dunn(ranks, "C4.5", higher_is_better=False, alpha=alpha)
    value, half_unit = printed("demsar_c45_auc", f"bonferroni_dunn_CD_0_{round(100 * alpha):02d}")
    assert found.critical_difference == pytest.approx(value, abs=half_unit)
    order = [found.arms.index(arm) for arm in ("C4.5+m+cf", "C4.5+m", "C4.5+cf")]
    for values, name in ((found.z, "z_vs_C45_array"), (found.p, "p_vs_C45_array")):
        value, half_unit = printed("demsar_c45_auc", name)
        assert [values[i] for i in order] == pytest.approx(value, abs=half_unit)
        assert [values[i] for i in order] == pytest.approx(expected("demsar_c45_auc", name), rel=1e-9)
    assert [found.p_holm[i] for i in order] == pytest.approx(expected("demsar_c45_auc", "holm_vs_C45"), rel=1e-6)


def test_bonferroni_dunn_critical_values_and_the_misprint():
    def q(k, alpha):
        arms = [f"arm {i}" for i in range(k)]
        table = wide(np.random.default_rng(k).normal(size=(5, k)).tolist(), arms)
        if k == 2:
            return stats.norm.isf(alpha / 2)
        found = dunn(table, "arm 0", alpha=alpha)
        return found.critical_difference / math.sqrt(k * (k + 1) / 30)

    for name, alpha in (("bonferroni_dunn_0_05_corrected", 0.05), ("bonferroni_dunn_0_10", 0.1)):
        entry = CASES["demsar_q_table"]["expected"][name]
        found = [q(k, alpha) for k in given("demsar_q_table", "k")]
        assert found == pytest.approx(entry.get("printed", entry["value"]), abs=0.0011)
    misprint = expected("demsar_q_table", "bonferroni_dunn_0_05_printed")[7]
    assert abs(q(9, 0.05) - misprint) > 0.009


@randomly(TABLES)
@settings(max_examples=15, deadline=None)
def test_bonferroni_dunn_is_significant_exactly_from_its_critical_difference(data):
    omnibus = friedman(wide(data.tolist()), higher_is_better=True)
    found = dunn(wide(data.tolist()), "arm 1")
    ranks = dict(zip(omnibus.arms, omnibus.mean_ranks, strict=True))
    for arm, z, raw, p, stepped in zip(found.arms, found.z, found.p, found.p_bonferroni, found.p_holm, strict=True):
        apart = ranks["arm 1"] - ranks[arm]
        assert np.sign(z) == np.sign(apart)
        assert raw <= stepped <= p
        if abs(abs(apart) - found.critical_difference) > 1e-9:
            assert (p < 0.05) == (abs(apart) > found.critical_difference)


def test_p_is_never_zero_by_underflow():
    assert 0 < signed_rank_p(np.arange(1.0, 6001)) < 1e-300
    table = wide((np.arange(3) + np.random.default_rng(0).normal(0, 0.2, (4000, 3))).tolist())
    omnibus = friedman(table, higher_is_better=True)
    assert min(dunn(table, "arm 0").p) > 0
    assert np.array(nemenyi(table, omnibus, higher_is_better=True, alpha=0.05).p).min() > 0
