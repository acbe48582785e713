"""The tables: what any rule for empty masks needs, the best weights' scores, and means per patient."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.column_dictionary import compare, named, sections
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.session import RunOptions, open_sweep
from medsweep.study.tables import BEST, KEYS, MEASURED, best_table, patient_table, pool_table, tidy_table, write_tables
from medsweep.sweep.plan import Plan

SWEEP = """\
sweep: tables
question: Are the best weights better?
data:
  dataset: phantom
  phantom: {patients: 6, seed: 3, shape: [20, 18, 8], spacing_mm: [2.0, 2.0, 4.0]}
  resolution: 16
replicates: {folds: 2, seeds: 1, validation: 0.34}
control: {segment.validate_every_steps: 0}
factors:
  segment.validate_every_steps: [4]
fixed:
  synthesise: {count: 0}
  segment: {steps: 12, batch_size: 4, channels: [4, 8], residual_units: 0, report_every_steps: 4}
analysis: {primary: dice, margin: 0.05}
"""
FACTOR = "segment.validate_every_steps"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store]:
    folder = tmp_path_factory.mktemp("tables")
    (folder / "tables.yaml").write_text(SWEEP)
    session = open_sweep(folder / "tables.yaml", folder / "store")
    session.run(RunOptions("local"))
    store = Store(folder / "store")
    return plan_sweep(folder / "tables.yaml", store).plan, store


def copy(store: Store, folder: Path) -> Store:
    return Store(Path(shutil.copytree(store.root, folder / "copy")))


def test_dice_can_be_made_again_from_the_table_alone(finished: tuple[Plan, Store], tmp_path: Path) -> None:
    write_tables({"results": tidy_table(*finished, "phantom")}, tmp_path)
    table = pd.read_parquet(tmp_path / "results.parquet")
    assert list(table.columns) == [*KEYS, "value", "status", *MEASURED, "digest", FACTOR]
    dice = table[(table["metric"] == "dice") & table["value"].notna()]
    assert len(dice) > 0
    np.testing.assert_allclose(2 * dice["tp"] / (2 * dice["tp"] + dice["fp"] + dice["fn"]), dice["value"])
    assert (table["tp"] + table["fn"] == table["n_ref"]).all()
    assert (table["tp"] + table["fp"] == table["n_pred"]).all()
    np.testing.assert_allclose(table["volume_ref_ml"], table["n_ref"] * 2 * 2 * 4 / 1000)
    np.testing.assert_allclose(table["diagonal_mm"], np.linalg.norm([40, 36, 32]))
    assert (table["status"].isin(["empty-both", "empty-reference"]) == (table["n_ref"] == 0)).all()


def test_the_dictionary_holds_every_column(finished: tuple[Plan, Store]) -> None:
    results, said = tidy_table(*finished, "phantom"), sections()
    tables = {"results": results, "patients": patient_table(results), "pools": pool_table(*finished)}
    for name, table in tables.items():
        documented = [column for row in said[name] for column in named(row[0])]
        assert (name, compare(table.columns, documented)) == (name, ([], []))
    assert list(best_table(*finished, "phantom").columns) == list(results.columns)


def test_a_factor_that_the_control_does_not_set_is_empty_for_it(finished: tuple[Plan, Store], tmp_path: Path) -> None:
    plan, store = finished
    control, other = plan.arms
    bare = replace(plan, arms=(replace(control, levels={}), other))
    write_tables({"results": tidy_table(bare, store, "phantom")}, tmp_path)
    table = pd.read_parquet(tmp_path / "results.parquet")
    assert table.loc[table["arm"] == control.name, FACTOR].isna().all()
    assert set(table.loc[table["arm"] == other.name, FACTOR]) == {4}
    assert set(tidy_table(*finished, "phantom")[FACTOR]) == {0, 4}


def test_an_absent_trial_has_no_measurements(finished: tuple[Plan, Store], tmp_path: Path) -> None:
    plan, store = finished[0], copy(finished[1], tmp_path)
    whole = tidy_table(plan, store, "phantom")
    lost = plan.leaves[plan.arms[1].name, plan.replicates[0]]
    shutil.rmtree(store.folder("score", lost))
    table = tidy_table(plan, store, "phantom")
    pd.testing.assert_frame_equal(table[KEYS], whole[KEYS])
    gone = table["digest"] == lost
    assert (table.loc[gone, "status"] == "absent").all()
    assert table.loc[gone, list(MEASURED)].isna().all(axis=None)
    pd.testing.assert_frame_equal(table[~gone], whole[~gone])
    assert {name: str(table[name].dtype) for name in MEASURED} == MEASURED


def test_the_best_table_holds_the_trials_that_looked_for_it(finished: tuple[Plan, Store], tmp_path: Path) -> None:
    plan, store = finished[0], copy(finished[1], tmp_path)
    last, best = tidy_table(plan, store, "phantom"), best_table(plan, store, "phantom")
    looked = last[last[FACTOR] == 4].reset_index(drop=True)
    assert 0 < len(looked) < len(last)
    pd.testing.assert_frame_equal(best[[*KEYS, "digest", FACTOR]], looked[[*KEYS, "digest", FACTOR]])
    digest = best["digest"].iloc[0]
    written = pd.read_parquet(store.output("score", digest) / BEST)
    assert best.loc[best["digest"] == digest, "value"].tolist() == pytest.approx(written["value"].tolist(), nan_ok=True)
    for leaf in set(plan.leaves.values()):
        shutil.rmtree(store.folder("score", leaf))
    none = best_table(plan, store, "phantom")
    assert none.empty
    assert list(none.columns) == list(best.columns)


def test_exposure_is_among_the_numbers_of_pools(finished: tuple[Plan, Store]) -> None:
    pools = pool_table(*finished)
    assert pools.loc[pools["metric"] == "retention", "value"].tolist() == [1.0] * 4


def test_means_per_patient_are_of_finite_values_and_never_without_their_n() -> None:
    inf, nan = float("inf"), float("nan")
    rows = [
        ("b", "p1", 0, "lesion", "dice", 0.0, "missed"),
        ("b", "p1", 0, "lesion", "hd95_mm", inf, "missed"),
        ("b", "p1", 1, "lesion", "dice", 0.6, "ok"),
        ("b", "p1", 1, "lesion", "hd95_mm", 5.0, "ok"),
        ("b", "p1", 2, "lesion", "dice", nan, "diverged"),
        ("b", "p1", 2, "lesion", "hd95_mm", nan, "diverged"),
        ("b", "p1", 0, "whole", "region_dice", 0.9, "ok"),
        ("a", "p2", 0, "lesion", "dice", nan, "absent"),
        ("a", "p1", 0, "lesion", "dice", nan, "empty-reference"),
    ]
    table = pd.DataFrame(rows, columns=["arm", "patient", "seed", "class", "metric", "value", "status"])
    found = patient_table(table.assign(dataset="d", fold=0))
    assert list(found.columns) == [
        "dataset", "arm", "patient", "class", "runs", "dice", "n_dice", "hd95_mm", "n_hd95_mm", "region_dice",
        "n_region_dice",
    ]  # fmt: skip
    expected = [
        ("a", "p1", "lesion", 1, nan, 0, nan, 0, nan, 0),
        ("a", "p2", "lesion", 0, nan, 0, nan, 0, nan, 0),
        ("b", "p1", "lesion", 2, 0.3, 2, 5.0, 1, nan, 0),
        ("b", "p1", "whole", 1, nan, 0, nan, 0, 0.9, 1),
    ]
    pd.testing.assert_frame_equal(
        found.drop(columns="dataset"), pd.DataFrame(expected, columns=list(found.columns[1:])), check_dtype=False
    )


def test_patients_of_a_real_table_each_have_their_rows(finished: tuple[Plan, Store]) -> None:
    table = tidy_table(*finished, "phantom")
    found = patient_table(table)
    assert len(found) == 2 * 6 * 2
    assert (found["runs"] == 1).all()
    dice = table[table["metric"] == "dice"].sort_values(["dataset", "arm", "patient", "class"])
    np.testing.assert_array_equal(found["dice"], dice["value"])
