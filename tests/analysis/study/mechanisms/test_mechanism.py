"""Levels, ladder and lattice: sums that hold exactly, shares that are right, and what dead arms take away."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.lattice import ARMS, NAMES, diagnosis_of, law_pools, planted, score_table
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.study.dead import DeadArm
from medsweep.analysis.study.mechanisms.causes import Outcome, Reason
from medsweep.analysis.study.mechanisms.mechanism import questions
from medsweep.analysis.study.mechanisms.why import WhyAsked
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.user_table import NO_DIAGNOSIS, NO_POOLS
from medsweep.mechanism import CAUSES, CELLS, Mechanism

scores = st.lists(st.floats(0, 1), min_size=len(NAMES), max_size=len(NAMES))


def value(weights, means):
    return sum(weight * means[arm] for arm, weight in weights.items())


@given(scores)
def test_steps_and_shares_add_up_to_what_they_divide(values):
    means = dict(zip(NAMES, values, strict=True))
    asked = questions(ARMS, "real")
    total = {
        name: sum(value(one, means) for one in asked[name].values()) for name in ("ladder", "shares", "unexplained")
    }
    shortfall = means["new"] - means["gan"]
    assert total["ladder"] == pytest.approx(shortfall, abs=1e-12)
    assert total["shares"] + total["unexplained"] == pytest.approx(shortfall, abs=1e-12)
    for pair in itertools.combinations(CAUSES, 2):
        both = sum(value(asked["shares"][cause], means) for cause in pair)
        assert value(asked["joint"][" + ".join(pair)], means) == pytest.approx(both, abs=1e-12)
    for family in asked.values():
        assert all(abs(sum(weights.values())) < 1e-12 for weights in family.values())


def shapley(cause, means):
    """By its definition: the mean over all orders of turning the causes on."""
    costs = []
    for order in itertools.permutations(CAUSES):
        before = {one for one in order[: order.index(cause)]}
        costs.append(cell(before, means) - cell({*before, cause}, means))
    return np.mean(costs)


def cell(on, means):
    name = next((name for name, causes in CELLS.items() if set(causes) == on), None)
    return means["new"] if name is None else means[ARMS.lattice[name]]


@given(scores)
def test_a_share_is_the_mean_over_all_orders(values):
    means = dict(zip(NAMES, values, strict=True))
    for cause, weights in questions(ARMS, "real")["shares"].items():
        assert value(weights, means) == pytest.approx(shapley(cause, means), abs=1e-12)


def test_a_share_is_half_as_uncertain_as_a_pair():
    for weights in questions(ARMS, "real")["shares"].values():
        assert sum(weight**2 for weight in weights.values()) == pytest.approx(5 / 9)


def test_interaction_is_positive_where_one_cause_masks_the_other():
    means = dict.fromkeys(NAMES, 0.9)
    means |= {"cell labels": 0.82, "cell look": 0.87, "cell labels + look": 0.83}
    assert value(questions(ARMS, "real")["interactions"]["labels + look"], means) == pytest.approx(0.04)


def test_costs_are_positive_for_distances_too():
    means = dict.fromkeys(NAMES, 2.0) | {"gan": 3.5}
    asked = questions(ARMS, "real", higher_is_better=False)
    assert {name: value(one, means) for name, one in asked["levels"].items()} == pytest.approx(
        {"harm": 1.5, "shortfall": 1.5, "net cost": 1.5}
    )


def study(costs, mechanism=ARMS, names=NAMES, pools=NO_POOLS, diagnosis=NO_DIAGNOSIS, **settings):
    infos = [ArmInfo(name, {}, control=name == "real") for name in names]
    scored = score_table(costs, names=names, **settings)
    rules = AnalysisRules(margin=0.01)
    return analyse(scored, pools, rules, arms=infos, why=WhyAsked(mechanism, diagnosis=diagnosis)).mechanism


def test_a_planted_cause_has_the_share_and_the_others_none():
    found = study(planted(labels=0.05))
    shares = found.costs.shares
    assert shares["labels"].low > 0.03
    assert shares["labels"].high < 0.07
    for other in ("look", "variety"):
        assert shares[other].low < 0 < shares[other].high
    assert found.costs.unexplained.low < 0 < found.costs.unexplained.high
    labels = next(one for one in found.verdict.findings if one.causes == ("labels",))
    assert labels.shown
    assert labels.sufficient
    assert labels.needed
    # no dose and no instrument was measured, so nothing may be named
    assert found.verdict.outcome is Outcome.CANNOT_TELL
    assert Reason.DOSES_NOT_MEASURED in labels.reasons
    assert not labels.named


def test_one_run_per_arm_has_numbers_and_no_verdict():
    found = study(planted(labels=0.05), seeds=1)
    assert found.costs.shares["labels"].value == pytest.approx(0.05, abs=0.02)
    assert found.verdict.cannot_tell == (Reason.ONE_RUN,)
    assert not found.verdict.findings


def test_a_dead_cell_takes_the_lattice_and_leaves_levels_and_ladder():
    names = [name for name in NAMES if name != "cell look"]
    infos = [ArmInfo(name, {}, control=name == "real") for name in NAMES]
    rows, lost = score_table(planted(labels=0.05), names=names), [DeadArm("cell look", "all trainings failed")]
    found = analyse(rows, NO_POOLS, AnalysisRules(margin=0.01), arms=infos, why=WhyAsked(ARMS), dead=lost).mechanism
    assert found.tests["shares"] == ()
    assert len(found.tests["levels"]) == 3
    assert len(found.tests["ladder"]) == 2
    assert "shares" in found.lost
    assert Reason.NO_LATTICE in found.verdict.cannot_tell


def test_only_named_levels_are_judged():
    mechanism = Mechanism(explain="gan", exposure="again")
    found = study({"gan": 0.05}, mechanism, ["real", "again", "gan"])
    assert [test.name for test in found.tests["levels"]] == ["harm", "net cost"]
    assert found.verdict.cannot_tell == (Reason.NO_CEILING, Reason.NO_LATTICE)


def test_a_cause_whose_dose_arrived_and_that_is_seen_is_named():
    pools, diagnosis = law_pools(("labels",)), diagnosis_of(opposed=("gan",))
    found = study(planted(labels=0.05), pools=pools, diagnosis=diagnosis)
    assert found.verdict.outcome is Outcome.NAMED
    assert [one.causes for one in found.verdict.findings if one.named] == [("labels",)]
    assert found.verdict.cannot_tell == ()


def test_what_was_not_measured_is_told_by_name():
    pools = law_pools(("labels",))
    pools = pools[~((pools["metric"] == "law_look") & (pools["arm"] == "cell look"))]
    verdict = study(planted(labels=0.05), pools=pools).verdict
    assert verdict.outcome is Outcome.CANNOT_TELL
    assert verdict.missing == {
        Reason.DOSES_NOT_MEASURED: ("law_look of cell look",),
        Reason.NO_INSTRUMENT: ("late gradients or boundary losses (segment.snapshots)",),
    }


def test_arms_of_the_lattice_are_no_winners_and_cells_without_a_law_are_no_copies():
    infos = [ArmInfo(name, {}, control=name == "real") for name in NAMES]
    rows = score_table(dict.fromkeys(NAMES[1:], -0.04), names=NAMES)
    first = rows[(rows["arm"] == ARMS.ceiling) & (rows["seed"] == 0)]
    twin = (rows["arm"] == "cell labels") & (rows["seed"] == 0)
    rows.loc[twin, "value"] = first["value"].to_numpy()
    found = analyse(rows, NO_POOLS, AnalysisRules(margin=0.01), arms=infos, why=WhyAsked(ARMS))
    others = [name for name in NAMES if name not in ARMS.planted and name != "real"]
    assert found.headline.startswith(f"{len(others)} of {len(others)} arms are superior to real")
    assert any("are new real slices with what was measured in gan planted in them" in line for line in found.limits)
    (same,) = [line for line in found.limits if "score the same in every patient" in line]
    assert "patient, since a law that was measured there is nothing" in same
    plain = analyse(rows, NO_POOLS, AnalysisRules(margin=0.01), arms=infos)
    assert plain.headline.startswith(f"{len(NAMES) - 1} of {len(NAMES) - 1} arms are superior")
    assert any("as no two trained networks do" in line for line in plain.limits)
