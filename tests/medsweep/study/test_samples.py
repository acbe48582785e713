"""From a sweep file with ``accumulation:`` to the table of samples and the section of the report, by real stages."""

from pathlib import Path

import pandas as pd
import pytest

from helpers.commanding import Medsweep
from helpers.micro import write_micro
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.samples import sample_table

ARMS = """factors: {}
arms:
  new masks: {gan.pipeline: c-sg, synthesise.masks: held-out}
  mc-sg: {gan.pipeline: mc-sg}
  new real: {treat.treatments: [{kind: fresh-real}]}
  seen: {gan.pipeline: c-sg, treat.treatments: [{kind: relabel}]}
accumulation: {new_masks: new masks, generated_masks: mc-sg, new_real: new real, known_masks: seen}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    old = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
    fixed = "fixed:\n  assess: {judge: both}\n  synthesise: {count: 4}\n"
    return write_micro(
        tmp_path, (old, ARMS), ("  resolution: 16", "  resolution: 16\n  patients: 2"), ("fixed:\n", fixed),
        ("{folds: 2, seeds: 1}", "{folds: 2, seeds: 1, only: [0]}"),
    )  # fmt: skip


def test_samples_of_both_judges_and_their_reals_reach_the_report(
    medsweep: Medsweep, sweep: Path, tmp_path: Path
) -> None:
    done = medsweep("run", sweep, "--store", tmp_path / "store", "--runner", "local")
    assert done.exit_code == 0, done.output
    store = Store.create(tmp_path / "store")
    planned = plan_sweep(sweep, store)
    section = planned.sweep.file.accumulation
    assert section is not None
    table = sample_table(planned.plan, store, section)
    pools = table[table["arm"] != ""]
    # relabelled masks agree with a segmenter by construction, and real slices of patients left out have one judge
    assert {tuple(pair) for pair in pools[["arm", "judge"]].drop_duplicates().to_numpy()} == {
        ("new masks", "left-out"), ("new masks", "control"), ("mc-sg", "left-out"), ("mc-sg", "control"),
        ("new real", "control"),
    }  # fmt: skip
    assert (pools.groupby(["arm", "judge"]).size() == 4).all()
    real = table[table["arm"] == ""]
    unseen = real[real["unseen"]]
    assert set(unseen["judge"]) == {"left-out"}
    assert real["in_use"].all()
    assert pd.api.types.is_numeric_dtype(table["class_1/hd95_px"])
    page = next(tmp_path.rglob("report.html")).read_text()
    assert "Accumulation" in page
    assert "Cannot tell: one run" in page
