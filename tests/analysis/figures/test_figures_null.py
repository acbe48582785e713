"""Pictures of dose, meta-analysis and quality of pools: drawn from their records, byte for byte the same."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.simulated_results import CONTROL, NO_POOLS, arm, simulate
from medsweep.analysis.figures.dose import draw_dose
from medsweep.analysis.figures.forest import draw_meta
from medsweep.analysis.figures.quality import draw_quality
from medsweep.analysis.questions.quality import quality_of
from medsweep.analysis.stats.meta_analysis import StudyEffect, synthesise_all
from medsweep.analysis.study.analyse import analyse
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.metrics import SCORES

COUNTS = (8, 16, 32, 64)


@pytest.fixture(scope="module")
def analysis():
    arms = [arm(CONTROL, 0), *(arm(f"{count} patients", count, "b-sg") for count in COUNTS)]
    shifts = {"8 patients": 0.02, "16 patients": 0.03, "32 patients": -0.006, "64 patients": -0.05}
    table = simulate(arms, shifts, patients=16, seeds=5, run_sd=0.001)
    return analyse(table, NO_POOLS, AnalysisRules(), arms=arms, n_real=16.0)


def metas(k=4):
    rng = np.random.default_rng(0)
    return synthesise_all(
        [
            StudyEffect(f"set-{i}", label, float(shift + rng.normal(0, 0.004)), 0.003 + 0.001 * i, 20)
            for label, shift in (("b-sg, 20 patients", 0.005), ("b-sg, 500 patients", -0.02))
            for i in range(k)
        ],
        level=0.95,
    )


def quality(datasets):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        [
            {
                "dataset": dataset,
                "generator": str(g),
                "arms": "gan",
                "fold": 0,
                "seeds": "0",
                "utility": rng.normal(),
                **{name: rng.normal() for name in ("frechet", "iou_mean", "kid", "laplacian_ratio")},
            }
            for dataset in datasets
            for g in range(8)
        ]
    )
    return quality_of(table, higher_is_better=True, level=0.95, resamples=100)


def draw(name, analysis, stem):
    match name:
        case "dose":
            return draw_dose(analysis, stem)
        case "meta":
            return draw_meta(metas(), SCORES["dice"], 0.01, stem)
        case _:
            return draw_quality(quality(["a", "b"] if name == "ranks" else ["a"]), stem)


def ink(drawn):
    """Dark pixels of the picture."""
    return int((np.asarray(Image.open(drawn.png).convert("L")) < 100).sum())


@pytest.mark.parametrize("name", ["dose", "meta", "ranks", "values"])
def test_pictures_repeat_byte_for_byte_and_are_not_blank(name, analysis, tmp_path):
    first, second = draw(name, analysis, tmp_path / "a"), draw(name, analysis, tmp_path / "b")
    assert first.svg.read_bytes() == second.svg.read_bytes()
    assert first.png.read_bytes() == second.png.read_bytes()
    assert first.csv.read_bytes() == second.csv.read_bytes()
    assert ink(first) > 3000


def test_the_dose_panel_marks_shape_and_the_harm_of_the_verdicts(analysis, tmp_path):
    (series,) = analysis.dose
    drawn = draw_dose(analysis, tmp_path / "dose")
    data = pd.read_csv(drawn.csv)
    quoted = {answer.arm: answer.estimate for answer in analysis.answers}
    first = min((point.count for point in series.points if quoted[point.arm].high < 0), default=None)
    beyond = min((point.count for point in series.points if quoted[point.arm].high < -0.01), default=None)
    assert (first, beyond) == (32, 64)
    assert set(data["shape"]) == {str(series.shape)} == {"umbrella"}
    assert set(data["harm_from"]) == {first}
    assert set(data["harm_beyond_margin_from"]) == {beyond}
    for point in series.points:
        rows = data[data["arm"] == point.arm]
        assert rows["low"].iloc[0] == pytest.approx(quoted[point.arm].low)
    harmless = dataclasses.replace(series.harm, margin=dataclasses.replace(series.harm.margin, count=None))
    other = dataclasses.replace(analysis, dose=(dataclasses.replace(series, harm=harmless),))
    assert draw_dose(other, tmp_path / "other").svg.read_bytes() != drawn.svg.read_bytes()
    unjudged = dataclasses.replace(series, harm=None)
    plain = draw_dose(dataclasses.replace(analysis, dose=(unjudged,)), tmp_path / "plain")
    assert pd.read_csv(plain.csv)["harm_from"].isna().all()


def test_the_dose_panel_says_where_the_levels_differ(analysis):
    from medsweep.analysis.figures.dose import _shape_text

    (series,) = analysis.dose
    assert _shape_text(series) == "shape: umbrella"
    other = dataclasses.replace(series, shape=type(series.shape)("falling"))
    assert _shape_text(other) == "shape: falling\n(these models alone: umbrella)"


def test_the_meta_forest_holds_every_study_and_mean(tmp_path):
    found = metas()
    data = pd.read_csv(draw_meta(found, SCORES["dice"], 0.01, tmp_path / "meta").csv)
    assert len(data) == 2 * (4 + 1)
    means = data[data["row"].str.startswith("random-effects")]
    assert means["difference"].tolist() == pytest.approx([meta.estimate.value for meta in found])
    assert means["prediction_low"].tolist() == pytest.approx([meta.prediction_low for meta in found])
    assert data.groupby("label")["weight"].sum().tolist() == pytest.approx([2.0, 2.0])


@pytest.mark.parametrize("k", [1, 2])
def test_one_or_two_data_sets_are_drawn_without_what_they_lack(k, tmp_path):
    found = metas(k)
    drawn = draw_meta(found, SCORES["hd95_mm"], 0.01, tmp_path / "meta")
    assert pd.read_csv(drawn.csv)["prediction_low"].isna().all()
    blue = (np.asarray(Image.open(drawn.png).convert("RGB")) == (0x1F, 0x4E, 0x79)).all(axis=2).sum()
    assert blue > 50  # the mean's mark, the only blue where no prediction interval exists
    assert math.isnan(found[0].estimate.low) == (k == 1)


def test_the_quality_panels_hold_every_generator(tmp_path):
    study = quality(["a", "b"])
    data = pd.read_csv(draw_quality(study, tmp_path / "q").csv)
    assert len(data) == 4 * 16
    rhos = {one.metric: one.rho for one in study.metrics}
    assert dict(zip(data["metric"], data["rho"], strict=True)) == pytest.approx(rhos)
