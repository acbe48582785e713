"""Delivered doses: shares of a law, what a measurement cannot part, and what is missing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.lattice import ARMS, law_pools
from medsweep.analysis.study.mechanisms.laws import BY_COLUMN, LAWS, Dose, Untold, delivery_of
from medsweep.analysis.table.user_table import NO_POOLS
from medsweep.mechanism import CAUSES, CELLS, Mechanism


def dose(delivery, cell, law):
    return next(one for one in delivery.doses if (one.cell, one.law) == (cell, law))


def test_a_lattice_that_has_the_laws_delivers_all_of_them():
    delivery = delivery_of(law_pools(("labels", "look", "variety")), ARMS)
    assert delivery.missing == ()
    assert all(one.delivered for one in delivery.doses)
    assert len(delivery.doses) == len(CELLS) * sum(law.always for law in LAWS)
    assert dose(delivery, "labels + look", "law_bias_px").share == pytest.approx(1, abs=0.05)
    assert dose(delivery, "look", "law_bias_px").share == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(
    ("place", "value", "share"),
    [
        ("labels__law_bias_px", 0.7, 0.63),
        ("labels__law_bias_px", -1.1, -1.0),
        ("look__law_vendi_share", 0.65, 0.5),
        ("look + variety__law_look", 1.2, 2.1),
    ],
)
def test_a_wrong_dose_is_found_with_its_share(place, value, share):
    delivery = delivery_of(law_pools(("labels", "look", "variety"), noise=0.0, **{place: value}), ARMS)
    (wrong,) = [one for one in delivery.doses if not one.delivered]
    assert (wrong.cell, wrong.law) == tuple(place.split("__"))
    assert wrong.share == pytest.approx(share, abs=0.02)


def test_a_law_that_the_explained_arm_lacks_is_delivered_by_nothing_and_broken_by_much():
    assert all(one.delivered for one in delivery_of(law_pools(("look",), noise=0.05), ARMS).doses)
    wrong = {"labels__law_bias_px": 0.5}
    (one,) = [one for one in delivery_of(law_pools(("look",), **wrong), ARMS).doses if not one.delivered]
    assert (one.cell, one.law) == ("labels", "law_bias_px")


def test_random_error_that_a_judge_cannot_part_from_its_own_is_let_pass():
    assert Dose("look", "law_random_px", "labels", 0.0, 1.0, 0.43, 5).delivered
    assert not Dose("look", "law_random_px", "labels", 0.0, 1.0, 0.5, 5).delivered
    # the same step on top of a large error is seen
    assert not Dose("labels", "law_random_px", "labels", 0.0, 1.0, 1.43, 5).delivered


def test_laws_count_where_cell_ceiling_and_explained_arm_all_have_them():
    pools = law_pools(("look",), noise=0.0)
    odd = (pools["arm"] == "cell look") & (pools["metric"] == "law_look") & (pools["seed"] == 4)
    pools.loc[odd, "value"] = np.nan
    found = dose(delivery_of(pools, ARMS), "look", "law_look")
    assert (found.runs, found.share) == (4, pytest.approx(1))


def test_missing_laws_are_named_with_their_arms():
    pools = law_pools(("labels",))
    lost = pools["metric"].isin(["law_look"]) & pools["arm"].isin(["cell look", "new"])
    assert delivery_of(pools[~lost], ARMS).missing == ("law_look of new, cell look",)


def test_there_is_nothing_to_deliver_without_a_lattice_or_laws():
    assert delivery_of(law_pools(("labels",)), Mechanism(explain="gan", exposure="again")) is None
    assert delivery_of(NO_POOLS, ARMS) is None


def with_law(pools, law, sizes):
    """The pools with a law of the same size in all runs, by arm."""
    others = pools[(pools["metric"] != law) | ~pools["arm"].isin(sizes)]
    runs = pools[["fold", "seed"]].drop_duplicates()
    new = [
        {"arm": arm, "metric": law, "value": size, **dict(run)}
        for arm, size in sizes.items()
        for _, run in runs.iterrows()
    ]
    return pd.concat([others, pd.DataFrame(new)], ignore_index=True)


SEEN_WORSE = {"new": 0.01, "gan": 0.11, "cell labels": 0.02, "cell variety": 0.01, "cell labels + variety": 0.02} | {
    f"cell {cell}": 0.1 for cell, on in CELLS.items() if "look" in on
}
"""Flipped classes that a judge tells where the look is another, and masks are right everywhere."""


def test_what_the_judge_gets_wrong_because_of_the_look_is_no_law_of_labels():
    pools = with_law(law_pools(("look",), noise=0.0), "law_flips", SEEN_WORSE)
    made = ARMS.model_copy(update={"causes": CAUSES})
    delivery = delivery_of(pools, made)
    assert all(one.delivered for one in delivery.doses)
    flips = dose(delivery, "labels", "law_flips")
    assert (flips.ceiling, flips.explained, flips.value) == pytest.approx((0.01, 0.02, 0.02))
    assert flips.nothing
    # cells that a user named may have any masks
    wrong = {one.cell for one in delivery_of(pools, ARMS).doses if not one.delivered}
    assert wrong == {cell for cell, on in CELLS.items() if ("look" in on) != ("labels" in on)}


def bounded(pools, law, low, high):
    """The pools with a law of the explained arm whose interval is the same in all runs."""
    sizes = {law: (low + high) / 2, f"{law}_low": low, f"{law}_high": high}
    for name, size in sizes.items():
        pools = with_law(pools, name, {"gan": size})
    return with_law(pools, law, {arm: 0.0 for arm in ("new", *ARMS.lattice.values())})


@pytest.mark.parametrize(
    ("law", "low", "high", "nothing"),
    [
        ("law_flips", 0.02, 0.3, False),
        ("law_flips", -0.02, 0.3, True),
        ("law_lost", -0.3, -0.02, True),
        ("law_bias_px", -0.8, -0.1, False),
        ("law_random_px", 0.0, 1.2, True),
    ],
)
def test_errors_of_labels_whose_interval_holds_none_are_nothing_to_deliver(law, low, high, nothing):
    delivery = delivery_of(bounded(law_pools(("look",), noise=0.0), law, low, high), ARMS)
    found = dose(delivery, "labels", law)
    assert (found.nothing, found.delivered) == (nothing, nothing)


def test_what_is_not_told_apart_from_the_look_is_named_where_there_is_a_look_and_it_could_matter():
    pools = with_law(law_pools(("look",), noise=0.0), "law_look_shown", {"gan": 1.0})
    wide = bounded(pools, "law_flips", -0.1, 0.2)
    (found,) = delivery_of(wide, ARMS).untold
    assert found == Untold("law_flips", pytest.approx(0.05), -0.1, 0.2)
    for other in (
        bounded(pools, "law_flips", -0.1, 0.04),
        bounded(pools, "law_flips", 0.01, 0.2),
        with_law(wide, "law_look_shown", {"gan": 0.0}),
    ):
        assert delivery_of(other, ARMS).untold == ()


def test_random_errors_are_freed_of_the_judge_s_in_squares():
    law = BY_COLUMN["law_random_px"]
    assert law.without(1.25, 1.0, 0.0) == pytest.approx(0.75)
    assert law.without(0.4, 0.5, 0.0) == 0


def test_a_pool_that_is_more_varied_than_new_slices_has_lost_nothing():
    pools = with_law(law_pools(("look",), noise=0.0), "law_vendi_share", {"gan": 1.4, "cell look": 1.2})
    found = [one for one in delivery_of(pools, ARMS).doses if one.law == "law_vendi_share"]
    assert all(one.nothing and one.delivered for one in found)


def test_a_look_that_may_be_chance_is_nothing_to_deliver():
    pools = law_pools((), noise=0.0, **{"look__law_look": 0.05})
    pools = with_law(pools, "law_look", {"gan": 0.2})
    assert not dose(delivery_of(pools, ARMS), "look", "law_look").delivered
    for share, nothing in ((0.0, True), (0.4, True), (0.6, False)):
        found = dose(delivery_of(with_law(pools, "law_look_shown", {"gan": share}), ARMS), "look", "law_look")
        assert (found.nothing, found.delivered) == (nothing, nothing)
    # it says nothing of the other causes
    shown = with_law(bounded(pools, "law_bias_px", 0.8, 1.2), "law_look_shown", {"gan": 0.0})
    assert not dose(delivery_of(shown, ARMS), "labels", "law_bias_px").nothing


laws = st.sampled_from(LAWS)
sizes = st.floats(-3, 3)


@given(laws, sizes, sizes, st.sampled_from(list(CELLS)))
def test_the_target_itself_is_always_delivered(law, ceiling, explained, cell):
    target = explained if law.cause in CELLS[cell] else ceiling
    assert Dose(cell, law.column, law.cause, ceiling, explained, target, 1).delivered


@given(laws, st.floats(0.5, 3), st.floats(-1, 3), st.sampled_from(list(CELLS)))
def test_a_dose_far_from_its_range_is_never_delivered(law, explained, share, cell):
    found = Dose(cell, law.column, law.cause, 0.0, explained, share * explained, 1)
    target = explained if found.on else 0.0
    far = abs(found.value**law.power - target**law.power) > BY_COLUMN[law.column].resolution
    out = abs(share - 1) > 0.26 if found.on else abs(share) > 0.21
    if far and out:
        assert not found.delivered


FEW = {arm: 0.31 if "variety" in CELLS[cell] else 0.0 for cell, arm in ARMS.lattice.items()}
"""Bias of masks that a judge tells of real slices of two patients, in px."""


def test_what_tells_few_patients_from_others_is_no_law_of_labels_or_look():
    made, pools = ARMS.model_copy(update={"causes": CAUSES}), law_pools(("variety",), noise=0.0)
    # the explained pool has other two patients, and the arms for labels plant what it was measured to have
    planted = {
        arm: bias - 0.2 * ("labels" in CELLS[cell])
        for (cell, arm), bias in zip(ARMS.lattice.items(), FEW.values(), strict=True)
    }
    pools = with_law(pools, "law_bias_px", planted | {"new": 0.0, "gan": -0.25})
    delivery = delivery_of(pools, made)
    assert all(one.delivered for one in delivery.doses)
    bias = dose(delivery, "labels + variety", "law_bias_px")
    assert (bias.value, bias.explained, bias.floor) == pytest.approx((-0.2, -0.25, 0.31))
    assert bias.nothing
    # cells that a user named may have any masks
    assert not all(one.delivered for one in delivery_of(pools, ARMS).doses)


def test_what_few_patients_have_hides_no_law_that_is_larger():
    made, pools = ARMS.model_copy(update={"causes": CAUSES}), law_pools(("variety", "labels"), noise=0.0)
    sizes = {
        arm: bias + 1.1 * ("labels" in CELLS[cell])
        for (cell, arm), bias in zip(ARMS.lattice.items(), FEW.values(), strict=True)
    }
    delivery = delivery_of(with_law(pools, "law_bias_px", sizes), made)
    assert all(one.delivered and not one.nothing for one in delivery.doses if one.law == "law_bias_px")
    short = delivery_of(with_law(pools, "law_bias_px", sizes | {"cell labels": 0.8}), made)
    assert [(one.cell, one.share) for one in short.doses if not one.delivered] == [("labels", pytest.approx(0.8 / 1.1))]
