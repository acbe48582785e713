"""Sentences on causes: no record can make them contradict it or each other, and each "cannot tell" has its own."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.lattice import ARMS, STEPS, cost, costs, delivery
from medsweep.analysis.study.mechanisms.cause_wording import NAMES, sentences
from medsweep.analysis.study.mechanisms.causes import Costs, Outcome, Reason, decide
from medsweep.analysis.study.mechanisms.instruments import Instruments
from medsweep.analysis.study.mechanisms.laws import LAWS, Untold
from medsweep.analysis.study.mechanisms.mechanism import QUESTIONS, MechanismStudy
from medsweep.analysis.study.mechanisms.portions import Portion, second_opinions
from medsweep.mechanism import CAUSES, CELLS
from medsweep.metrics import SCORES

DICE, MARGIN = SCORES["dice"], 0.01
PAIRS = [cell for cell, on in CELLS.items() if len(on) == 2]
SECTION = ARMS.model_copy(update={"steps": {"labels": "gan", "look": "images"}})


SEEN = Instruments(
    bias=cost(1.1, 0.2),
    late_pool_cosine=cost(0.1, 0.1),
    late_real_cosine=cost(0.9, 0.05),
    domain_auc=0.99,
    auc_floor=(0.3, 0.7),
    vendi=0.3,
)


def study_of(found, doses=None, seen=Instruments(), portions=None):  # noqa: B008
    verdict = decide(found, doses, seen, MARGIN)
    second = second_opinions(SECTION, found.ladder, found.shares, found.joint)
    tests = dict.fromkeys(QUESTIONS, ())
    return MechanismStudy(SECTION, tests, found, verdict, (), doses, seen, (), portions or {}, second)


def told(study):
    return sentences(study, DICE, MARGIN)


# of a few sizes, so that every answer comes up: shown, not shown, a gain, confined, open
estimates = st.builds(cost, st.integers(-3, 6).map(lambda n: n / 100 + 0.001), st.sampled_from([0.002, 0.008, 0.04]))
often = st.integers(0, 9).map(bool)


@st.composite
def studies(draw):
    """Any record whose parts fit each other."""
    levels = {name: draw(estimates) for name in ("harm", "shortfall", "net cost") if draw(often)}
    lattice = draw(often)
    by_cause = st.fixed_dictionaries(dict.fromkeys(CAUSES, estimates)) if lattice else st.just({})
    found = Costs(
        levels=levels,
        ladder=draw(st.sampled_from([{}, "both"])) and {step: draw(estimates) for step in STEPS},
        shares=draw(by_cause),
        added=draw(by_cause),
        removed=draw(by_cause),
        joint={cell: draw(estimates) for cell, on in CELLS.items() if len(on) > 1} if lattice else {},
        interactions={cell: draw(estimates) for cell in PAIRS} if lattice else {},
        unexplained=draw(estimates) if lattice else None,
        one_run=not draw(often),
        runs=draw(st.integers(2, 10)),
    )
    places = [f"{cell}__{law.column}" for cell in CELLS for law in LAWS]
    wrong = draw(st.dictionaries(st.sampled_from(places), st.floats(-2, 3), max_size=2))
    missing = draw(st.sampled_from([(), (), ("law_look of gan",)]))
    doses = draw(st.sampled_from([delivery(missing, **wrong), delivery(), None])) if lattice else None
    none = st.none()
    seen = Instruments(
        bias=draw(none | estimates),
        random=draw(none | estimates),
        late_pool_cosine=draw(none | estimates),
        late_real_cosine=draw(none | estimates),
        boundary_loss=draw(st.sampled_from([math.nan, 1.0, 2.0])),
        domain_auc=draw(st.sampled_from([math.nan, 0.5, 1.0])),
        auc_floor=draw(st.sampled_from([None, (0.3, 0.7)])),
        vendi=draw(st.sampled_from([math.nan, 0.3, 1.0])),
        judges_differ=draw(st.booleans()),
    )
    shortfall = levels.get("shortfall")
    parts = {"labels": Portion(0.4, 0.2, 0.6)} if shortfall and shortfall.low > 0 and lattice else {}
    return study_of(found, doses, seen, parts)


@settings(max_examples=400)
@given(studies())
def test_no_record_makes_sentences_that_contradict_it_or_each_other(study):
    found, verdict = told(study), study.verdict
    text = " ".join(found)
    named = {cause for one in verdict.findings if one.named for cause in one.causes}
    for cause in CAUSES:
        explains = f"{NAMES[cause]} explains" in text
        assert explains == (cause in named)
        if explains:
            assert study.costs.shares[cause].low > 0
            assert study.costs.levels["shortfall"].low > 0
            assert f"the arms given for {NAMES[cause]} have" not in text
            assert not re.search(f"doses not measured|doses not delivered[^.]*{NAMES[cause]}", text)
            assert not re.search(f"{NAMES[cause]}[^.;,]* cannot be told apart", text)
    # a cause in words of its own only where it is named
    assert ("sufficient" in text or "needed" in text) <= bool(named)
    assert ("Nothing is attributed" in text) == (verdict.outcome is Outcome.NOTHING)
    if verdict.outcome is Outcome.NOTHING:
        assert len(found) == 2
    # what cannot be told has one sentence each, and nothing else begins so
    assert sum(one.startswith("Cannot tell: ") for one in found) == len(verdict.cannot_tell)
    assert ("too few runs per arm" in text) == study.costs.one_run
    if study.costs.one_run:
        assert not re.search(r"explains|come to|, shown|not shown", text)
    assert ("reproduce the arm within the margin" in text) + ("do not reproduce" in text) + ("is open" in text) <= 1
    assert ("the three laws together" in text.lower()) <= (study.delivery is not None and not study.delivery.missing)
    assert "%" not in "".join(re.findall(r"explains [^;,]*", text)) or study.costs.levels["shortfall"].low > 0
    assert "nan" not in text.lower().replace("finance", "")
    assert not re.search(r"not computable|\.\.|: \.| {2}|\(\)", text)


@given(studies())
def test_what_masks_what_is_told_before_the_shares(study):
    found = told(study)
    masks = [i for i, one in enumerate(found) if "(interaction " in one]
    shares = [i for i, one in enumerate(found) if "explains" in one or "come to" in one or "no cost shown" in one]
    if masks and shares:
        assert max(masks) < min(shares)
    assert len(masks) == len(study.verdict.masked)


@given(studies())
def test_a_mend_is_promised_only_where_all_laws_arrived(study):
    if "would come back" in " ".join(told(study)):
        assert study.delivery is not None
        assert not study.delivery.missing
        assert all(dose.delivered for dose in study.delivery.doses)
        assert not study.verdict.absent


def test_what_arms_mask_is_of_the_arms_where_the_pool_has_nothing_of_one_cause():
    masking = costs(interactions={cell: cost(0.02 if cell == "labels + look" else 0.0) for cell in PAIRS})
    (sentence,) = [one for one in told(study_of(masking, delivery(nothing=("look",)), SEEN)) if "(interaction " in one]
    assert sentence.endswith(
        "The pool of gan has nothing of look that a measured law tells from new real slices, so this tells of the "
        "arms and not of the pool."
    )


def test_what_the_pool_has_nothing_of_is_nothing_to_repair():
    nothing = delivery(nothing=("look",))
    (sentence,) = [one for one in told(study_of(costs(), nothing, SEEN)) if "repair" in one]
    assert sentence == (
        "The pool of gan has nothing of look that a measured law tells from new real slices, so there is nothing of it "
        "to repair."
    )
    # said once, where arms given for it seem to cost something
    costly = " ".join(told(study_of(costs(look=0.03), nothing, SEEN)))
    assert "repair" not in costly
    assert costly.count("has nothing of look") == 1


def test_what_is_not_told_apart_from_the_look_is_told_with_its_interval():
    doses = replace(delivery(), untold=(Untold("law_flips", 0.05, -0.1, 0.2), Untold("law_random_px", 0.4, 0.0, 0.9)))
    (sentence,) = [one for one in told(study_of(costs(), doses, SEEN)) if one.startswith("Not told apart")]
    assert sentence == (
        "Not told apart from the look: flipped classes 0.05 (\u22120.10 to +0.20), random error of masks 0.40 px (0.00 "
        "to +0.90). A judge shows as much on unseen real slices that are given the look of gan, within the error of "
        "their patients, so law: measured plants none of it. More validation patients narrow the intervals."
    )


def test_sizes_of_bounded_scores_are_told_as_such():
    study = study_of(costs(), delivery(), SEEN)
    rows = [
        SimpleNamespace(name=name, judged=SimpleNamespace(bounded=bounded), test=SimpleNamespace(bound=0.1))
        for name, bounded in (("harm", False), ("new to images", True))
    ]
    assert not any("control's" in one for one in told(replace(study, tests={"levels": (rows[0],)})))
    (sentence,) = [one for one in told(replace(study, tests={"levels": tuple(rows)})) if "control's" in one]
    assert "no farther than 0.1 Dice from the control's" in sentence
    assert "show the difference: new to images." in sentence


NO_SHORTFALL = {"harm": cost(0.02), "shortfall": cost(0.003), "net cost": cost(0.02)}
CANNOT = [
    (
        Reason.ONE_RUN,
        study_of(costs(one_run=True), delivery(), SEEN),
        "too few runs per arm: all costs are conditional on the trained models, and none has a verdict; train with "
        "more seeds.",
    ),
    (
        Reason.NO_SHORTFALL,
        study_of(costs(levels=NO_SHORTFALL), delivery(), SEEN),
        "no shortfall is shown, and the lattice divides the shortfall alone.",
    ),
    (
        Reason.NO_CEILING,
        study_of(costs(levels={"harm": cost(0.05)}, shares={}), None, SEEN),
        "no left-out patients: lost variety is not judged without an arm of new real slices; name it as "
        "mechanism.ceiling.",
    ),
    (
        Reason.NO_LATTICE,
        study_of(costs(shares={}), None, SEEN),
        "no lattice: labels, look and variety need its seven arms (mechanism.lattice), all with scores.",
    ),
    (
        Reason.DOSES_NOT_MEASURED,
        study_of(costs(), delivery(("law_look of gan",)), SEEN),
        "doses not measured: whether the arms of the lattice have the laws of the arm explained is known by their "
        "names only, so no cause is named (not measured: law_look of gan).",
    ),
    (
        Reason.DOSES_NOT_DELIVERED,
        study_of(costs(), delivery(labels__law_bias_px=0.63), SEEN),
        "doses not delivered: arms of the lattice have laws of another size, for misfit of mask and image.",
    ),
    (
        Reason.JOINT,
        study_of(costs(0, 0.03, 0.01), delivery(look__law_vendi_share=0.48), SEEN),
        "joint causes: look and lost variety cannot be told apart (look also moved Vendi share by 48%, from 0.00 to "
        "0.48).",
    ),
    (
        Reason.JUDGE,
        study_of(costs(), delivery(), replace(SEEN, judges_differ=True)),
        "depends on the judge: two judges disagree on the misfit of mask and image.",
    ),
    (
        Reason.NOTHING_THERE,
        study_of(costs(), delivery(nothing=("labels",)), SEEN),
        "the pool of gan has nothing of misfit of mask and image that a measured law tells from new real slices, so "
        "what the arms given for it come to is not its cost.",
    ),
    (
        Reason.NO_INSTRUMENT,
        study_of(costs(), delivery(), replace(SEEN, bias=None)),
        "instruments not measured: nothing but the arms speaks for a cause (not measured: law_bias_px or law_random_px "
        "with an interval).",
    ),
    (
        Reason.NOT_VISIBLE,
        study_of(costs(), delivery(), replace(SEEN, late_pool_cosine=cost(0.95, 0.1))),
        "share without a visible cause: the instruments do not see what the arms show.",
    ),
    (
        Reason.TOO_WIDE,
        study_of(costs(0.05, 0.005, half=0.02), delivery(), SEEN),
        "interval too wide to tell a cost of the margin, 0.01 Dice: look (at least 20 runs per arm), lost variety (at "
        "least 20 runs per arm).",
    ),
]


@pytest.mark.parametrize(("reason", "study", "sentence"), CANNOT, ids=[str(reason) for reason, _, _ in CANNOT])
def test_each_cannot_tell_has_its_own_sentence(reason, study, sentence):
    assert reason in study.verdict.cannot_tell
    assert f"Cannot tell: {sentence}" in told(study)


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        (("harm", "shortfall"), "No harm beyond exposure and no shortfall is shown. Nothing is attributed."),
        (("harm",), "No harm beyond exposure is shown. Nothing is attributed."),
        (("net cost",), "Neither harm nor shortfall was measured. Nothing is attributed."),
        ((), "Neither harm nor shortfall was measured. Nothing is attributed."),
    ],
)
def test_where_nothing_is_shown_only_what_was_measured_is_denied(levels, sentence):
    study = study_of(costs(levels={name: cost(0.001) for name in levels}), delivery(), SEEN)
    assert told(study)[1:] == (sentence,)


def test_every_reason_has_a_test():
    assert {reason for reason, _, _ in CANNOT} == set(Reason)


def test_a_dose_that_fell_short_is_told_with_the_share():
    text = " ".join(told(study_of(costs(), delivery(labels__law_bias_px=0.63), SEEN)))
    assert "the arms given for misfit of mask and image at 63% of the measured bias of masks come to 0.0500" in text


def test_what_slices_of_other_patients_add_is_told_beside_the_harm():
    levels = {"harm": cost(0.007), "shortfall": cost(0.0283), "net cost": cost(0.0079)}
    lead = "It does not divide the harm against the same real slices again"
    said = " ".join(told(study_of(costs(levels=levels), delivery(), SEEN)))
    assert (
        f"{lead}. Those lie 0.0213 Dice below new ones themselves, which is what slices of other patients add." in said
    )
    levels["harm"] = cost(0.03)
    assert f"{lead}. " in " ".join(told(study_of(costs(levels=levels), delivery(), SEEN)))
    assert "below new ones" not in " ".join(told(study_of(costs(levels=levels), delivery(), SEEN)))


def test_opinions_of_the_ladder_stand_beside_the_shares():
    found = [one for one in told(study_of(costs(), delivery(), SEEN)) if one.startswith("A second opinion on ")]
    assert found == [
        "A second opinion on misfit of mask and image: the step images to gan, 0.0250 (+0.0210 to +0.0290), does not "
        "agree with its share of the lattice, 0.0500 (+0.0460 to +0.0540).",
        "A second opinion on look and lost variety: the step new to images, 0.0250 (+0.0210 to +0.0290), does not "
        "agree with their shares of the lattice together, 0.0000 (\N{MINUS SIGN}0.0040 to +0.0040).",
    ]
