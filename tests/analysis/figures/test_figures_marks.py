"""What a picture may not hide: means beyond its axis, notes over its points, scripts its font lacks, and raw scores."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.simulated_results import CONTROL, NO_POOLS, arm, eight_arms, simulate
from medsweep.analysis.figures import classes, dose, forest, paired, runs, scores, style
from medsweep.analysis.records import t_estimate
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.metrics import SCORES


def broken_arm():
    """One of eight arms diverged in every run, so that its mean lies far beyond the others' axis."""
    arms = eight_arms()
    table = simulate(arms, {}, patients=8)
    broken = table["arm"] == "b-sg, 32 patients"
    table = table.assign(status=table["status"].mask(broken, "diverged"), value=table["value"].mask(broken))
    return analyse(table, NO_POOLS, AnalysisRules(), arms=arms)


@pytest.fixture(scope="module")
def analysis():
    return broken_arm()


@pytest.fixture
def drawings(monkeypatch):
    """The figures beside their files, laid out, to measure what is on them."""
    found: list[Figure] = []

    def keep(drawing, stem, data):
        drawing.draw_without_rendering()
        found.append(drawing)
        return style.Drawn(stem, stem, stem, 7.2)

    monkeypatch.setattr(style, "save", keep)
    monkeypatch.setattr(runs, "save", keep)
    return found


def marks_at_edge(axes, vertical: bool) -> int:
    low, high = axes.get_ylim() if vertical else axes.get_xlim()
    heads = ("v", "^") if vertical else ("<", ">")
    at = [
        (line.get_ydata() if vertical else line.get_xdata())
        for line in axes.lines
        # ends of intervals are smaller, and patients grey
        if line.get_marker() in heads and line.get_markersize() >= 5 and line.get_color() != style.QUIET
    ]
    return sum(float(np.ravel(values)[0]) in (low, high) for values in at)


@pytest.mark.parametrize(
    ("draw", "vertical"), [(forest.draw_forest, False), (classes.draw_classes, False), (dose.draw_dose, True)]
)
def test_a_mean_beyond_the_axis_has_a_mark_at_its_edge(draw, vertical, analysis, drawings, tmp_path):
    draw(analysis, tmp_path / "x")
    (drawing,) = drawings
    expected = 2 if draw is classes.draw_classes else 1
    assert sum(marks_at_edge(axes, vertical) for axes in drawing.axes) == expected


def test_a_mean_of_differences_beyond_the_axis_has_a_mark(analysis, drawings, tmp_path, monkeypatch):
    monkeypatch.setattr(paired, "_limits", lambda *_: (-0.1, 0.1))
    (far,) = [one for one in analysis.paired if one.arm == "b-sg, 32 patients"]
    near = [one for one in analysis.paired if one.arm != "b-sg, 32 patients"]
    paired.draw_paired([*near, far], SCORES["dice"], 0.01, tmp_path / "x")
    axes = drawings[0].axes[len(near)]
    assert axes.get_ylim()[0] > far.mean.value
    heads = [line for line in axes.lines if line.get_marker() == "v" and line.get_color() == style.INK]
    assert [float(head.get_ydata()[0]) for head in heads] == [axes.get_ylim()[0]]
    assert "beyond the axis: " in axes.get_xlabel()


def test_no_note_lies_over_points(analysis, drawings, tmp_path):
    forest.draw_forest(analysis, tmp_path / "forest")
    runs.draw_runs(analysis, tmp_path / "runs")
    dose.draw_dose(analysis, tmp_path / "dose")
    scores.draw_scores(analysis, tmp_path / "scores")
    classes.draw_classes(analysis, tmp_path / "classes")
    paired.draw_paired(analysis.paired, SCORES["dice"], 0.01, tmp_path / "paired")
    for drawing in drawings:
        renderer = drawing.canvas.get_renderer()
        for axes in drawing.axes:
            panel = axes.get_window_extent(renderer)
            inside = [text.get_text() for text in axes.texts if panel.overlaps(text.get_window_extent(renderer))]
            assert inside == []


def test_diverged_runs_are_counted_under_the_name_of_their_arm(analysis, drawings, tmp_path):
    runs.draw_runs(analysis, tmp_path / "runs")
    labels = [label.get_text() for label in drawings[0].axes[0].get_yticklabels()]
    assert [label for label in labels if "diverged" in label] == [
        "b-sg, 32 patients\n\N{MULTIPLICATION X} 2 of 2 runs diverged"
    ]


def test_raw_scores_hold_every_patient_of_every_arm(analysis, tmp_path):
    data = pd.read_csv(scores.draw_scores(analysis, tmp_path / "scores").csv)
    assert data.groupby("arm").size().tolist() == [8] * 8
    control = data[data["arm"] == CONTROL]["value"].mean()
    assert control == pytest.approx(analysis.primary.descriptions[0].mean)


def test_many_patients_are_thinned_evenly(drawings, tmp_path):
    arms = [arm(CONTROL, 0), arm("x", 8)]
    table = simulate(arms, {}, patients=3 * scores.DOTS, seeds=1, classes=("1",))
    found = analyse(table, NO_POOLS, AnalysisRules(), arms=arms)
    scores.draw_scores(found, tmp_path / "scores")
    dots = [line for line in drawings[0].axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [scores.DOTS] * 2
    values = found.scores[0].values
    assert (min(dots[0].get_xdata()), max(dots[0].get_xdata())) == (min(values), max(values))


def test_every_class_of_every_arm_is_in_the_data_of_its_picture(analysis, tmp_path):
    data = pd.read_csv(classes.draw_classes(analysis, tmp_path / "classes").csv)
    assert len(data) == 2 * 8
    assert data["difference"].isna().sum() == 2


def named(name: str):
    arms = [arm(CONTROL, 0), arm(name, 8)]
    return analyse(simulate(arms, {}, patients=4), NO_POOLS, AnalysisRules(), arms=arms)


def test_greek_and_cyrillic_are_outlines_on_every_machine(tmp_path):
    drawn = forest.draw_forest(named("Ω = 2, фильтр"), tmp_path / "forest")
    assert style.unshown(["Ω = 2, фильтр"]) == ""
    assert b"<text" not in drawn.svg.read_bytes()


def test_a_script_that_no_font_here_has_stays_text_for_the_readers_fonts(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "families", lambda: (style.FONT,))
    style._drawable.cache_clear()
    drawn = forest.draw_forest(named("合成, 8例"), tmp_path / "forest")
    missing = style.unshown(["合成, 8例", "real only"])
    style._drawable.cache_clear()
    assert missing == "合成例"
    svg = drawn.svg.read_text(encoding="utf-8")
    assert "合成" in svg
    assert "<text" in svg


def test_intervals_do_not_dwarf_the_means():
    wide = t_estimate(0.01, 0.5, 20.0, 0.95)
    low, high = style.with_intervals([wide, t_estimate(-0.03, 0.01, 20.0, 0.95)], 0.01, 0.1)
    assert -0.2 < low < -0.05
    assert 0.05 < high < 0.2
    assert style.with_intervals([t_estimate(0.01, 0.001, 1.0, 0.95)], 0.01, 0.0) == (-0.02, 0.02)


def test_only_installed_fonts_are_asked_for():
    assert style.families()[0] == style.FONT
    assert set(style.families()[1:]) <= set(style.OTHER_SCRIPTS)


def test_pictures_of_two_widths_say_so(analysis, tmp_path):
    one = forest.draw_forest(analysis, tmp_path / "forest")
    narrow = dose.draw_dose(dataclasses.replace(analysis, dose=analysis.dose[-1:]), tmp_path / "dose")
    assert 0 < narrow.width_in < one.width_in < 9
