"""All pairs against loops, published tables and peers; and what the pool of arms decides."""

import dataclasses
import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scikit_posthocs
from hypothesis import given as randomly
from hypothesis import settings
from scipy import stats
from statsmodels.stats.multitest import multipletests

from helpers.published import expected, given, wide
from helpers.random_tables import TABLES
from medsweep.analysis.records import plain
from medsweep.analysis.stats.effects import effect
from medsweep.analysis.stats.mean_ranks import leave_one_arm_out, nemenyi
from medsweep.analysis.stats.omnibus import friedman
from medsweep.analysis.stats.pairwise import all_pairs, pairwise
from medsweep.analysis.stats.wilcoxon import signed_rank_p

LOWER = [(i, j) for i in range(6) for j in range(i)]


def diuretics():
    return wide(given("sachs_diuretics", "data"), given("sachs_diuretics", "treatments"))


def pairs_of(table, **settings):
    return pairwise(table, **{"higher_is_better": True, "alpha": 0.05, "level": 0.95} | settings)


def test_each_pair_is_the_effect_and_the_signed_rank_test_of_its_difference():
    rng = np.random.default_rng(0)
    table = wide((rng.normal(size=(17, 4)) + np.arange(4) / 3).round(2).tolist())
    found = pairs_of(table)
    raw = []
    for pair, (i, j) in zip(found.pairs, itertools.combinations(range(4), 2), strict=True):
        d = (table.iloc[:, i] - table.iloc[:, j]).to_numpy().round(12)
        alone = effect("x", d, higher_is_better=True, level=0.95)
        assert (pair.first, pair.second) == (f"arm {i}", f"arm {j}")
        assert (pair.mean, pair.wins, pair.ties, pair.losses) == (alone.mean, alone.wins, alone.ties, alone.losses)
        assert pair.p == signed_rank_p(d)
        raw.append(pair.p)
    assert [pair.p_holm for pair in found.pairs] == pytest.approx(multipletests(raw, method="holm")[1].tolist())
    assert found.order == tuple(np.argsort(-table.mean().to_numpy()).tolist())
    assert plain(found)["n"] == 17


@randomly(TABLES, st.randoms())
@settings(max_examples=15, deadline=None)
def test_rows_names_and_direction_change_nothing(data, chance):
    table = wide(data.tolist())
    found = pairs_of(table)
    mixed = table.sample(frac=1, random_state=chance.randrange(99))
    assert [pair.p_holm for pair in pairs_of(mixed).pairs] == pytest.approx([pair.p_holm for pair in found.pairs])
    flipped = pairs_of(-table, higher_is_better=False)
    for one, other in zip(found.pairs, flipped.pairs, strict=True):
        assert (one.p, one.wins, one.losses) == (other.p, other.wins, other.losses)
        assert one.mean.value == -other.mean.value
    assert flipped.order == found.order
    turned = {(pair.second, pair.first): pair.p_holm for pair in pairs_of(table.iloc[:, ::-1]).pairs}
    assert turned == pytest.approx({(pair.first, pair.second): pair.p_holm for pair in found.pairs})


def test_a_structure_missed_by_both_is_a_tie_and_by_one_a_loss():
    table = wide([[math.inf, math.inf, 1], [3, math.inf, 2], [2, 3, 4], [2, 4, 4]])
    found = pairs_of(table, higher_is_better=False)
    first = found.pairs[0]
    assert (first.wins, first.ties, first.losses, first.n_finite) == (3, 1, 0, 3)
    assert first.mean.value == pytest.approx(-1.0)
    assert found.order == (2, 0, 1)


def test_two_arms_are_one_pair():
    found = pairs_of(wide([[0.1, 0.2 + i / 9] for i in range(8)]))
    assert len(found.pairs) == 1
    assert found.pairs[0].p_holm == found.pairs[0].p == 2 / 2**8
    assert found.order == (1, 0)


def test_peers_pair_by_row_order_and_ours_by_patient():
    rng = np.random.default_rng(5)
    patient = rng.normal(0.8, 0.1, 20)
    values = patient[:, None] + rng.normal(0, 0.01, (20, 3)) + np.array([0.0, 0.01, 0.02])
    table = wide(values.tolist())
    long = table.rename_axis("patient").reset_index().melt("patient", var_name="arm")
    shuffled = long.sample(frac=1, random_state=1)
    theirs = [
        scikit_posthocs.posthoc_wilcoxon(frame, val_col="value", group_col="arm").loc["arm 0", "arm 2"]
        for frame in (long, shuffled)
    ]
    assert theirs[0] < 0.001
    assert theirs[1] > 0.3
    ours = [
        pairs_of(frame.pivot(index="patient", columns="arm", values="value")).pairs[1].p for frame in (long, shuffled)
    ]
    assert ours[0] == ours[1] == pytest.approx(theirs[0])


def test_a_hole_is_refused_by_every_procedure():
    table = wide([[0.1, 0.2, 0.3, 0.4], [0.2, None, 0.1, 0.3]])
    for call in (
        lambda: pairs_of(table),
        lambda: all_pairs(table, "shaffer", higher_is_better=True),
        lambda: all_pairs(table, "conover", higher_is_better=True),
        lambda: leave_one_arm_out(table, higher_is_better=True, alpha=0.05),
    ):
        with pytest.raises(ValueError, match=r"1 of 2 patients lack a score, first \['case-01'\]"):
            call()


def test_conover_of_sachs_and_of_peers():
    found = all_pairs(diuretics(), "conover", higher_is_better=False)
    adjusted = multipletests(expected("sachs_diuretics", "conover_p_lower_full"), method="holm")[1]
    assert [found.p[i][j] for i, j in LOWER] == pytest.approx(adjusted.tolist(), rel=1e-9)
    assert (found.correction, found.note) == ("Holm", "")


def test_conover_has_no_error_term_where_all_patients_agree():
    table = wide(given("edge_cases", "perfect"))
    with np.errstate(all="ignore"):
        peer = scikit_posthocs.posthoc_conover_friedman(table.to_numpy()).to_numpy()
    assert not (peer[0, 1] > 0)  # 0 or NaN
    found = all_pairs(table, "conover", higher_is_better=True)
    assert found.p[0][1] == pytest.approx(3 * 2 / 2**10) == 3 * stats.binomtest(10, 10).pvalue
    assert "sign test instead" in found.note
    alike = all_pairs(wide([[1.0, 1, 2], [1, 1, 2]]), "conover", higher_is_better=True)
    assert (alike.p[0][1], alike.p[0][2]) == (1.0, 1.0)


def test_p_of_conover_is_never_zero():
    data = np.arange(3) + np.random.default_rng(0).normal(0, 0.3, (2000, 3))
    found = all_pairs(wide(data.tolist()), "conover", higher_is_better=True)
    assert 0 < found.p[0][2] < 1e-300


@randomly(TABLES)
@settings(max_examples=15, deadline=None)
def test_shaffer_lies_between_the_raw_p_and_holms(data):
    table = wide(data.tolist())
    shaffer = all_pairs(table, "shaffer", higher_is_better=True)
    for pair in pairs_of(table).pairs:
        i, j = table.columns.get_loc(pair.first), table.columns.get_loc(pair.second)
        assert pair.p <= shaffer.p[i][j] <= pair.p_holm + 2e-12


def verdicts(table, alpha=0.05):
    found = nemenyi(table, friedman(table, higher_is_better=True), higher_is_better=True, alpha=alpha)
    names = itertools.combinations(enumerate(found.arms), 2)
    return {(a, b): found.p[i][j] for (i, a), (j, b) in names}


@randomly(TABLES.filter(lambda data: data.shape[1] > 3))
@settings(max_examples=20, deadline=None)
def test_leave_one_out_is_nemenyi_run_again_without_the_arm(data):
    table = wide(data.tolist())
    found = leave_one_arm_out(table, higher_is_better=True, alpha=0.3)
    whole, expected_flips = verdicts(table), []
    for arm in table.columns:
        for pair, p in verdicts(table.drop(columns=arm)).items():
            if min(abs(p - 0.3), abs(whole[pair] - 0.3)) < 1e-9:
                return
            if (p < 0.3) != (whole[pair] < 0.3):
                expected_flips.append((*pair, arm, whole[pair], p))
    assert [dataclasses.astuple(flip) for flip in found.flips] == [pytest.approx(flip) for flip in expected_flips]
    k = table.shape[1]
    assert found.checked == k * (k - 1) * (k - 2) // 2


def test_the_pool_paradox_of_benavoli():
    first, second = (
        wide(given("benavoli_pools", pool), list(arms)) for pool, arms in (("pool1", "ABCDE"), ("pool2", "ABFGH"))
    )
    assert first[["A", "B"]].equals(second[["A", "B"]])
    p = [verdicts(table)["A", "B"] for table in (first, second)]
    assert p[0] == pytest.approx(expected("benavoli_pools", "nemenyi_p_AB_pool1"), rel=1e-6)
    assert p[1] == pytest.approx(expected("benavoli_pools", "nemenyi_p_AB_pool2"), rel=1e-6)
    for table in (first, second):
        pair = pairs_of(table).pairs[0]
        # the published p is the normal approximation; with ties ours counts the distribution out
        assert pair.p == pytest.approx(0.04138946533203125, rel=1e-9)
        assert expected("benavoli_pools", "wilcoxon_p_AB") < pair.p < 0.05
        sign = stats.binomtest(pair.wins, pair.wins + pair.losses).pvalue
        assert sign == pytest.approx(expected("benavoli_pools", "sign_test_p_AB"), rel=1e-6)


def test_leave_one_out_finds_the_arm_that_decides():
    # A beats B in 14 of 21 patients; each arm between them widens the gap of their mean ranks by a third of a rank
    ahead, behind = [0.9, 0.8, 0.85, 0.84, 0.86], [0.8, 0.9, 0.85, 0.84, 0.86]
    table = wide([ahead] * 14 + [behind] * 7, list("ABCDE"))
    found = leave_one_arm_out(table, higher_is_better=True, alpha=0.05)
    flips = [flip for flip in found.flips if (flip.first, flip.second) == ("A", "B")]
    assert [flip.left_out for flip in flips] == ["C", "D", "E"]
    assert all(flip.p_all < 0.05 <= flip.p_without for flip in flips)
    three = leave_one_arm_out(table[["A", "B", "C"]], higher_is_better=True, alpha=0.05)
    assert (three.checked, three.flips) == (0, ())
