"""Instruments from the tables of pools and diagnoses: what each cause is seen by, and what was not measured."""

import numpy as np
import pandas as pd
import pytest

from helpers.lattice import diagnosis_of, law_pools
from medsweep.analysis.study.mechanisms.instruments import Instruments, diagnosed, instruments_of
from medsweep.analysis.table.user_table import NO_DIAGNOSIS, NO_POOLS
from medsweep.mechanism import CAUSES


def seen(causes, level=0.95, pools=None, **network):
    pools = law_pools(causes) if pools is None else pools
    return instruments_of(pools, diagnosis_of(**network), "gan", level)


@pytest.mark.parametrize("causes", [(), ("labels",), ("look",), ("variety",), CAUSES])
def test_each_cause_is_seen_where_it_is_and_nowhere_else(causes):
    found = seen(causes, opposed=("gan",) if "labels" in causes else ())
    assert {cause: found.sees(cause) for cause in CAUSES} == {
        cause: "yes" if cause in causes else "no" for cause in CAUSES
    }


def test_random_error_is_seen_by_the_loss_at_boundaries():
    assert seen(("labels",), boundary=0.25).sees("labels") == "no"
    assert seen(("labels",), boundary=0.6).sees("labels") == "yes"
    assert seen(("labels",), boundary=0.6).boundary_loss == pytest.approx(2.4, abs=0.3)


@pytest.mark.parametrize(
    ("offset", "larger", "opposed"),
    [
        ((0.8, 1.2), (0.1, 0.3), ()),
        ((-1.2, -0.8), (0.1, 0.3), ("offset of the edge",)),
        ((-0.1, 0.3), (-0.3, -0.1), ("masks confidently larger",)),
    ],
)
def test_second_opinions_on_the_bias_are_opposed_where_both_are_told_from_0(offset, larger, opposed):
    ends = {"law_edge_offset_px": offset, "law_confident_larger": larger}
    rows = [
        ("gan", 0, 0, "gan", f"{name}{end}", value)
        for name, (low, high) in ends.items()
        for end, value in (("", (low + high) / 2), ("_low", low), ("_high", high))
    ]
    pools = law_pools(("labels",))
    pools = pd.concat([pools, pd.DataFrame(rows, columns=pools.columns)], ignore_index=True)
    assert seen((), pools=pools).opposed == opposed
    unbiased = pd.concat([law_pools(()), pd.DataFrame(rows, columns=pools.columns)], ignore_index=True)
    assert seen((), pools=unbiased).opposed == ()


def test_cosines_have_t_intervals_over_runs():
    found = seen((), seeds=4)
    rows = diagnosis_of(seeds=4)
    asked = (rows["arm"] == "gan") & (rows["when"] == "late") & (rows["quantity"] == "cosine_with_held_out")
    values = rows[asked & (rows["group"] == "all") & (rows["source"] == "pool")]["value"]
    assert len(values) == 4
    # the quantile of t at .975 with 3 degrees of freedom
    assert found.late_pool_cosine.high == pytest.approx(values.mean() + 3.182446 * values.std(ddof=1) / 2)


def test_one_run_has_no_interval_and_so_no_cosine():
    assert seen((), seeds=1).late_pool_cosine is None


def test_what_is_missing_has_its_name():
    nothing = instruments_of(NO_POOLS, NO_DIAGNOSIS, "gan", 0.95)
    assert nothing == Instruments()
    assert [nothing.sees(cause) for cause in CAUSES] == ["not measured"] * 3
    assert nothing.missing("look") == ("law_domain_auc with its floor",)
    assert nothing.missing("variety") == ("law_vendi_share",)
    assert len(nothing.missing("labels")) == 2
    pools = law_pools(("labels",))
    assert seen((), pools=pools[~pools["metric"].str.endswith("_high")]).missing("labels") == (
        "law_bias_px or law_random_px with an interval",
    )
    assert seen((), pools=pools).missing("labels") == ()


def test_judges_differ_where_they_do_in_half_of_the_runs():
    pools = law_pools(("labels",))
    asked = (pools["metric"] == "law_judges_differ") & (pools["arm"] == "gan")
    for runs, differ in ((2, False), (3, True)):
        pools.loc[asked, "value"] = (np.arange(5) < runs).astype(float)
        assert seen((), pools=pools).judges_differ is differ


def test_diagnoses_are_means_over_runs_in_the_order_of_arms():
    table = diagnosis_of(("new", "gan"), seeds=3)
    found = diagnosed(table, ["gan", "new"], 0.95)
    assert [one.arm for one in found] == sorted(one.arm for one in found)
    assert {one.runs for one in found} == {3}
    late = next(one for one in found if (one.arm, one.when, one.quantity) == ("gan", "late", "cross_entropy"))
    rows = table[(table["arm"] == "gan") & (table["quantity"] == "cross_entropy") & (table["group"] == late.group)]
    rows = rows[rows["when"].isin(["50", "75", "100"]) & (rows["source"] == late.source)]
    assert late.estimate.value == pytest.approx(rows["value"].mean())
    assert not {one.group for one in found if one.when.isdigit() and one.quantity == "influence"} - {"all"}
    assert diagnosed(NO_DIAGNOSIS, ["gan"], 0.95) == ()
