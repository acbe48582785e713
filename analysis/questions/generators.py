"""One row per generator: what its pool measured, and what the arms that use it gained."""

from typing import Final

import numpy as np
import pandas as pd

from medsweep.analysis.table.reduction import Reduced
from medsweep.metrics import Direction, record_of

ANCHOR: Final = "iou_mean"
"""The measure that every assessment leaves: its digest tells assessments from other rows of the pools table."""
KEYS: Final = ("dataset", "generator", "arms", "fold", "seeds", "utility")


def better(measure: str) -> Direction:
    """The direction in the measure's record; ``none`` where there is no record."""
    record = record_of(measure)
    return record.direction if record else "none"


def is_quality(measure: str) -> bool:
    """Whether a measure is held against benefit: no count, floor or bound, or one that no record describes."""
    record = record_of(measure)
    return record is None or "utility" in record.shown


def utility_table(reduced: Reduced, control: str, dataset: str) -> pd.DataFrame:
    """Mean difference from the control in the same fold and seed: columns dataset, arm, fold, seed, n, utility.

    In units of the metric, arm minus control, over the n patients with a finite value in both. Replicates that the
    control lacks are left out.
    """
    keys = ["fold", "seed", "patient"]
    wide = reduced.cells.set_index([*keys, "arm"])["value"].unstack("arm")
    delta = wide.drop(columns=control).sub(wide[control], axis=0).round(12)
    long = delta.reset_index().melt(id_vars=keys, var_name="arm", value_name="value")
    long = long[np.isfinite(long["value"])]
    grouped = long.groupby(["arm", "fold", "seed"])["value"].agg(n="size", utility="mean").reset_index()
    utility: pd.DataFrame = grouped.assign(dataset=dataset)[["dataset", "arm", "fold", "seed", "n", "utility"]]
    return utility


def generator_table(pools: pd.DataFrame, utility: pd.DataFrame) -> pd.DataFrame:
    """One row per generator: dataset, generator (digest), arms, fold, seeds, utility, then one column per measure.

    ``pools``: arm, fold, seed, digest, metric, value, and dataset where ``utility`` has several. ``utility``: see
    ``utility_table``. Arms and seeds that share a pool are one point with their mean utility, so arms of other doses
    than those of interest are best taken out of ``utility`` before.

    Raises:
        ValueError: ``pools`` has no dataset column and ``utility`` several data sets.
    """
    datasets = sorted(utility["dataset"].unique())
    if "dataset" not in pools and len(datasets) > 1:
        raise ValueError(f"pools lack a dataset column, and the utilities are of {len(datasets)} data sets")
    rows = pools if "dataset" in pools else pools.assign(dataset=datasets[0] if datasets else "")
    rows = rows.rename(columns={"digest": "generator"})
    assessed = rows.loc[rows["metric"] == ANCHOR, ["dataset", "generator"]].drop_duplicates()
    rows = rows.merge(assessed, on=["dataset", "generator"]).sort_values(["arm", "fold", "seed"], kind="stable")
    uses = rows[["dataset", "arm", "fold", "seed", "generator"]].drop_duplicates()
    uses = uses.merge(utility, on=["dataset", "arm", "fold", "seed"]).sort_values(["dataset", "arm", "fold", "seed"])
    points = uses.groupby(["dataset", "generator"]).agg(
        arms=("arm", lambda arms: ", ".join(sorted(set(arms)))),
        fold=("fold", "min"),
        seeds=("seed", lambda seeds: ", ".join(map(str, sorted(set(seeds))))),
        utility=("utility", "mean"),
    )
    points["utility"] = points["utility"].round(12)
    measures = rows.groupby(["dataset", "generator", "metric"])["value"].first().unstack("metric")
    table: pd.DataFrame = points.join(measures).sort_index().reset_index()
    return table
