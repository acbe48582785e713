"""What a reviewer asks first: where the control stands, what failed, the worst cases, and what an answer would take."""

import dataclasses
import html
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.made_report import context
from helpers.simulated_results import CONTROL, NO_POOLS, arm, simulate
from medsweep.analysis.report import needed
from medsweep.analysis.report.page import write_report
from medsweep.analysis.report.table import DASH
from medsweep.analysis.report.topic import PACKAGES, SamplePicture
from medsweep.analysis.report.wrong import failures
from medsweep.analysis.study.analyse import analyse, analyse_table
from medsweep.analysis.study.dead import DeadArm
from medsweep.analysis.table.reduction import AnalysisRules

pytestmark = pytest.mark.usefixtures("sketched")

ARMS = [arm(CONTROL, 0), arm("x", 8), arm("y", 16)]


def study(table=None, pools=NO_POOLS, **settings):
    table = simulate(ARMS, {"y": -0.05}, patients=8, seeds=3) if table is None else table
    return analyse(table, pools, AnalysisRules(**settings), arms=ARMS)


def text_of(path) -> str:
    page = re.sub(r"data:[a-z/+-]+;base64,[^\"]*", "", path.read_text(encoding="utf-8"))
    page = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)).replace("\N{NO-BREAK SPACE}", " "))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    found = study()
    folder = tmp_path_factory.mktemp("plain")
    return found, write_report(folder, found, context(folder, failures=()))


def test_the_page_begins_with_the_level_of_the_control(plain):
    found, path = plain
    control = found.primary.descriptions[0]
    expected = f"reaches a mean Dice of {control.mean:.3f} (SD {control.sd:.3f} over n = 8 patients; 3 runs)."
    text = text_of(path)
    assert expected in text
    assert text.index(expected) < text.index("x against real only: ")


def test_without_failures_one_sentence_says_so(plain):
    assert "none of 9 runs diverged, none of 144 structures was missed." in text_of(plain[1])
    assert not (plain[1].parent / "tables" / "failures.csv").exists()


def test_a_share_of_failures_has_an_interval_only_where_something_failed():
    table = simulate(ARMS, {}, patients=8, seeds=3)
    missed = (table["arm"] == "y") & (table["patient"] == "case-003")
    value = np.where(table["metric"] == "dice", 0.0, np.inf)
    table = table.assign(status=table["status"].mask(missed, "missed"), value=table["value"].mask(missed, value))
    control, same, worse = failures(study(table)).rows
    assert (control[-3:], same[-3:]) == ((DASH,) * 3, ("0.0", DASH, DASH))
    assert worse[-3] == "+12.5"
    assert DASH not in worse
    failed = (table["arm"] == CONTROL) & (table["patient"] == "case-003") & (table["metric"] == "dice")
    table.loc[failed, ["status", "value"]] = ["missed", 0.0]
    assert failures(study(table)).rows[1][-3] == "\N{MINUS SIGN}12.5"
    assert DASH not in failures(study(table)).rows[1]


def test_a_report_claims_no_order_of_rules_and_results(plain):
    text = text_of(plain[1])
    for claim in ("before the results", "before any result", "beforehand", "pre-registered", "set before"):
        assert claim not in text


def test_an_arm_without_a_network_is_named_with_its_reason(plain, tmp_path):
    reason = "no network: its pool ran dry, 3 of 400 passed"
    found = dataclasses.replace(plain[0], dead=(DeadArm("z, filtered", reason),))
    formats = ("html", "markdown", "latex")
    path = write_report(tmp_path, found, context(tmp_path), formats=formats)
    text = text_of(path)
    assert text.count(f"z, filtered: no verdict. {reason}") == 1
    assert f"z, filtered has no verdict: {reason}." in text
    for other in ("report.md", "report.tex"):
        assert reason in (tmp_path / other).read_text(encoding="utf-8")


def test_a_class_nearly_absent_from_a_pool_is_named(tmp_path):
    rows = [
        ("x", 0, seed, f"p{seed}", f"class_{label}/empty", empty)
        for seed, empties in enumerate([(0.1, 255 / 256), (0.1, 0.4)])
        for label, empty in enumerate(empties, start=1)
    ]
    found = study(pools=pd.DataFrame(rows, columns=NO_POOLS.columns))
    text = text_of(write_report(tmp_path, found, context(tmp_path, classes=("organ", "lesion"))))
    assert "x: lesion is nearly absent from 1 of 2 pools, in 0.39% of the masks of the worst (below 5%)." in text
    assert "organ is nearly absent" not in text


def test_missed_structures_and_diverged_runs_stand_beside_their_arm(tmp_path):
    table = simulate(ARMS, {}, patients=8, seeds=3)
    missed = (table["arm"] == "x") & (table["patient"] == "case-002") & (table["class"] == "1")
    table.loc[missed, "status"] = "missed"
    table.loc[missed, "value"] = np.where(table.loc[missed, "metric"] == "dice", 0.0, np.inf)
    lost = (table["arm"] == "y") & (table["seed"] == 1)
    table.loc[lost, ["status", "value"]] = ["diverged", np.nan]
    path = write_report(tmp_path, study(table), context(tmp_path))
    failures = pd.read_csv(path.parent / "tables" / "failures.csv", index_col="arm")
    assert failures.loc["x", "missed"] == "3 of 48"
    assert failures.loc["y", "diverged"] == "1 of 3"
    assert failures.loc["y", "missed"] == "0 of 32"


def test_the_worst_case_is_the_largest_loss_and_nobody_is_named(plain):
    found, path = plain
    table = simulate(ARMS, {"y": -0.05}, patients=8, seeds=3)
    dice = table[table["metric"] == "dice"].groupby(["arm", "patient", "seed"])["value"].mean()
    control = dice[CONTROL].groupby("patient").mean()
    losses = dice["y"].rsub(control, level="patient").sort_values(ascending=False)
    patient, seed = losses.index[0]
    worst = next(case for case in found.worst if case.arm == "y")
    assert (f"case-{worst.patient - 1:03d}", worst.seed) == (patient, seed)
    assert worst.loss == pytest.approx(losses.iloc[0])
    own = next(case for case in found.worst if case.arm == CONTROL)
    assert own.value == pytest.approx(dice[CONTROL].min())
    assert "case-00" not in path.read_text(encoding="utf-8")


def test_overlays_are_those_of_the_control_and_of_the_largest_losses(plain, tmp_path):
    found = plain[0]
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "seen.png")
    legend = (("organ", "#e69f00"), ("lesion", "#56b4e9"))
    shown = {
        case.digest: SamplePicture(f"Seen by {case.digest}", "Image, reference.", tmp_path / "seen.png", legend)
        for case in found.worst
    }
    path = write_report(tmp_path, found, context(tmp_path, overlays=shown), formats=("html", "markdown"))
    page = path.read_text(encoding="utf-8")
    told = re.findall(r"Seen by ([^.\"<]*)\. Image", page)
    assert len(told) == 3
    assert told[0].startswith(f"{CONTROL}/")
    assert told[1].startswith("y/")
    assert page.count('<i style="background: #56b4e9"></i>lesion') == 3
    assert "Colours: organ #e69f00, lesion #56b4e9." in (tmp_path / "report.md").read_text(encoding="utf-8").replace(
        "\\", ""
    )


def test_one_sentence_names_the_signs_that_no_font_here_has(tmp_path):
    arms = [arm(CONTROL, 0), arm("\N{PHAISTOS DISC SIGN PEDESTRIAN} walks", 8)]
    found = analyse(simulate(arms, {}, patients=4), NO_POOLS, AnalysisRules(), arms=arms)
    text = text_of(write_report(tmp_path, found, context(tmp_path)))
    assert text.count("has \N{PHAISTOS DISC SIGN PEDESTRIAN}. Install Noto") == 1


def test_volumes_of_the_cohort_come_from_the_table(tmp_path):
    table = simulate(ARMS, {}, patients=4, seeds=1)
    number = table["patient"].str[-1].astype(int)
    table["volume_ref_ml"] = np.where(table["class"] == "1", 10.0 * (1 + number), 1.0)
    path = write_report(tmp_path, study(table), context(tmp_path))
    cohort = pd.read_csv(path.parent / "tables" / "cohort.csv", index_col="class")
    assert cohort.loc[1].tolist() == [4, 0, 25, 10, 40]
    assert cohort.loc[2].tolist() == [4, 0, 1, 1, 1]


def test_what_it_takes_is_told_from_the_spread_that_was_seen(plain):
    found, path = plain
    size, spread = needed.size_of(found), needed.spread_of(found)
    assert (size.patients, size.folds, size.seeds, size.scores, size.comparisons) == (8, 1, 3, 3.0, 2)
    assert set(spread.measured) == {"differences", "run", "residual"}
    assert spread.run == pytest.approx(0.003, abs=0.002)
    table = pd.read_csv(path.parent / "tables" / "needed.csv")
    assert table["patients"].tolist() == [8, 8, 8, 16, 16, 16, 32, 32, 32]
    assert table["difference found"].is_monotonic_decreasing or table["difference found"].iloc[-1] == min(
        table["difference found"]
    )
    assert "To find a difference of 0.01 Dice with power 0.8: " in text_of(path)


def test_one_seed_and_an_unknown_metric_cannot_tell_what_it_takes(tmp_path):
    table = simulate(ARMS, {}, patients=6, seeds=1).query("metric == 'dice'").assign(metric="f1")
    found = analyse_table(table, control=CONTROL, primary="f1", higher_is_better=True)
    assert needed.spread_of(found) is None
    assert "It cannot be told" in text_of(write_report(tmp_path, found))


def test_a_table_without_a_sweep_has_the_same_report(tmp_path):
    table = simulate(ARMS, {"y": -0.05}, patients=8, seeds=3).drop(columns="digest")
    found = analyse_table(table, control=CONTROL)
    path = write_report(tmp_path, found)
    text = text_of(path)
    assert "Does any arm differ from real only in Dice?" in text
    assert found.headline in text
    for name in PACKAGES:
        assert re.search(rf"{name} \d", text)
    for nothing in ("medsweep show", "W&B runs", "Copy command", " None", "nan"):
        assert nothing not in text
