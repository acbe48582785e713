"""The dictionary of columns against every CSV that reports write: none is missing, none is made up."""

import csv
import dataclasses
import html

import numpy as np
import pandas as pd
import pytest

from helpers.column_dictionary import compare, fits, named, sections
from helpers.lattice import ARMS, NAMES, diagnosis_of, law_pools, planted, profile_curves, score_table
from helpers.made_report import context
from helpers.simulated_results import CONTROL, eight_arms, simulate
from helpers.simulated_samples import SECTION, simulate_samples
from helpers.sketches import sketch_pictures
from medsweep.analysis.questions.quality import quality_of
from medsweep.analysis.records import ArmInfo
from medsweep.analysis.report.across import write_across
from medsweep.analysis.report.page import write_report
from medsweep.analysis.study.analyse import analyse, analyse_datasets
from medsweep.analysis.study.mechanisms.why import WhyAsked
from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.user_table import NO_POOLS
from medsweep.mechanism import at_dose
from medsweep.texture import TextureArms

POOLS = ("frechet", "retention", "kept_vendi", "real_slices_seen")


def judged_pools():
    rng = np.random.default_rng(1)
    names = ("frechet", "iou_mean", "kid", "laplacian_ratio")
    point = {"dataset": "phantom", "arms": "gan", "fold": 0, "seeds": "0"}
    rows = [
        {**point, "generator": str(g), "utility": rng.normal(), **{name: rng.normal() for name in names}}
        for g in range(8)
    ]
    return quality_of(
        pd.DataFrame(rows), higher_is_better=True, level=0.95, resamples=100, compared=[("frechet", "kid")]
    )


def explained():
    """With levels, ladder, lattice, doses, what its networks were diagnosed with, and texture."""
    names = [*NAMES, *(at_dose(arm, 8) for arm in ("gan", "again", "new"))]
    section = ARMS.model_copy(update={"doses": (8, 16)})
    arms = [ArmInfo(name, {}, control=name == "real") for name in names]
    table = score_table(planted(labels=0.05), patients=6, seeds=2, names=names)
    varied = {"law_patients": 2.0, "law_vendi": 6.5}
    rows = [("gan", 0, seed, "gan", name, value) for name, value in varied.items() for seed in (0, 1)]
    pools, diagnosis = law_pools(("labels",), seeds=2), diagnosis_of(opposed=("gan",), seeds=2)
    pools = pd.concat([pools, pd.DataFrame(rows, columns=pools.columns)], ignore_index=True)
    texture = TextureArms(raw="gan", new_real="new", blotched="cell look", mends=("cell labels",))
    return analyse(table, pools, AnalysisRules(), arms=arms, why=WhyAsked(section, texture, diagnosis=diagnosis))


def accumulated():
    """With all cells of accumulation."""
    arms = [ArmInfo(CONTROL, {}, control=True), *(ArmInfo(arm, {}) for _, arm in SECTION.places())]
    table = simulate(arms, {}, patients=6, seeds=2)
    why = WhyAsked(accumulation=SECTION, samples=simulate_samples(n=20))
    return analyse(table, NO_POOLS, AnalysisRules(), arms=arms, why=why)


@pytest.fixture(scope="module")
def written(eight_arms_made, tmp_path_factory):
    """Files of three reports, by folder and name without ending -> columns."""
    folder = tmp_path_factory.mktemp("all")
    arms = eight_arms()[:3]
    table = simulate(arms, {}, patients=6, seeds=2)
    table["volume_ref_ml"] = 1.0
    pools = pd.DataFrame(
        [(one.name, 0, 0, one.name, metric, 0.5) for one in arms for metric in POOLS],
        columns=["arm", "fold", "seed", "digest", "metric", "value"],
    )
    rules = AnalysisRules(contrasts={"both": {arms[1].name: 0.5, arms[2].name: 0.5, CONTROL: -1.0}})
    levels = {"gan against the same": {arms[1].name: 1.0, arms[2].name: -1.0}}
    found = analyse(table, pools, rules, arms=arms, why=WhyAsked(levels=levels))
    spectra = pd.DataFrame(
        [("b-sg", "t1", cycles, 1.0, 0.5) for cycles in range(1, 9)],
        columns=["kind", "modality", "cycles", "real", "synthetic"],
    )
    found = dataclasses.replace(found, quality=judged_pools())
    several = {name: simulate(arms, {}, patients=6, seeds=2, seed=i) for i, name in enumerate(("heart", "brain"))}
    with pytest.MonkeyPatch.context() as patch:
        sketch_pictures(patch)
        write_report(folder, found, context(folder, spectra=spectra))
        write_report(folder / "why", explained(), context(folder, **profile_curves()))
        write_report(folder / "accumulation", accumulated(), context(folder))
        write_across(folder / "across", analyse_datasets(several, control=CONTROL), context(folder))
    columns: dict[tuple[str, str], set[str]] = {}
    for root in (eight_arms_made[1].parent, folder, folder / "why", folder / "accumulation"):
        for path in [*root.glob("tables/*.csv"), *root.glob("figures/*.csv")]:
            with path.open(encoding="utf-8") as file:
                columns.setdefault((path.parent.name, path.stem), set()).update(next(csv.reader(file)))
    for path in (folder / "across").glob("*/*.csv"):
        name = f"{path.stem} (figure)" if path.parent.name == "figures" else path.stem
        with path.open(encoding="utf-8") as file:
            columns["across", name] = set(next(csv.reader(file)))
    return columns


def documented(kind: str) -> list[tuple[str, list[str]]]:
    head = next(head for head in sections() if head.startswith(kind))
    return [
        (named(table)[0] + (" (figure)" if "(figure)" in table else ""), named(columns))
        for table, columns, _ in sections()[head]
    ]


def shared() -> list[str]:
    return [name for row in sections()["Columns that many tables of the report share"] for name in named(row[0])]


@pytest.mark.parametrize(
    ("folder", "kind"), [("tables", "tables/"), ("figures", "figures/"), ("across", "Across data sets")]
)
def test_every_column_is_in_the_dictionary_and_every_entry_is_written(folder, kind, written):
    entries = documented(kind)
    tables = {name: columns for (place, name), columns in written.items() if place == folder}
    known = {table for table, _ in entries}
    for name, columns in tables.items():
        exact = [table for table in known if table == name] or [table for table in known if fits(name, table)]
        own = [column for table, listed in entries if table in exact for column in listed]
        assert (name, compare(columns, [*own, *shared()])[0]) == (name, [])
    for table, listed in entries:
        columns = {
            column for name, found in tables.items() if name == table or (name not in known and fits(name, table))
            for column in found
        }  # fmt: skip
        assert (table, compare(columns, listed)[1]) == (table, [])


def test_what_tables_share_stands_in_some(written):
    assert compare({name for columns in written.values() for name in columns}, shared())[1] == []


def test_a_report_that_asks_why_answers_before_anything_else(sketched, tmp_path):
    found = explained()
    assert any(line.startswith("Of the shortfall") for line in found.why)
    page = html.unescape(write_report(tmp_path, found, context(tmp_path)).read_text(encoding="utf-8"))
    answer = page.split("<h2")[1]
    assert "Answer" in answer
    assert all(line in answer for line in found.why)
