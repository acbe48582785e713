"""Secondary metrics that are not complete: compared for the arms that have them, or left out by name."""

import numpy as np
import pandas as pd
import pytest

from medsweep.analysis.report.design import power
from medsweep.analysis.study.analyse import analyse_table

ARMS = ("real", "x", "y")


def scores(metric, level, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        [
            (arm, f"case-{i}", run, metric, level + 0.02 * place + rng.normal(0, 0.02))
            for place, arm in enumerate(ARMS)
            for run in range(3)
            for i in range(8)
        ],
        columns=["arm", "patient", "seed", "metric", "value"],
    )


@pytest.fixture(scope="module")
def both():
    return pd.concat([scores("dice", 0.7, 0), scores("surface_dice", 0.8, 1)], ignore_index=True)


def secondary(found):
    return [(study.metric.name, [one.arm for one in study.descriptions]) for study in found.secondary]


def test_a_metric_that_an_arm_lacks_is_compared_for_the_others_and_changes_no_verdict(both):
    lacks = (both["metric"] == "surface_dice") & (both["arm"] == "y")
    whole = analyse_table(both, control="real")
    for table in (both[~lacks], both.assign(value=both["value"].mask(lacks))):
        found = analyse_table(table, control="real")
        assert secondary(found) == [("surface_dice", ["real", "x"])]
        told = "Surface Dice at 2 mm is compared without y, of which there is no score of it."
        assert (told in found.limits, told in whole.limits) == (True, False)
        assert [one.sentence for one in found.answers] == [one.sentence for one in whole.answers]


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        (lambda rows: rows["arm"] == "real", "real has no score of it"),
        (lambda rows: rows["arm"] != "real", "every arm but the control has no score of it"),
        (lambda rows: (rows["arm"] == "x") & (rows["patient"] == "case-3") & (rows["seed"] == 1), "no row: 1 scores"),
        (lambda rows: (rows["arm"] == "x") & (rows["seed"] > 0) & (rows["patient"] > "case-3"), "no row: 8 scores"),
    ],
)
def test_a_metric_with_holes_is_left_out_by_name(both, lacking, reason):
    lacks = (both["metric"] == "surface_dice") & lacking(both)
    found = analyse_table(both[~lacks], control="real")
    assert (secondary(found), len(found.answers)) == ([], 2)
    (told,) = [text for text in found.limits if text.startswith("Surface Dice at 2 mm is left out: ")]
    assert reason in told


def test_runs_of_other_patients_leave_holes_that_are_told(both):
    """An arm with the metric in one of two folds has no score of the other fold's patients."""
    folds = both.assign(fold=(both["patient"] > "case-3").astype(int))
    lacks = (folds["metric"] == "surface_dice") & (folds["arm"] == "x") & (folds["fold"] == 1)
    found = analyse_table(folds[~lacks], control="real")
    assert secondary(found) == []
    told = next(limit for limit in found.limits if limit.startswith("Surface Dice at 2 mm is left out: "))
    assert "12 scores in 3 runs (arm 'x' fold 1 seed 0, arm 'x' fold 1 seed 1, arm 'x' fold 1 seed 2; " in told
    assert "12 of 72 scores" in told


def test_the_power_table_names_the_family_it_is_for(both):
    caption = power(analyse_table(both, control="real")).caption
    assert "Bonferroni" in caption
    assert "Holm" not in caption
