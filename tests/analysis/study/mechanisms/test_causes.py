"""The decision procedure: what it names, and every reason for which it cannot tell."""

from dataclasses import replace

import pytest

from helpers.lattice import cost, costs, delivery
from medsweep.analysis.study.mechanisms.causes import Outcome, Reason, decide
from medsweep.analysis.study.mechanisms.instruments import Instruments

MARGIN = 0.01


SEEN = Instruments(
    bias=cost(1.1, 0.2),
    random=cost(0.1, 0.3),
    late_pool_cosine=cost(0.1, 0.1),
    late_real_cosine=cost(0.9, 0.05),
    boundary_loss=1.2,
    domain_auc=0.99,
    auc_floor=(0.3, 0.7),
    vendi=0.3,
)


def finding(verdict, *causes):
    return next(one for one in verdict.findings if one.causes == causes)


def test_a_delivered_and_visible_cause_is_named_alone():
    verdict = decide(costs(), delivery(), SEEN, MARGIN)
    assert verdict.outcome is Outcome.NAMED
    labels = finding(verdict, "labels")
    assert labels.named
    assert labels.sufficient
    assert labels.needed
    assert not finding(verdict, "look").shown
    assert verdict.cannot_tell == ()
    assert verdict.unexplained == "inside the margin"


def test_three_causes_are_all_named():
    verdict = decide(costs(0.02, 0.02, 0.02), delivery(), SEEN, MARGIN)
    assert [one.named for one in verdict.findings] == [True] * 3


def test_nothing_is_attributed_where_no_cost_is_shown():
    verdict = decide(replace(costs(), levels={"harm": cost(0.001), "shortfall": cost(0.003)}), delivery(), SEEN, MARGIN)
    assert verdict.outcome is Outcome.NOTHING
    assert not verdict.findings


@pytest.mark.parametrize(
    ("given", "dose", "seen", "reason"),
    [
        (costs(), None, SEEN, Reason.DOSES_NOT_MEASURED),
        (costs(), delivery(missing=("law_look of all three",)), SEEN, Reason.DOSES_NOT_MEASURED),
        (costs(), delivery(labels__law_bias_px=0.63), SEEN, Reason.DOSES_NOT_DELIVERED),
        (costs(), delivery(labels__law_look=0.48), SEEN, Reason.JOINT),
        (costs(), delivery(), Instruments(), Reason.NO_INSTRUMENT),
        (costs(), delivery(), replace(SEEN, judges_differ=True), Reason.JUDGE),
        (costs(), delivery(), replace(SEEN, bias=cost(0.0, 0.2)), Reason.NOT_VISIBLE),
        (costs(), delivery(), replace(SEEN, late_pool_cosine=cost(0.88, 0.1)), Reason.NOT_VISIBLE),
        (
            replace(costs(), levels={"harm": cost(0.02), "shortfall": cost(0.003)}),
            delivery(),
            SEEN,
            Reason.NO_SHORTFALL,
        ),
    ],
)
def test_each_thing_that_stands_against_a_name_is_told(given, dose, seen, reason):
    verdict = decide(given, dose, seen, MARGIN)
    assert verdict.outcome is Outcome.CANNOT_TELL
    assert reason in verdict.cannot_tell
    assert not any(one.named for one in verdict.findings)


def test_causes_that_move_each_other_have_one_joint_share():
    verdict = decide(costs(0.0, 0.01, 0.03), delivery(look__law_vendi_share=0.5), SEEN, MARGIN)
    assert finding(verdict, "look", "variety").share.value == pytest.approx(0.04)
    assert [(one.cell, one.law, one.share) for one in verdict.confounded] == [("look", "law_vendi_share", 0.5)]
    assert finding(verdict, "labels")


def test_a_dose_short_of_its_size_is_told_with_the_share():
    found = finding(decide(costs(), delivery(labels__law_bias_px=0.63), SEEN, MARGIN), "labels").dose
    assert found is not None
    assert (found.law, found.share) == ("law_bias_px", 0.63)


def test_an_open_interval_asks_for_more_seeds():
    verdict = decide(costs(look=0.005, half=0.02), delivery(), SEEN, MARGIN)
    look = finding(verdict, "look")
    assert look.reasons == (Reason.TOO_WIDE,)
    assert look.seeds_needed == 20


def test_more_seeds_are_not_asked_for_what_the_pool_has_nothing_of():
    verdict = decide(costs(look=0.005, half=0.02), delivery(nothing=("look",)), SEEN, MARGIN)
    look = finding(verdict, "look")
    assert look.reasons == (Reason.NOTHING_THERE,)
    assert look.seeds_needed is None
    assert verdict.cannot_tell == (Reason.NOTHING_THERE, Reason.TOO_WIDE)
    # an interval that is inside the margin leaves nothing to tell
    assert finding(decide(costs(), delivery(nothing=("look",)), SEEN, MARGIN), "look").reasons == ()


def test_joint_causes_are_in_the_pool_where_one_of_them_is():
    moved = {"look__law_vendi_share": 0.5}
    for absent, expected in ((("look",), False), (("look", "variety"), True)):
        joint = finding(
            decide(costs(0.0, 0.01, 0.03), delivery(nothing=absent, **moved), SEEN, MARGIN), "look", "variety"
        )
        assert Reason.JOINT in joint.reasons
        assert (Reason.NOTHING_THERE in joint.reasons) is expected


def test_one_run_and_no_left_out_patients_and_no_lattice_have_their_names():
    assert decide(replace(costs(), one_run=True), delivery(), SEEN, MARGIN).cannot_tell == (Reason.ONE_RUN,)
    bare = replace(costs(), shares={}, levels={"harm": cost(0.05)})
    assert decide(bare, None, Instruments(), MARGIN).cannot_tell == (Reason.NO_CEILING, Reason.NO_LATTICE)


def test_causes_that_mask_each_other_are_told():
    masked = replace(costs(), interactions={"labels + look": cost(0.03), "look + variety": cost(0.001)})
    assert decide(masked, delivery(), SEEN, MARGIN).masked == ("labels + look",)


def test_look_and_variety_are_seen_by_their_own_instruments():
    assert replace(SEEN, domain_auc=0.6).sees("look") == "no"
    assert replace(SEEN, vendi=0.9).sees("variety") == "no"
    assert replace(SEEN, late_pool_cosine=cost(0.9), boundary_loss=1.6).sees("labels") == "yes"
