"""Scores of several cases become one score of their patient."""

import numpy as np
import pandas as pd

from medsweep.study.patients import of_patients
from medsweep.study.tables import KEYS, MEASURED


def table(*rows: tuple[str, str, str, float, str, int]) -> pd.DataFrame:
    """Rows of (patient, class, metric, value, status, n_ref)."""
    frame = pd.DataFrame(rows, columns=["patient", "class", "metric", "value", "status", "n_ref"])
    fixed = {"dataset": "d", "arm": "a", "fold": 0, "seed": 1, "digest": "x", "gan.steps": None}
    others = {name: 0 for name in MEASURED if name != "n_ref"}
    return frame.assign(**fixed, **others).astype(MEASURED)[
        [*KEYS, "value", "status", *MEASURED, "digest", "gan.steps"]
    ]


def test_a_patient_is_the_mean_of_its_cases_that_hold_the_structure():
    found = of_patients(
        table(
            ("p1/a", "x", "dice", 0.8, "ok", 10),
            ("p1/b", "x", "dice", 0.4, "ok", 30),
            ("p1/c", "x", "dice", np.nan, "empty-reference", 0),
            ("p2/a", "x", "dice", 0.5, "ok", 7),
        )
    )
    assert found["patient"].tolist() == ["p1", "p2"]
    np.testing.assert_allclose(found["value"], [0.6, 0.5])
    assert found["status"].tolist() == ["ok", "ok"]
    assert found["n_ref"].tolist() == [40, 7]


def test_one_missed_case_makes_the_distance_infinite_and_is_told():
    found = of_patients(table(("p/a", "x", "hd95_mm", 2.0, "ok", 5), ("p/b", "x", "hd95_mm", np.inf, "missed", 5)))
    assert found["value"].tolist() == [np.inf]
    assert found["status"].tolist() == ["missed"]


def test_a_structure_that_no_case_holds_stays_undefined():
    found = of_patients(
        table(("p/a", "x", "dice", np.nan, "empty-both", 0), ("p/b", "x", "dice", np.nan, "empty-reference", 0))
    )
    assert found["status"].tolist() == ["empty-reference"]
    assert found["value"].isna().all()


def test_a_case_with_ignored_voxels_has_no_part_in_the_distances():
    nan = float("nan")
    cases = table(("a/1", "x", "hd95_mm", 4.0, "ok", 9), ("a/2", "x", "hd95_mm", nan, "ignored", 9))
    assert of_patients(cases)[["value", "status", "n_ref"]].to_numpy().tolist() == [[4.0, "ok", 9]]
    both = table(("a/1", "x", "hd95_mm", nan, "ignored", 9), ("a/2", "x", "hd95_mm", nan, "empty-both", 0))
    assert of_patients(both)["status"].tolist() == ["ignored"]


def test_runs_without_scores_stay_so_and_columns_keep_their_place():
    cases = table(("p/a", "x", "dice", np.nan, "absent", 0), ("p/b", "x", "dice", np.nan, "absent", 0))
    found = of_patients(cases)
    assert (found["status"].tolist(), list(found.columns)) == (["absent"], list(cases.columns))


def test_one_case_per_patient_is_left_alone():
    cases = table(("p1", "x", "dice", 0.8, "ok", 10), ("p2", "x", "dice", 0.4, "ok", 30))
    assert of_patients(cases) is cases
