"""The decision on accumulation: its five sentences, every reason for none of them, and laws that hold for all."""

import math
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsweep.analysis.study.mechanisms.accumulation_verdict import MARGIN_PX, MISSED, Doubt, Findings, Sentence, decide

MARGIN = 0.01


class Interval(NamedTuple):
    low: float
    high: float


ZERO_PX, SMALL, ABOVE, BELOW = Interval(-0.1, 0.1), Interval(0.05, 0.2), Interval(0.3, 0.6), Interval(-0.6, -0.3)
NO_COST, COST = Interval(-0.004, 0.004), Interval(0.002, 0.012)


@pytest.mark.parametrize(
    ("new", "step", "interaction", "outcome", "reaches"),
    [
        (ZERO_PX, ZERO_PX, NO_COST, Sentence.OBEYS, "no"),
        (BELOW, ZERO_PX, NO_COST, Sentence.OBEYS, "no"),
        (ABOVE, ZERO_PX, NO_COST, Sentence.ADDS, "no"),
        (ZERO_PX, ABOVE, NO_COST, Sentence.ACCUMULATES, "no"),
        (ABOVE, SMALL, NO_COST, Sentence.ACCUMULATES, "no"),
        (ABOVE, ABOVE, COST, Sentence.HINDERS, "yes"),
        (ZERO_PX, ABOVE, COST, Sentence.HINDERS, "yes"),
        (ABOVE, BELOW, COST, Sentence.EASIER, "yes"),
        (ZERO_PX, BELOW, None, Sentence.EASIER, "not measured"),
    ],
)
def test_each_row_of_the_table_has_its_sentence(new, step, interaction, outcome, reaches):
    verdict = decide(Findings(new, step, interaction), MARGIN)
    assert (verdict.outcome, verdict.reaches) == (outcome, reaches)
    assert verdict.cannot_tell == ()


WIDE = Interval(-1.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"one_run": True}, Doubt.ONE_RUN),
        ({"new": None}, Doubt.NO_NEW_MASKS),
        ({"step": None}, Doubt.NO_STEP),
        ({"judges_differ": True}, Doubt.JUDGE),
        ({"missed": 0.4}, Doubt.BLIND),
        ({"step": WIDE}, Doubt.WIDE_STEP),
        ({"new": ABOVE, "step": Interval(-0.5, 0.1)}, Doubt.WIDE_STEP),
        ({"new": WIDE}, Doubt.WIDE_NEW),
        ({"interaction": COST}, Doubt.UNSEEN_INTERACTION),
        ({"interaction": Interval(-0.02, -0.01)}, Doubt.UNSEEN_INTERACTION),
    ],
)
def test_what_cannot_be_told_has_a_name(changes, reason):
    verdict = decide(replace(Findings(ZERO_PX, ZERO_PX, NO_COST), **changes), MARGIN)
    assert verdict.outcome is Sentence.CANNOT_TELL
    assert verdict.cannot_tell == (reason,)


@pytest.mark.parametrize(
    ("interaction", "reaches", "reason"),
    [(None, "not measured", Doubt.NO_WARPED), (Interval(-0.02, 0.02), "open", Doubt.WIDE_INTERACTION)],
)
def test_misfit_without_a_judged_interaction_is_told_as_open_downstream(interaction, reaches, reason):
    verdict = decide(Findings(ABOVE, ABOVE, interaction), MARGIN)
    assert (verdict.outcome, verdict.reaches, verdict.cannot_tell) == (Sentence.ACCUMULATES, reaches, (reason,))


numbers = st.floats(-2, 2)
intervals = st.tuples(numbers, numbers).map(lambda ends: Interval(*sorted(ends)))
costs = st.none() | intervals.map(lambda one: Interval(one.low / 50, one.high / 50))
records = st.builds(
    Findings,
    st.none() | intervals,
    st.none() | intervals,
    costs,
    one_run=st.booleans(),
    judges_differ=st.booleans(),
    missed=st.just(math.nan) | st.floats(-0.2, 0.2),
)


@given(records)
def test_any_record_has_one_outcome_that_its_numbers_allow(found):
    verdict = decide(found, MARGIN)
    if verdict.outcome is Sentence.CANNOT_TELL:
        assert verdict.cannot_tell
        return
    assert not found.one_run
    assert not found.judges_differ
    assert not found.missed > MISSED
    new, step, interaction = found.new, found.step, found.interaction
    assert new is not None
    assert step is not None
    claims = {
        Sentence.OBEYS: new.low <= 0 and new.high <= MARGIN_PX and step.low <= 0 <= step.high <= MARGIN_PX,
        Sentence.ADDS: new.low > 0 and -MARGIN_PX <= step.low <= 0 <= step.high <= MARGIN_PX,
        Sentence.ACCUMULATES: step.low > 0 and verdict.reaches != "yes",
        Sentence.HINDERS: step.low > 0 and interaction is not None and interaction.low > 0,
        Sentence.EASIER: step.high < 0,
    }
    assert claims[verdict.outcome]
    if verdict.outcome in (Sentence.OBEYS, Sentence.ADDS):
        assert interaction is None or interaction.low <= 0 <= interaction.high
    if verdict.reaches == "no":
        assert interaction is not None
        assert interaction.low <= 0
        assert interaction.high < MARGIN


@given(records, numbers.map(abs), numbers.map(abs))
def test_a_wider_interval_never_turns_one_claim_into_another(found, below, above):
    """It may only keep the sentence, drop to one that claims less, or end in cannot tell."""
    if found.step is None:
        return
    wider = replace(found, step=Interval(found.step.low - below, found.step.high + above))
    before, after = decide(found, MARGIN).outcome, decide(wider, MARGIN).outcome
    assert after in (before, Sentence.CANNOT_TELL, *LESS.get(before, ()))


LESS = {
    # what is above 0 by less than the margin is, once wider, a step within the margin
    outcome: (Sentence.OBEYS, Sentence.ADDS)
    for outcome in (Sentence.ACCUMULATES, Sentence.HINDERS, Sentence.EASIER)
}


@given(records)
def test_without_the_interaction_upstream_is_told_all_the_same(found):
    with_it, without = decide(found, MARGIN), decide(replace(found, interaction=None), MARGIN)
    if with_it.outcome is Sentence.HINDERS:
        assert without.outcome is Sentence.ACCUMULATES
    elif Doubt.UNSEEN_INTERACTION not in with_it.cannot_tell:
        assert without.outcome is with_it.outcome
