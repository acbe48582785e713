"""Pictures of factors, of numeric factors and of paired differences show their record and repeat byte for byte."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.score_arrays import crossed, cut, reduced_of
from medsweep.analysis.factors.effects import factor_effects
from medsweep.analysis.figures.factors import draw_dependence, draw_factors
from medsweep.analysis.figures.paired import draw_paired
from medsweep.analysis.figures.runs import draw_runs
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.stats.effects import paired_differences
from medsweep.analysis.stats.method_tests import run_means
from medsweep.metrics import SCORES
from medsweep.sweep.fractions import best_fraction

DICE = SCORES["dice"]
ROWS = [*itertools.product(["b-sg", "mc-sg"], [20, 50, 100])]
ARMS = [ArmInfo("control", {"n": 0}, 0, None, True)]
ARMS += [ArmInfo(f"{a} {b}", {"gan.pipeline": a, "synthesise.count": b}, b) for a, b in ROWS]
NAMES = [arm.name for arm in ARMS]


@pytest.fixture(scope="module")
def reduced():
    shifts = [0.0, *(0.02 * (a == "mc-sg") - 0.02 * (b == 100) for a, b in ROWS)]
    return reduced_of(crossed(np.random.default_rng(0), len(ARMS), shifts=shifts), NAMES)


@pytest.fixture(scope="module")
def study(reduced):
    return factor_effects(reduced, ARMS, 0.95)


@pytest.mark.parametrize("name", ["factors", "dependence", "paired"])
def test_pictures_repeat_byte_for_byte_and_are_not_blank(name, study, reduced, tmp_path):
    draw = {
        "factors": lambda stem: draw_factors(study, DICE, 0.01, stem),
        "dependence": lambda stem: draw_dependence(study, DICE, 0.01, stem),
        "paired": lambda stem: draw_paired(paired_differences(reduced, "control", NAMES[1:3], 0.95), DICE, 0.01, stem),
    }[name]
    first, second = draw(tmp_path / "a"), draw(tmp_path / "b")
    assert first.svg.read_bytes() == second.svg.read_bytes()
    assert first.png.read_bytes() == second.png.read_bytes()
    picture = Image.open(first.png)
    assert (picture.convert("L").getextrema()[0] < 60, picture.convert("L").getextrema()[1]) == (True, 255)
    assert picture.width <= 7.4 * 200


def test_factor_data_hold_every_contrast(study, tmp_path):
    data = pd.read_csv(draw_factors(study, DICE, 0.01, tmp_path / "factors").csv)
    terms = {(one.name, term.label): term for one in study.effects for term in one.terms}
    assert set(zip(data["effect"], data["contrast"], strict=True)) == set(terms)
    for row in data.itertuples():
        assert row.estimate == pytest.approx(terms[row.effect, row.contrast].patients.value, abs=1e-12)
        assert row.low_runs_random == pytest.approx(terms[row.effect, row.contrast].runs.low, abs=1e-12)


def test_a_fraction_is_drawn_with_its_aliases_and_without_runs(tmp_path):
    columns = best_fraction(tuple("abcd"), 1).columns.tolist()
    arms = [ArmInfo(str(row), dict(zip("abcd", row, strict=True)), 5) for row in columns]
    y = crossed(np.random.default_rng(1), len(arms), seeds=1)
    found = factor_effects(reduced_of(y, [arm.name for arm in arms]), arms, 0.95)
    data = pd.read_csv(draw_factors(found, DICE, 0.01, tmp_path / "factors").csv)
    assert set(data["aliases"].dropna()) == {one.aliases[0] for one in found.effects if one.aliases}
    assert data["low_runs_random"].isna().all()


def test_dependence_data_hold_every_point(study, tmp_path):
    data = pd.read_csv(draw_dependence(study, DICE, 0.01, tmp_path / "dependence").csv)
    assert data["value"].tolist() == [20, 50, 100]
    assert data["centred"].sum() == pytest.approx(0, abs=1e-9)
    assert data["p_holm_step_from_before"].isna().tolist() == [True, False, False]


def test_patients_are_not_named_and_those_beyond_the_axis_are_drawn(reduced, tmp_path):
    y = crossed(np.random.default_rng(2), 2, 30, 2)
    y[1, 3] += 0.3
    y[1, 7] = math.inf
    odd = reduced_of(y)
    silent = draw_paired(paired_differences(odd, "arm 0", ["arm 1"], 0.95), DICE, 0.01, tmp_path / "a")
    data = pd.read_csv(silent.csv)
    assert "patient" not in data.columns
    assert data["outlier"].tolist()[-2:] == [True, True]
    assert (data["arm_is"] == "better").sum() == int((data["difference"] > 0).sum())


def test_twenty_arms_of_five_folds_have_a_line_per_fold(tmp_path):
    names = [f"arm {i}" for i in range(20)]
    found = reduced_of(cut(np.random.default_rng(3), 20, 20, 3, folds=5), names)
    arms = [ArmInfo(name, {}, control=name == "arm 0") for name in names]
    analysis = SimpleNamespace(arms=arms, control="arm 0", runs=run_means(found), primary=SimpleNamespace(metric=DICE))
    drawn = draw_runs(analysis, tmp_path / "runs")
    assert len(pd.read_csv(drawn.csv)) == 20 * 15
    assert Image.open(drawn.png).height / 200 == pytest.approx(0.9 + 20 * 0.34, abs=0.4)
