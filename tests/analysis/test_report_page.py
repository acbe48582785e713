"""The report: self-contained, in order, and made of the records' own words."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from simulated_results import CONTROL, NO_POOLS, arm, eight_arms, simulate, simulate_pools

from analysis.report.context import Failure, Grid, PlanRow, ReportContext
from analysis.report.page import write_report
from analysis.study import analyse
from analysis.tables import AnalysisPlan


def context(folder, **changes) -> ReportContext:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(folder / "grid.png")
    values = {
        "sweep": "counts",
        "question": "Does <b>more</b> help & why?",
        "dataset": "phantom, 8 patients, 32 px",
        "command": "medsweep run sweeps/counts.yaml --store store",
        "created": "2025-01-01T00:00:00+00:00",
        "versions": {"medsweep": "0.1.0", "scipy": "1.17.1"},
        "plan": (PlanRow("gan", 6, 14, 5, 1, 3.2),),
        "grids": (Grid("mc-sg", "Left real, right synthetic.", folder / "grid.png"),),
        "failures": (Failure("segment 3fa2", "code error", "out of <memory>"),),
        "limits": ("One data set.",),
    }
    return ReportContext(**{**values, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    arms = eight_arms()
    table = simulate(arms, {"b-sg, 32 patients": -0.05, "mc-sg, 16 patients": 0.03}, patients=8)
    analysis = analyse(table, simulate_pools(arms), AnalysisPlan(), arms=arms, n_real=16)
    path = write_report(folder, analysis, context(folder))
    return analysis, path, path.read_text(encoding="utf-8")


def test_nothing_points_outwards_and_nothing_runs(made):
    page = made[2]
    targets = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']*)", page) + re.findall(r"url\(([^)]*)\)", page)
    assert len(targets) == 5
    assert all(target.startswith("data:image/") for target in targets)
    assert "<script" not in page
    assert "@import" not in page


def test_every_verdict_is_told_in_full(made):
    analysis, _, page = made
    text = page.replace("\N{NO-BREAK SPACE}", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'")
    for answer in analysis.answers:
        assert answer.lead in text
        assert answer.detail in text
    assert analysis.scope in text
    assert "One data set." in text
    for phrase in ("trend towards", "no effect", "p = .000", "p = 0.", "nan", "None"):
        assert phrase not in re.sub(r"data:image[^\"]*", "", text)


def test_the_parts_come_in_order(made):
    page = made[2]
    marks = ["<h1>counts", "Answer</h2>", 'id="figure-dose"', 'id="figure-forest"', 'id="figure-ranks"']
    marks += ['id="figure-runs"', "Tables</h2>", 'id="effects"', "Synthetic images</h2>", 'id="pools"', "Plan</h2>"]
    marks += ['id="failures"', "Exclusions</h2>", "Methods</h2>", "Reproducing this page</h2>", "medsweep run"]
    places = [page.index(mark) for mark in marks]
    assert places == sorted(places)


def test_what_the_user_wrote_is_text_not_markup(made):
    page = made[2]
    assert "Does &lt;b&gt;more&lt;/b&gt; help &amp; why?" in page
    assert "out of &lt;memory&gt;" in page


def test_numbers_lie_beside_the_page(made):
    analysis, path, _ = made
    stored = json.loads((path.parent / "analysis.json").read_text(encoding="utf-8"))
    assert stored == json.loads(analysis.to_json())
    names = {file.name for file in (path.parent / "tables").iterdir()}
    assert {"effects.csv", "runs.csv", "trends.csv", "exclusions.csv", "arms.csv", "explore-hd95_mm.csv"} <= names
    assert (path.parent / "figures" / "forest.csv").stat().st_size > 0


def test_filters_are_told_of_arms_that_dropped_something_and_exposure_of_all(tmp_path):
    arms = [arm(CONTROL, 0), arm("x", 8), arm("x, filtered", 8)]
    told = {
        CONTROL: {"retention": 1.0, "real_slices_seen": 80.0},
        "x": {"retention": 1.0, "real_slices_seen": 40.0},
        "x, filtered": {"retention": 0.25, "kept_vendi": 3.5, "random_vendi": 7.0, "real_slices_seen": 40.0},
    }
    rows = [(name, 0, 0, name, metric, value) for name, found in told.items() for metric, value in found.items()]
    pools = pd.DataFrame(rows, columns=NO_POOLS.columns)
    analysis = analyse(simulate(arms, {}, patients=4, seeds=1), pools, AnalysisPlan(), arms=arms)
    write_report(tmp_path, analysis, context(tmp_path, grids=()))
    filters = (tmp_path / "tables" / "filters.csv").read_text(encoding="utf-8").splitlines()
    assert filters == ["arm,retention,kept vendi,random vendi", '"x, filtered",0.25,3.5,7']
    exposure = (tmp_path / "tables" / "exposure.csv").read_text(encoding="utf-8").splitlines()
    assert exposure[0] == "arm,real slices seen"
    assert len(exposure) == 4
    assert not (tmp_path / "tables" / "pools.csv").exists()


def test_the_page_repeats_byte_for_byte(made, tmp_path):
    analysis, path, page = made
    again = write_report(tmp_path, analysis, context(path.parent))
    assert again.read_text(encoding="utf-8") == page


def test_the_smallest_sweep_has_a_report(tmp_path):
    arms = [arm(CONTROL, 0), arm("x", 8)]
    analysis = analyse(simulate(arms, {}, patients=2, seeds=1), NO_POOLS, AnalysisPlan(), arms=arms)
    bare = context(tmp_path, plan=(), grids=(), failures=(), limits=(), versions={})
    page = write_report(tmp_path, analysis, bare).read_text(encoding="utf-8")
    assert "No omnibus test: two arms" in page
    assert "figure-ranks" not in page
    assert "Synthetic images" not in page
