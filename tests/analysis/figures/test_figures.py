"""Pictures are drawn from records: files exist, repeat byte for byte, and show what the record holds."""

import dataclasses

import pandas as pd
import pytest
from PIL import Image

from helpers.simulated_results import NO_POOLS, eight_arms, simulate
from medsweep.analysis.figures.critical_difference import draw_critical_difference, groups_of
from medsweep.analysis.figures.dose import draw_dose
from medsweep.analysis.figures.forest import draw_forest
from medsweep.analysis.figures.runs import draw_runs
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.table.reduction import AnalysisRules


def draw_ranks(analysis, stem):
    primary = analysis.primary
    return draw_critical_difference(primary.omnibus, primary.nemenyi, analysis.sensitivity.bonferroni_dunn, stem)


DRAW = {"cd": draw_ranks, "dose": draw_dose, "forest": draw_forest, "runs": draw_runs}


def study(shifts, **settings):
    arms = eight_arms()
    return analyse(simulate(arms, shifts, patients=8, **settings), NO_POOLS, AnalysisRules(), arms=arms)


@pytest.fixture(scope="module")
def analysis():
    return study({"b-sg, 32 patients": -0.05, "mc-sg, 16 patients": 0.03})


@pytest.mark.parametrize("name", DRAW)
def test_pictures_repeat_byte_for_byte_and_are_not_blank(name, analysis, tmp_path):
    first, second = DRAW[name](analysis, tmp_path / "a"), DRAW[name](analysis, tmp_path / "b")
    assert first.svg.read_bytes() == second.svg.read_bytes()
    assert first.png.read_bytes() == second.png.read_bytes()
    low, high = Image.open(first.png).convert("L").getextrema()
    assert (low < 60, high) == (True, 255)
    assert b"<dc:date>" not in first.svg.read_bytes()


def test_the_record_drives_the_forest(analysis, tmp_path):
    drawn = draw_forest(analysis, tmp_path / "forest")
    data = pd.read_csv(drawn.csv)
    assert data["arm"].tolist() == [answer.arm for answer in analysis.answers]
    assert data["difference"].tolist() == pytest.approx([a.estimate.value for a in analysis.answers])
    assert data["low_95%"].tolist() == pytest.approx([a.estimate.low for a in analysis.answers])
    assert data["low_tost"].tolist() == pytest.approx([a.narrow[0] for a in analysis.answers])
    assert data["verdict"].tolist() == [str(answer.verdict) for answer in analysis.answers]
    other = dataclasses.replace(analysis, answers=analysis.answers[::-1])
    assert draw_forest(other, tmp_path / "other").svg.read_bytes() != drawn.svg.read_bytes()


def test_dose_data_hold_every_patient(analysis, tmp_path):
    data = pd.read_csv(draw_dose(analysis, tmp_path / "dose").csv)
    assert len(data) == 7 * 8
    assert set(data["series"]) == {"b-sg", "mc-sg", "mc-sg, IoU filter 0.7"}


def test_runs_data_hold_every_run(analysis, tmp_path):
    assert len(pd.read_csv(draw_runs(analysis, tmp_path / "runs").csv)) == 8 * 2


def test_one_bar_over_all_arms_when_the_omnibus_test_does_not_reject(tmp_path):
    found = study({}, residual_sd=0.05)
    groups = groups_of(found.primary.omnibus, found.primary.nemenyi)
    assert not groups.rejects
    assert groups.bars == ((0, 7),)
    data = pd.read_csv(draw_ranks(found, tmp_path / "cd").csv)
    assert set(data["bars"].astype(str)) == {"1"}


def test_bars_are_the_cliques(analysis):
    groups = groups_of(analysis.primary.omnibus, analysis.primary.nemenyi)
    names = [analysis.primary.omnibus.arms[i] for i in groups.order]
    assert groups.rejects
    shown = [tuple(names[first : last + 1]) for first, last in groups.bars]
    assert shown == list(analysis.primary.nemenyi.cliques)


def test_a_diverged_arm_does_not_dwarf_the_others(tmp_path):
    arms = eight_arms()
    table = simulate(arms, {}, patients=8)
    broken = table["arm"] == "b-sg, 32 patients"
    table = table.assign(status=table["status"].mask(broken, "diverged"), value=table["value"].mask(broken))
    found = analyse(table, NO_POOLS, AnalysisRules(), arms=arms)
    for name, draw in DRAW.items():
        assert draw(found, tmp_path / name).png.stat().st_size > 5000
    from medsweep.analysis.figures import dose, forest

    for low, high in (forest._limits(found), dose._limits(found)):
        assert -0.1 < low < -0.01 < 0.01 < high < 0.1
