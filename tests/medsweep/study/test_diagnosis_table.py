"""What networks were diagnosed with reaches the tables and the report's analysis."""

from pathlib import Path

import pandas as pd
import pytest

from helpers.column_dictionary import compare, named, sections
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.report import make_tables
from medsweep.study.session import RunOptions, open_sweep
from medsweep.study.tables import diagnosis_table
from medsweep.trainers.diagnosis.config import TABLE

SWEEP = """\
sweep: diagnosed
question: What does the same again do inside?
data:
  dataset: phantom
  phantom: {patients: 8, seed: 3, shape: [20, 18, 12], spacing_mm: [2.0, 2.0, 4.0]}
  resolution: 16
replicates: {folds: 2, seeds: 1, validation: 0.5}
control: real
arms:
  real: {synthesise.count: 0}
  again: {treat.treatments: [{kind: duplicate-real}], segment.snapshots: 3}
fixed:
  synthesise: {count: 8}
  assess: {enabled: false}
  segment: {steps: 12, batch_size: 4, channels: [4, 8], residual_units: 0, report_every_steps: 4}
analysis: {primary: dice, margin: 0.05}
mechanism: {explain: again, ladder: [real, again]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diagnosed")
    (folder / "sweep.yaml").write_text(SWEEP)
    open_sweep(folder / "sweep.yaml", folder / "store", to="run").run(RunOptions("local"))
    return folder


def test_the_table_holds_what_each_trial_wrote_by_arm_fold_and_seed(folder: Path) -> None:
    store = Store(folder / "store")
    planned = plan_sweep(folder / "sweep.yaml", store)
    table = diagnosis_table(planned.plan, store)
    documented = [column for row in sections()["diagnosis"] for column in named(row[0])]
    assert compare(table.columns, documented) == ([], [])
    assert set(table["arm"]) == {"again"}
    assert set(table["fold"]) == {0, 1}
    for digest, rows in table.groupby("digest"):
        written = pd.read_parquet(store.output("diagnose", str(digest)) / TABLE)
        pd.testing.assert_frame_equal(rows[written.columns].reset_index(drop=True), written)
    assert set(make_tables(planned.sweep, planned.plan, store)) == {"results", "patients", "pools", "diagnosis"}


def test_the_analysis_reads_it(folder: Path) -> None:
    session = open_sweep(folder / "sweep.yaml", folder / "store")
    analysis = session.report(folder / "report", None, "medsweep report")[0]
    assert analysis.mechanism is not None
    late = [one for one in analysis.mechanism.network if (one.when, one.quantity) == ("late", "norm_ratio")]
    assert {one.arm for one in late} == {"again"}
    assert {one.runs for one in late} == {2}
