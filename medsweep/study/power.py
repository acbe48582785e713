"""What a sweep can show, before it is run: its design, its spreads, and when it will stop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from medsweep.analysis.stats.power import ASSUMABLE, ASSUMED, Size, Spread, design_power, pilot, sentences
from medsweep.analysis.stats.sequential import Look
from medsweep.analysis.stats.sequential_power import stop_shares
from medsweep.data.folds import patient_of, patients_of, split
from medsweep.store.store import Store
from medsweep.study.stages import StudySweep
from medsweep.sweep.plan import Plan
from medsweep.trial import COMPLETE

CELL = ("arm", "fold", "seed", "patient")
LARGE = 2.0
"""Margins of the difference for which the expected cost is told beside that of none."""


@dataclass(frozen=True)
class Design:
    """What power depends on: the size of a plan, and spreads from what is published or assumed."""

    size: Size
    spread: Spread


def design_of(sweep: StudySweep, plan: Plan, store: Store) -> Design | str:
    """The design of a plan, or why there is no power to tell."""
    primary = sweep.analysis.primary
    cuts = {replicate.fold: replicate.cut for replicate in plan.replicates}
    tested = [patients_of(split(plan.patients, cut).test) for cut in cuts.values()]
    patients = len({patient for test in tested for patient in test})
    if len(plan.arms) < 2 or patients < 2:
        return f"power: {patients} patient(s) and {len(plan.arms)} arm(s) allow no test"
    control = next(arm.name for arm in plan.arms if arm.is_control)
    spread = pilot(score_cells(plan, store, primary), control)
    if primary not in ASSUMABLE and (spread is None or "differences" not in spread.measured):
        return f"power: unknown for {primary}; the assumptions are for Dice, so run a fold of two arms first"
    seeds = len({replicate.seed for replicate in plan.replicates})
    scores = seeds * sum(map(len, tested)) / patients
    return Design(Size(patients, len(cuts), seeds, scores, len(plan.arms) - 1), spread or ASSUMED)


def power_lines(sweep: StudySweep, plan: Plan, store: Store, last: Look | None = None) -> tuple[str, ...]:
    """What the design can show, from what is published of it or from stated assumptions; of several looks, the last."""
    design = design_of(sweep, plan, store)
    if isinstance(design, str):
        return (design,)
    size, alpha = design.size, sweep.analysis.alpha
    if last is not None:
        size, alpha = size.with_seeds(last.seeds), last.alpha
    return sentences(
        design_power(size, design.spread, margin=sweep.analysis.margin, alpha=alpha), sweep.analysis.primary
    )


def stopping(
    sweep: StudySweep, plan: Plan, store: Store, looks: Sequence[Look], number: int
) -> dict[float, tuple[float, ...]] | str:
    """Chance that each look from ``number`` on ends the sweep, by the true difference of every arm, none and ``LARGE``
    margins; given that none before did."""
    design = design_of(sweep, plan, store)
    if isinstance(design, str):
        return design
    rules, chances = sweep.analysis, dict[float, tuple[float, ...]]()
    for difference in (0.0, LARGE * rules.margin):
        shares = stop_shares(
            design.size.with_seeds(looks[0].seeds),
            design.spread,
            looks,
            margin=rules.margin,
            difference=difference,
            equivalence=rules.equivalence,
        )
        left = shares[number - 1 :]
        # Where the simulation never comes so far, the sweep is taken to go to the end.
        never = (*(0.0 for _ in left[1:]), 1.0)
        chances[difference] = tuple(share / sum(left) for share in left) if sum(left) else never
    return chances


def score_cells(plan: Plan, store: Store, metric: str) -> pd.DataFrame:
    """Published scores of the plan: arm, fold, seed, patient and value, the mean over classes, finite ones only."""
    tables, keys = list[pa.Table](), list[tuple[str, int, int]]()
    for (arm, replicate), leaf in plan.leaves.items():
        stage = plan.trials[leaf].stage
        if store.outcome(stage, leaf) == COMPLETE:
            with ParquetFile(store.output(stage, leaf) / "metrics.parquet") as file:
                table = file.read(["patient", "metric", "value"])
            tables.append(table)
            keys += [(arm, replicate.fold, replicate.seed)] * len(table)
    if not tables:
        return pd.DataFrame(columns=[*CELL, "value"])
    # One frame and one grouping of all rows: one for each trial would take most of the time of a plan with many.
    rows = pa.concat_tables(tables).to_pandas()
    rows[["arm", "fold", "seed"]] = pd.DataFrame(keys, columns=["arm", "fold", "seed"])
    rows = rows[(rows["metric"] == metric) & np.isfinite(rows["value"])]
    cases = rows.groupby([*CELL], sort=False)["value"].mean().reset_index()
    cases["patient"] = cases["patient"].map(patient_of)
    patients: pd.DataFrame = cases.groupby([*CELL], sort=False)["value"].mean().reset_index()
    return patients
