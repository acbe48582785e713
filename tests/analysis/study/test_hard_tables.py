"""Tables in which a mean, ranks, few patients or failures could mislead: the verdict, and what the limits tell."""

import numpy as np
import pandas as pd
import pytest

from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.analyse import Analysis, analyse_table
from medsweep.errors import UserError

CONTROL = "real"


def pair(control: np.ndarray, arm: np.ndarray, **columns: object) -> pd.DataFrame:
    rows = [
        (name, f"p{i:02d}", value)
        for name, values in ((CONTROL, control), ("x", arm))
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["arm", "patient", "value"]).assign(**columns)


def simulated(patients: int, gain: float = 0.0, seeds: int = 5) -> pd.DataFrame:
    """A control and two arms: patients, patients x arms, runs and a rest."""
    rng = np.random.default_rng(5)
    level = 0.6 + rng.normal(0, 0.08, patients)
    own, run = rng.normal(0, 0.01, (3, patients)), rng.normal(0, 0.005, (3, seeds))
    rows = [
        (name, seed, f"p{i:02d}", level[i] + own[arm, i] + run[arm, seed] + (gain if arm else 0) + rng.normal(0, 0.02))
        for arm, name in enumerate((CONTROL, "x", "y"))
        for seed in range(seeds)
        for i in range(patients)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "patient", "value"])


def distances(missed: int, patients: int = 40, shift: float = 0.36) -> pd.DataFrame:
    """HD95 of a control and an arm that is farther by ``shift``; both miss the first patients."""
    rng = np.random.default_rng(3)
    control = rng.uniform(1, 4, patients)
    arm = control + shift + rng.normal(0, 0.1, patients)
    control[:missed] = arm[:missed] = np.inf
    return pair(control, arm)


def of_distances(table: pd.DataFrame) -> Analysis:
    return analyse_table(table, control=CONTROL, primary="hd95_mm", margin=0.3)


def told(found: Analysis, text: str) -> bool:
    return any(text in sentence for sentence in found.limits)


def test_most_patients_a_little_better_and_a_few_much_worse_is_told() -> None:
    rng = np.random.default_rng(1)
    control = rng.normal(0.7, 0.03, 33)
    arm = control + 0.01 + rng.normal(0, 0.001, 33)
    arm[:3] -= 0.5
    found = analyse_table(pair(control, arm), control=CONTROL, margin=0.005)
    assert found.answers[0].verdict is Verdict.INCONCLUSIVE
    assert told(
        found, "x is better in 30 of 33 patients (signed-rank p < .001), and worse in the mean, which the verdict"
    )
    mirrored = analyse_table(
        pair(1 - control, 1 - arm), control=CONTROL, margin=0.005, primary="error", higher_is_better=False
    )
    assert told(mirrored, "x is better in 30 of 33 patients (signed-rank p < .001), and worse in the mean")
    assert not told(
        analyse_table(pair(control, control + 0.02 + rng.normal(0, 0.01, 33)), control=CONTROL), "in the mean"
    )


@pytest.mark.parametrize(("moved", "chance"), [(5, "6.25%"), (6, None)])
def test_a_difference_that_few_patients_make_is_told(moved: int, chance: str | None) -> None:
    control = np.r_[np.zeros(20), np.full(10, 0.9), np.linspace(0.4, 0.6, 10)]
    arm = control.copy()
    arm[-moved:] += [0.10, 0.12, 0.08, 0.20, 0.15, 0.11][:moved]
    found = analyse_table(pair(control, arm), control=CONTROL, margin=0.005)
    assert found.answers[0].verdict is Verdict.SUPERIOR
    assert found.answers[0].wilcoxon.p == 2.0 ** (1 - moved)
    expected = f"x: only 5 of 40 patients score differently, and by chance all of them go one way in {chance} of tables"
    assert told(found, expected) == (chance is not None)


def test_patients_whom_both_arms_miss_are_left_out_and_told() -> None:
    whole, some = of_distances(distances(0)), of_distances(distances(14))
    assert whole.answers[0].verdict is some.answers[0].verdict is Verdict.INFERIOR
    assert told(some, "x: 14 of 40 patients have an infinite score from every network of the arm and of the control")
    assert not told(whole, "an infinite score")


@pytest.mark.parametrize("status", [None, "ok"])
def test_an_infinite_distance_and_an_overlap_of_nothing_count_as_missed(status: str | None) -> None:
    columns = {} if status is None else {"status": status}
    found = of_distances(distances(14).assign(**columns))
    assert [one.missed for one in found.failures] == [14, 14]
    overlaps = pair(np.r_[0.0, np.linspace(0.5, 0.9, 9)], np.r_[0.0, 0.0, np.linspace(0.5, 0.9, 8)], **columns)
    assert [one.missed for one in analyse_table(overlaps, control=CONTROL).failures] == [1, 2]
    own = analyse_table(overlaps, control=CONTROL, primary="error", higher_is_better=False)
    assert [one.missed for one in own.failures] == [0, 0]


def test_scores_that_are_all_missed_are_no_verdict() -> None:
    found = of_distances(distances(40))
    assert found.answers[0].verdict is Verdict.INCONCLUSIVE
    assert "fewer than two patients have a finite score" in found.headline
    assert told(found, "Every arm scores inf HD95 in every patient; look at the networks first.")
    assert not told(found, "any arm looks better")


@pytest.mark.parametrize("patients", [2, 4, 5])
def test_few_patients_of_a_held_out_set_are_told(patients: int) -> None:
    found = analyse_table(simulated(patients, gain=0.06), control=CONTROL)
    assert [answer.verdict for answer in found.answers] == [Verdict.SUPERIOR] * 2
    assert told(found, f"{patients} patients hardly tell how differently an arm acts on patients") == (patients < 5)
    assert not told(found, "can be shown to differ")


def test_patients_of_a_cross_validation_are_not_called_few() -> None:
    table = simulated(4)
    folds = table["patient"].map({"p00": 0, "p01": 1, "p02": 2, "p03": 3})
    assert not told(analyse_table(table.assign(fold=folds), control=CONTROL), "patients hardly tell")


def test_limits_of_bounded_scores_have_a_unit() -> None:
    table = distances(0)
    table.loc[(table["arm"] == "x") & (table["patient"] == "p00"), "value"] = np.inf
    assert told(of_distances(table), "count each score at most 3 mm from the control's")


def test_scores_a_little_above_one_are_not_taken_for_percent() -> None:
    table = simulated(8)
    table.loc[table["patient"] == "p03", "value"] += 0.6
    with pytest.raises(UserError, match=r"lie outside 0 to 1, first arm 'real'.*: 1\.\d+$"):
        analyse_table(table, control=CONTROL)


def test_the_metrics_of_a_table_are_named_where_the_primary_is_none_of_them() -> None:
    with pytest.raises(
        UserError, match=r"no metric 'dice'.*known: hd95_mm; name one as primary, with a margin in its unit"
    ):
        analyse_table(distances(0).assign(metric="hd95_mm"), control=CONTROL)


def test_folds_of_unequal_size_that_move_a_difference_are_told() -> None:
    table = simulated(9)
    folds = table["patient"].map(lambda name: int(name in {"p00", "p01"}) + 2 * (name > "p05"))
    assert not told(analyse_table(table.assign(fold=folds), control=CONTROL), "count alike")
    table.loc[(table["arm"] == "x") & (table["patient"] == "p00"), "value"] = 0.0
    found = analyse_table(table.assign(fold=folds), control=CONTROL, margin=0.02)
    over_folds, over_patients = found.answers[0].estimate.value, found.answers[0].effect.mean.value
    assert over_folds < over_patients - 0.01
    assert told(
        found, "Folds of 2 to 4 patients count alike, so differences over folds are not those over patients: x ("
    )
    equal = table.assign(fold=table["patient"].map(lambda name: int(name[1:]) % 3))
    assert not told(analyse_table(equal, control=CONTROL, margin=0.02), "count alike")


def test_one_thing_left_out_is_in_the_singular() -> None:
    table = distances(0).assign(status="ok")
    table.loc[table["patient"] == "p07", ["status", "value"]] = ["empty-reference", np.nan]
    expected = "Left out for all arms: 1 patient-class pair (class absent from the reference); 1 patient (no class left"
    assert told(of_distances(table), expected)
