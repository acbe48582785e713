"""Any tidy table gets an answer without a sweep, and every bad one gets one clear line."""

import doctest

import numpy as np
import pandas as pd
import pytest

from helpers.simulated_results import CONTROL, NO_POOLS, eight_arms, simulate
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study import analyse as study
from medsweep.analysis.study.across import across_datasets
from medsweep.analysis.study.analyse import analyse, analyse_datasets, analyse_table
from medsweep.analysis.table.arms import infer_arms
from medsweep.analysis.table.plausible import NO_CHANCE
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.errors import UserError


def bare(shift=0.05, patients=8) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    level = rng.normal(0.8, 0.05, patients)
    rows = [
        (arm, f"case-{i}", level[i] + extra + rng.normal(0, 0.005))
        for arm, extra in (("real", 0.0), ("x", shift))
        for i in range(patients)
    ]
    return pd.DataFrame(rows, columns=["arm", "patient", "value"])


def with_factors() -> pd.DataFrame:
    arms = {arm.name: arm for arm in eight_arms()}
    table = simulate(list(arms.values()), {"b-sg, 32 patients": -0.05}, patients=8)
    pipelines = table["arm"].map({name: arm.levels.get("gan.pipeline") for name, arm in arms.items()})
    thresholds = table["arm"].map({name: arm.levels.get("segment.min_iou") for name, arm in arms.items()})
    counts = table["arm"].map({name: arm.count for name, arm in arms.items()})
    return table.assign(**{"synthesise.count": counts, "gan.pipeline": pipelines, "segment.min_iou": thresholds})


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(study, raise_on_error=False) == doctest.TestResults(failed=0, attempted=8)


def test_three_columns_are_enough():
    found = analyse_table(bare(), control="real", margin=0.01)
    assert [(one.arm, one.verdict) for one in found.answers] == [("x", Verdict.SUPERIOR)]
    assert (found.dataset, found.folds, found.seeds, found.classes) == ("data", (0,), 1, ("all",))
    assert found.trials[0].digest == ""


def test_factors_make_arms_and_series():
    arms = infer_arms(with_factors(), CONTROL)
    assert [arm.name for arm in arms][:4] == [CONTROL, "b-sg, 8 patients", "b-sg, 16 patients", "b-sg, 32 patients"]
    assert [arm.control for arm in arms] == [True] + [False] * 7
    series = {arm.series for arm in arms}
    assert series == {None, "pipeline=b-sg, min_iou=0.0", "pipeline=mc-sg, min_iou=0.0", "pipeline=mc-sg, min_iou=0.7"}
    assert arms[3].count == 32


def test_an_arm_without_synthetic_images_is_no_dose():
    table = with_factors()
    table = pd.concat([table, table[table["arm"] == CONTROL].assign(arm="longer", **{"segment.min_iou": 0.9})])
    (other,) = [arm for arm in infer_arms(table, CONTROL) if arm.name == "longer"]
    assert (other.count, other.series) == (0, None)


def test_the_table_alone_gives_the_numbers_of_the_sweep():
    table = with_factors()
    mine = {one.arm: one for one in analyse_table(table, control=CONTROL).answers}
    for one in analyse(table, NO_POOLS, AnalysisRules(), arms=eight_arms()).answers:
        assert mine[one.arm].effect == one.effect
        assert mine[one.arm].verdict == one.verdict


def test_row_order_changes_nothing():
    table = with_factors()
    first = analyse_table(table, control=CONTROL).to_json()
    assert analyse_table(table.sample(frac=1, random_state=3), control=CONTROL).to_json() == first


def test_arms_of_one_dose_that_no_column_tells_apart_form_no_series():
    table = bare().assign(**{"synthesise.count": lambda t: t["arm"].map({"real": 0, "x": 8})})
    table = pd.concat([table, table[table["arm"] == "x"].assign(arm="y")])
    assert [arm.series for arm in infer_arms(table, "real")] == [None, None, None]


def test_a_metric_of_ones_own():
    table = bare(shift=-0.05)
    found = analyse_table(table, control="real", primary="error", higher_is_better=False)
    assert found.answers[0].verdict == Verdict.SUPERIOR
    assert found.primary.metric.title == "error"


def test_a_missing_value_is_a_hole_until_a_rule_is_declared():
    table = bare()
    table.loc[3, "value"] = np.nan
    with pytest.raises(UserError, match="absent: 1 scores in 1 runs"):
        analyse_table(table, control="real")
    assert analyse_table(table, control="real", missing="complete-cases").primary.n == 7


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda t: t.drop(columns="patient"), {}, "the table has no column 'patient'"),
        (
            lambda t: t.rename(columns={"value": "Dice"}).astype({"Dice": str}),
            {},
            "no column 'value'; call the column of scores so, which is 'Dice'",
        ),
        (
            lambda t: t.rename(columns={"value": "dice"}).assign(HD95_mm=3.0),
            {},
            r"no column 'value'; it has one for each metric \(dice, HD95_mm\): write one row for each score",
        ),
        (lambda t: t.set_axis(["arm", "value", "value"], axis=1), {}, "two columns are called 'value'"),
        (
            lambda t: t.assign(value="high"),
            {},
            "'value' holds 16 entries that are no number, first 'high' of arm 'real' patient 'case-0'; leave a score",
        ),
        (lambda t: t.assign(value=t["value"].map("{:.3f}".format).str.replace(".", ",")), {}, "decimals with a point"),
        (lambda t: t.assign(value=t["value"].map("{:.1%}".format)), {}, "first '8.*%' of arm.*; write shares from 0"),
        (
            lambda t: t.assign(value=t["value"].astype(object).where(t.index != 9, "n.a.")),
            {},
            "holds 1 entries that are no number, first 'n.a.' of arm 'x' patient 'case-1'",
        ),
        (lambda t: pd.concat([t, t[t["arm"] == "x"].assign(arm="X")]), {}, "column 'arm' has 'x' and 'X'; write one"),
        (
            lambda t: t.assign(patient=t["patient"].where(t["arm"] == "real", t["patient"] + " ")),
            {},
            "column 'patient' has 'case-0' and 'case-0 '; write one patient in one way",
        ),
        (lambda t: t.assign(seed=1e20), {}, r"column 'seed' must hold whole numbers, got 1e\+20"),
        (lambda t: t.assign(seed=0.5), {}, "column 'seed' must hold whole numbers, got 0.5"),
        (lambda t: t.assign(fold="first"), {}, "column 'fold' must hold whole numbers, got 'first'"),
        (
            lambda t: t.assign(value=t["value"] + 0.4),
            {},
            r"scores of dice lie outside 0 to 1, first arm 'real'.*: 1\.\d",
        ),
        (lambda t: t.assign(value=t["value"] * 100), {}, "look like percent in all arms: divide by 100"),
        (
            lambda t: t.assign(value=t["value"].where(t["arm"] == "real", t["value"] * 100)),
            {},
            "look like percent in arm x, beside fractions in the others: divide by 100",
        ),
        (
            lambda t: pd.concat([t.assign(seed=0), t.assign(seed=1, value=t["value"].where(t["arm"] == "real", 81.5))]),
            {},
            "look like percent in arm x seed 1, beside fractions in the others: divide by 100",
        ),
        (
            lambda t: t.assign(fold=(t["patient"] == "case-3").astype(int)).assign(
                value=lambda t: t["value"].where(t["fold"] == 0, 81.5)
            ),
            {},
            "look like percent in fold 1, beside fractions in the others: divide by 100",
        ),
        (
            lambda t: t.assign(value=t["value"].where(t["arm"] == "real", np.nan), status="missed"),
            {},
            "0 of an overlap",
        ),
        (
            lambda t: t.assign(status=["missed"] * 2 + ["ok"] * 14),
            {},
            r"2 rows are 'missed' with an overlap, first arm 'real' patient 'case-0' dice 0\.8",
        ),
        (
            lambda t: pd.concat([t, t.iloc[:1].assign(patient="Mean"), t.iloc[8:9].assign(patient="Mean")]),
            {},
            "column 'patient' has 'Mean', as if such rows summed others up; leave them out",
        ),
        (lambda t: t.assign(value=-t["value"]), {"primary": "hd95_mm"}, "16 scores of hd95_mm lie outside 0 up, first"),
        (
            lambda t: pd.concat([t.assign(metric="dice"), t.assign(metric="assd_mm", value=-1.0)]),
            {},
            "16 scores of assd_mm lie outside 0 up",
        ),
        (lambda t: t, {"control": "reel"}, "no arm is called 'reel', the control; did you mean 'real'"),
        (lambda t: t, {"primary": "Dise"}, "no metric is called 'Dise'.*or say whether higher_is_better"),
        (lambda t: t, {"higher_is_better": False}, "dice: higher is better, not the other way"),
        (lambda t: t, {"margin": 1.0}, "margin: no difference of dice, from 0 to 1, is larger, got 1.0; is it percent"),
        (lambda t: t, {"margin": -1.0}, r"margin: should be greater than 0, got -1.0"),
        (lambda t: t, {"marge": 0.1}, "no setting 'marge'; did you mean 'margin'"),
        (lambda t: t, {"post_hoc": ("tukey",)}, "post_hoc.0: .*got 'tukey'"),
        (lambda t: t.assign(**{"a.b": range(len(t))}), {}, "arm 'real' has 8 levels of 'a.b': 0, 1; one is needed"),
        (lambda t: t.assign(**{"synthesise.count": 1.5}), {}, "synthesise.count must be a whole number.*got 1.5"),
        (lambda t: pd.concat([t, t]), {}, "16 rows twice, .*; each run needs a fold or a seed of its own"),
        (lambda t: t[t["arm"] == "real"], {}, r"one arm \('real'\) leaves nothing to compare it with"),
        (
            lambda t: t.assign(value=t["value"].where(t["arm"] == "x")),
            {},
            "every arm is held against 'real', and that has",
        ),
        (
            lambda t: t.assign(value=t["value"].where(t["arm"] != "x")),
            {},
            "'real' alone has scores; 'x' has no score of dice",
        ),
        (lambda t: t.assign(dataset=["a", "b"] * 8), {}, r"2 data sets \(a, b\).*analyse_datasets"),
        (lambda t: t.iloc[:0], {}, "no arm is called 'real'"),
    ],
)
def test_bad_input_gets_one_line(change, settings, message):
    with pytest.raises(UserError, match=message) as refusal:
        analyse_table(change(bare()), **{"control": "real", **settings})
    assert "\n" not in str(refusal.value)
    assert not any(word in str(refusal.value) for word in ("sweep", "store", "medsweep run", "`analysis:`"))


def test_an_arm_without_any_score_is_named_and_the_others_are_compared():
    table = pd.concat([bare(), bare().query("arm == 'x'").assign(arm="y", value=np.nan)])
    found = analyse_table(table, control="real")
    assert [one.arm for one in found.answers] == ["x"]
    assert [(one.arm, one.reason) for one in found.dead] == [("y", "no score of dice: all 8 are absent")]
    assert found.answers == analyse_table(bare(), control="real").answers


def test_numbers_as_names_and_the_leavings_of_a_csv_file_are_read(tmp_path):
    table = bare().assign(arm=lambda t: t["arm"].map({"real": 0.0, "x": 4.0}), fold=0.0, seed="0")
    table.to_csv(tmp_path / "once.csv")
    pd.read_csv(tmp_path / "once.csv").to_csv(tmp_path / "twice.csv")
    read = pd.read_csv(tmp_path / "twice.csv")
    assert {"Unnamed: 0", "Unnamed: 0.1"} <= set(read)
    for control in (0, 0.0, "0"):
        found = analyse_table(read, control=control)
        assert (found.control, [one.arm for one in found.answers]) == ("0", ["4"])
        assert found.answers[0].effect.mean == pytest.approx(
            analyse_table(bare(), control="real").answers[0].effect.mean
        )


@pytest.mark.parametrize(("shift", "words"), [(0.0, "scores the same as x"), (0.02, r"differs by +0.02 Dice from x")])
def test_an_arm_that_copies_another_is_named(shift, words):
    copied = bare().query("arm == 'x'").assign(arm="y", value=lambda t: t["value"] + shift)
    assert not any("in every patient" in sentence for sentence in analyse_table(bare(), control="real").limits)
    found = analyse_table(pd.concat([bare(), copied]), control="real")
    assert f"y {words} in every patient, {NO_CHANCE}." in found.limits


def runs(seeds=3) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.concat(
        [bare().assign(seed=seed, value=lambda t: t["value"] + rng.normal(0, 0.004, len(t))) for seed in range(seeds)],
        ignore_index=True,
    )


def test_a_run_that_copies_another_is_named():
    table = runs()
    copied = table["value"].where(table["seed"] != 2, table.groupby(["arm", "patient"])["value"].transform("first"))
    for changed, words in (
        (table.assign(value=copied), ["real seed 0 and real seed 2", "x seed 0 and x seed 2"]),
        (table.assign(value=table["value"].where((table["arm"] != "x") | (table["seed"] != 1), 0.7)), []),
        (
            table.assign(
                value=table["value"].where(
                    (table["arm"] != "x") | (table["seed"] != 1), table["value"].shift(-len(bare())).shift(8)
                )
            ),
            ["real seed 2 and x seed 1"],
        ),
        (table, []),
    ):
        limits = analyse_table(changed, control="real").limits
        assert [line for line in limits if "trained networks do" in line] == [
            f"{one} score the same in every patient, as no two trained networks do." for one in words
        ]


def test_a_code_for_a_missed_structure_is_doubted():
    table = runs().assign(value=lambda t: 3 + t["value"])
    coded = table.assign(value=table["value"].where(table["patient"] != "case-2", 374.0))
    said = [analyse_table(one, control="real", primary="hd95_mm", margin=0.3).limits for one in (table, coded)]
    assert not any("code for" in line for line in said[0])
    assert any(line.startswith("6 scores of HD95 are exactly 374, and no other lies above 3.9") for line in said[1])


def test_a_control_that_failed_throughout_is_named():
    table = runs().assign(value=lambda t: t["value"].where(t["arm"] == "x", 0.0))
    found = analyse_table(table, control="real")
    assert any(line.startswith("real scores 0 Dice in every patient") for line in found.limits)
    assert not any("in every patient" in line for line in analyse_table(runs(), control="real").limits)


def test_where_nothing_can_be_compared_nothing_is_said_of_networks():
    table = runs().assign(value=np.inf)
    found = analyse_table(table, control="real", primary="hd95_mm", margin=0.3)
    assert found.headline.startswith("No arm can be compared with real on HD95 (n = 8): fewer than two patients have")
    assert found.scope == "There are no verdicts, for want of scores to compare."
    assert found.conditional == ""
    assert found.answers[0].lead == "x against real: inconclusive."


def test_an_arm_that_lacks_a_fold_leaves_holes():
    table = runs().assign(fold=lambda t: t["patient"].isin(["case-1", "case-2", "case-3"]).astype(int))
    lacking = table[(table["arm"] == "real") | (table["fold"] == 0)]
    with pytest.raises(
        UserError, match=r"no row: 9 scores in 3 runs .*fold 1 seed 0.*first patient 'case-1' class 'all'"
    ):
        analyse_table(lacking, control="real")
    found = analyse_table(lacking, control="real", missing="complete-cases")
    alone = analyse_table(table[table["fold"] == 0], control="real")
    assert (found.folds, found.primary.n) == ((0,), 5)
    assert found.answers[0].test == alone.answers[0].test


def test_a_control_with_synthetic_images_is_no_dose_of_0():
    table = runs().assign(**{"synthesise.count": lambda t: t["arm"].map({"real": 4, "x": 8})})
    found = analyse_table(table, control="real")
    assert found.dose == ()
    assert any(line.startswith("There are no dose curves, since real is no dose of 0: it") for line in found.limits)
    from_none = analyse_table(table.assign(**{"synthesise.count": table["synthesise.count"] - 4}), control="real")
    assert len(from_none.dose) == 1
    assert not any("dose of 0" in line for line in from_none.limits)


def test_metrics_have_their_names_in_any_case():
    found = analyse_table(bare().assign(metric="Dice"), control="real")
    assert found.answers == analyse_table(bare(), control="real").answers


def test_a_metric_of_ones_own_in_percent_beside_fractions_is_doubted():
    table = bare().assign(value=lambda t: t["value"].where(t["arm"] == "real", t["value"] * 100))
    found = analyse_table(table, control="real", primary="agreement", higher_is_better=True)
    assert any("percent beside fractions?" in sentence for sentence in found.limits)


def test_a_metric_that_nobody_knows_is_named_with_the_nearest():
    table = pd.concat([bare().assign(metric="dice"), bare().assign(metric="surface_dise")])
    found = analyse_table(table, control="real")
    assert any("surface_dise (did you mean 'surface_dice'?)" in sentence for sentence in found.limits)


def datasets():
    return {name: bare(shift, patients) for name, shift, patients in (("a", 0.05, 8), ("b", 0.04, 9), ("c", 0.06, 7))}


def test_data_sets_are_analysed_one_by_one_and_combined():
    found = analyse_datasets(datasets(), control="real")
    assert [one.dataset for one in found] == ["a", "b", "c"]
    whole = pd.concat([table.assign(dataset=name) for name, table in datasets().items()])
    assert [one.to_json() for one in analyse_datasets(whole, control="real")] == [one.to_json() for one in found]
    across = across_datasets(found)
    (arm,) = across.arms
    assert arm.verdicts == (("a", Verdict.SUPERIOR), ("b", Verdict.SUPERIOR), ("c", Verdict.SUPERIOR))
    assert (arm.meta.k, arm.meta.n) == (3, 24)
    assert 0.04 < arm.meta.estimate.value < 0.06
    assert not across.over_runs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: across_datasets(analyse_datasets({"a": bare()}, control="real")),
            "1 data set leaves nothing to combine",
        ),
        (lambda: across_datasets(analyse_datasets({"a": bare()}, control="real") * 2), "data set 'a' occurs twice"),
        (
            lambda: across_datasets(
                (
                    analyse_table(bare().assign(dataset="a"), control="real"),
                    analyse_table(bare().assign(dataset="b"), control="x"),
                )
            ),
            "control is 'real' in 'a' and 'x' in 'b'",
        ),
        (lambda: analyse_datasets({}, control="real"), "no data set to analyse"),
        (lambda: analyse_datasets(bare(), control="real"), "no column 'dataset'"),
        (lambda: analyse_datasets({"a": bare()}, control="reel"), "data set a: no arm is called 'reel'"),
    ],
)
def test_what_does_not_combine_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
