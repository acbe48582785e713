"""The results table: what is refused, by which name, and what each declared rule drops."""

import math

import numpy as np
import pandas as pd
import pytest

from helpers.simulated_results import CONTROL, arm, simulate
from medsweep.analysis.study.metric_study import causes_of
from medsweep.analysis.table.reduction import AnalysisRules, reduce
from medsweep.analysis.table.validation import validated
from medsweep.errors import UserError
from medsweep.metrics import SCORES

ARMS = [arm(CONTROL, 0), arm("x", 8), arm("y", 16)]
NAMES = [one.name for one in ARMS]


def results(**settings) -> pd.DataFrame:
    return simulate(ARMS, {}, **{"patients": 6, "seeds": 2, **settings})


def reduced(table, metric="dice", **plan):
    return reduce(validated(table, NAMES, "dice"), AnalysisRules(**plan), NAMES, metric)


def mark(table, status, value=math.nan, **where):
    chosen = pd.Series(True, index=table.index)
    for name, wanted in where.items():
        chosen &= table[name.rstrip("_")] == wanted
    assert chosen.any()
    return table.assign(status=table["status"].where(~chosen, status), value=table["value"].where(~chosen, value))


def test_reduce_averages_classes_then_seeds():
    table = results()
    found = reduced(table)
    mine = table[(table["metric"] == "dice") & (table["arm"] == "x") & (table["patient"] == "case-003")]
    assert found.wide.loc["case-003", "x"] == pytest.approx(mine["value"].mean())
    assert list(found.wide.columns) == NAMES
    assert (found.n, found.seeds, found.folds) == (6, 2, (0,))


def test_shuffled_rows_change_nothing():
    table = results()
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(reduced(table).wide, reduced(shuffled).wide, check_exact=True)


def test_a_refusal_names_the_same_runs_whatever_the_row_order():
    table = mark(mark(mark(results(), "absent", arm="x"), "absent", arm="y"), "absent", arm=CONTROL)
    messages = set()
    for order in range(3):
        with pytest.raises(UserError, match="and 3 more") as refusal:
            reduced(table.sample(frac=1, random_state=order))
        messages.add(str(refusal.value))
    assert len(messages) == 1


def test_copied_seeds_do_not_add_patients():
    table = results(seeds=1)
    copies = pd.concat([table, table.assign(seed=1)], ignore_index=True)
    pd.testing.assert_frame_equal(reduced(copies).wide, reduced(table).wide)


def test_duplicates_are_refused():
    table = results()
    with pytest.raises(UserError, match=r"1 rows twice.*case-000"):
        validated(pd.concat([table, table.iloc[:1]]), NAMES, "dice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="status"), "no column 'status'"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(dataset=np.where(t["seed"] == 0, "a", "b")), "2 data sets"),
        (lambda t: t.assign(arm=t["arm"].replace("x", "xx")), "arm 'xx' that was not asked for; did you mean"),
        (lambda t: mark(t, "okay", arm="x"), "status 'okay'.*did you mean 'ok'"),
        (lambda t: t[t["metric"] != "dice"], "no metric 'dice'"),
        (lambda t: mark(t, "ok", arm="x", patient="case-001"), "'ok' without a value.*'x' patient 'case-001'"),
        (lambda t: mark(t, "empty-both", arm="x", patient="case-001"), "case-001.*different labels"),
        (lambda t: t.assign(patient=t["patient"].where(t["arm"] != "x")), "rows without 'patient'"),
    ],
)
def test_contradictions_are_refused_by_name(change, message):
    with pytest.raises(UserError, match=message):
        validated(change(results()), NAMES, "dice")


def test_absent_scores_are_refused_until_a_rule_is_declared():
    table = mark(results(), "absent", arm="x", seed=1)
    with pytest.raises(
        UserError, match=r"absent: 12 scores in 1 runs \(arm 'x' fold 0 seed 1; first patient.*missing: complete-cases"
    ):
        reduced(table)


def test_rows_that_are_not_there_are_holes_too():
    table = results()
    gone = table[~((table["arm"] == "y") & (table["patient"] == "case-002"))]
    with pytest.raises(UserError, match=r"no row: 4 scores in 2 runs \(arm 'y' fold 0 seed 0"):
        reduced(gone)
    found = reduced(gone, missing="complete-cases")
    assert "case-002" not in found.wide.index
    step = found.flow[-1]
    assert (step.unit, step.before, step.after) == ("patients", 6, 5)


def test_complete_cases_drop_a_lost_run_for_all_arms_and_keep_the_patients():
    table = mark(results(seeds=3), "absent", arm="x", seed=1)
    found = reduced(table, missing="complete-cases")
    assert (found.n, found.seeds) == (6, 2)
    assert set(found.cells["seed"]) == {0, 2}
    kept = table[(table["seed"] != 1) & (table["metric"] == "dice")]
    control = kept[kept["arm"] == CONTROL].groupby("patient")["value"].mean()
    assert found.wide[CONTROL].to_numpy() == pytest.approx(control.to_numpy())


def test_complete_cases_never_drop_an_arm():
    with pytest.raises(UserError, match=r"leaves no patient.*arm 'x'"):
        reduced(mark(results(), "absent", arm="x"), missing="complete-cases")


def test_an_empty_reference_drops_the_class_for_all_arms_and_is_counted():
    table = mark(results(), "empty-both", patient="case-004", class_="2")
    table = mark(table, "empty-reference", arm="x", patient="case-004", class_="2")
    found = reduced(table)
    mine = table[(table["metric"] == "dice") & (table["arm"] == "y") & (table["patient"] == "case-004")]
    assert found.wide.loc["case-004", "y"] == pytest.approx(mine[mine["class"] == "1"]["value"].mean())
    assert (found.flow[0].before, found.flow[0].after) == (12, 11)
    assert found.n == 6


def test_a_patient_without_any_class_is_dropped_and_counted():
    found = reduced(mark(results(), "empty-both", patient="case-004"))
    assert found.n == 5
    assert (found.flow[1].before, found.flow[1].after) == (6, 5)


def test_a_class_the_reference_lacks_cannot_be_missing():
    table = mark(results(), "empty-both", patient="case-004", class_="2")
    table = mark(table, "absent", arm="x", patient="case-004", class_="2")
    found = reduced(table)
    assert found.n == 6
    assert found.flow[0].after == 11


def test_a_distance_that_ignored_voxels_make_unknown_drops_the_class_for_all_arms_and_is_counted():
    names = sorted(results()["patient"].unique())
    table = mark(results(), "ignored", patient=names[0], metric="hd95_mm")
    found = reduced(table, metric="hd95_mm")
    assert names[0] not in found.wide.index
    assert [(step.before, step.after) for step in found.flow[2:4]] == [(12, 10), (6, 5)]
    whole = reduced(table)
    assert names[0] in whole.wide.index
    assert len(whole.flow) == 2
    table = mark(table, "ignored", metric="hd95_mm")
    with pytest.raises(UserError, match="every patient has ignored voxels, so no distance is known; take an overlap"):
        reduced(table, metric="hd95_mm")


def test_diverged_runs_score_the_worst_and_are_flagged():
    table = mark(results(), "diverged", arm="x", seed=1)
    dice, distance = reduced(table), reduced(table, metric="hd95_mm")
    first = table[(table["arm"] == "x") & (table["seed"] == 0) & (table["metric"] == "dice")]
    assert dice.wide["x"].mean() == pytest.approx(first["value"].mean() / 2)
    assert np.isinf(distance.wide["x"]).all()
    assert dice.diverged == {CONTROL: 0, "x": 1, "y": 0}
    with pytest.raises(UserError, match=r"1 trainings diverged, first arm 'x' fold 0 seed 1.*diverged: worst"):
        reduced(table, diverged="refuse")


def test_a_missed_structure_counts():
    table = mark(results(), "missed", 0.0, arm="x", patient="case-001", metric="dice")
    table = mark(table, "missed", math.inf, arm="x", patient="case-001", metric="hd95_mm")
    assert reduced(table).wide.loc["case-001", "x"] == 0
    distance = reduced(table, metric="hd95_mm")
    assert math.isinf(distance.differences("x", CONTROL)[1])
    assert distance.missed["x"] == 4


def test_missed_by_both_is_a_tie():
    table = mark(results(), "missed", math.inf, patient="case-001", metric="hd95_mm")
    assert reduced(table, metric="hd95_mm").differences("x", CONTROL)[1] == 0


def test_plan_refuses_nonsense():
    for bad in ({"margin": 0.0}, {"alpha": 0.7}, {"missing": "drop"}, {"marge": 0.01}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            AnalysisRules(**bad)


def test_every_cause_has_its_count_and_rule():
    table = mark(results(), "missed", 0.0, arm="x", patient="case-001", metric="dice")
    table = mark(table, "missed", math.inf, arm="x", patient="case-001", metric="hd95_mm")
    table = mark(table, "empty-both", patient="case-004", class_="2")
    rows = validated(mark(table, "diverged", arm="y", seed=1), NAMES, "dice")
    found = {one.status: one for one in causes_of(rows, AnalysisRules(), SCORES["dice"])}
    assert {name: (one.scores, one.runs, one.patients) for name, one in found.items() if one.scores} == {
        "ok": (51, 5, 6),
        "empty-both": (5, 5, 1),
        "missed": (4, 2, 1),
        "diverged": (12, 1, 6),
    }
    assert found["missed"].rule == "counts; scored 0"
    assert found["absent"].rule == "the analysis stops"
    distance = {one.status: one.rule for one in causes_of(rows, AnalysisRules(diverged="refuse"), SCORES["hd95_mm"])}
    assert distance["missed"] == "counts; scored infinite, worst in ranks"
    assert distance["diverged"] == "the analysis stops"


def test_post_hoc_tests_are_named_in_the_plan():
    assert AnalysisRules.model_validate_json('{"post_hoc": ["shaffer"]}').post_hoc == ("shaffer",)
    with pytest.raises(ValueError, match="post_hoc"):
        AnalysisRules(post_hoc=("tukey",))
