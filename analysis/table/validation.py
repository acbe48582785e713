"""Is the table what it says? Duplicates, unknown names, contradictions and holes are refused by name."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from medsweep.errors import UserError, nearest

KEY: Final = ["dataset", "arm", "fold", "seed", "patient", "class", "metric"]
REPLICATE: Final = ["fold", "seed"]
TEXT: Final = ["dataset", "arm", "patient", "class", "metric", "status"]
STATUSES: Final = ("ok", "empty-both", "empty-reference", "ignored", "missed", "diverged", "absent")
EMPTY: Final = ("empty-both", "empty-reference")
UNKNOWN: Final = ("ignored",)
"""Of a distance of a patient with ignored voxels, through which the boundary may run."""
OVERLAPS: Final = ("dice", "region_dice")
"""Metrics that are 0 where a structure is missed."""
NO_ROW: Final = "no row"
"""Status given here to a cell of the design that the table does not mention."""
ABSENT: Final = ("absent", NO_ROW)


def validated(table: pd.DataFrame, arms: Sequence[str], primary: str) -> pd.DataFrame:
    """The table in canonical row order, with a ``no row`` row for every cell of the design it lacks.

    The design is arms x replicates x the patients of the fold x the (class, metric) pairs of the table: regions have
    metrics of their own.

    Raises:
        UserError: a column, arm, status or metric is unknown; a row occurs twice; a status and its value, or two
            statuses, contradict each other; more than one data set.
    """
    missing = [name for name in [*KEY, "value", "status"] if name not in table.columns]
    if missing:
        raise UserError(f"results table has no column {missing[0]!r}; {nearest(missing[0], map(str, table.columns))}")
    if table.empty:
        raise UserError("the results table has no rows")
    rows = table[[*KEY, "value", "status"]]
    _refuse_unknown(rows, arms, primary)
    # categories in sorted order: the same rows as with text, in a fraction of the time
    rows = rows.astype({name: "category" for name in TEXT})
    _refuse_duplicates(rows)
    _refuse_contradictions(rows)
    return _with_holes(rows, arms).sort_values(KEY, kind="stable", ignore_index=True)


def undefined_pairs(rows: pd.DataFrame, statuses: Sequence[str] = EMPTY) -> pd.MultiIndex:
    """(patient, class) pairs with one of the statuses, by which no arm has a value: the reference is empty."""
    undefined = rows.loc[rows["status"].isin(statuses), ["patient", "class"]]
    return pd.MultiIndex.from_frame(undefined.drop_duplicates())


def absent_summary(rows: pd.DataFrame) -> str:
    """Missing cells by cause and run, the first three runs by name."""
    causes = []
    for cause, cells in rows.groupby("status", observed=True):
        runs = cells.drop_duplicates(["arm", *REPLICATE])
        named = [f"{run.arm!r} fold {run.fold} seed {run.seed}" for run in runs.head(3).itertuples()]
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        first = cells.iloc[0]
        where = f"first patient {str(first['patient'])!r} class {str(first['class'])!r}"
        causes.append(f"{cause}: {len(cells)} scores in {len(runs)} runs (arm {', arm '.join(named)}{more}; {where})")
    return "; ".join(causes)


def _refuse_unknown(rows: pd.DataFrame, arms: Sequence[str], primary: str) -> None:
    if rows[KEY].isna().any(axis=None):
        column = str(rows[KEY].isna().any().idxmax())
        raise UserError(f"the results table has rows without {column!r}; every row needs one")
    datasets = sorted(rows["dataset"].unique())
    if len(datasets) > 1:
        raise UserError(
            f"results table holds {len(datasets)} data sets ({', '.join(datasets)}); analyse one at a time, or all "
            "with analyse_datasets"
        )
    for name in sorted(set(rows["arm"].unique()) - set(arms)):
        raise UserError(f"the results table has an arm {name!r} that was not asked for; {nearest(name, arms)}")
    for name in sorted(set(rows["status"].unique()) - set(STATUSES)):
        raise UserError(f"results table has status {name!r}; {nearest(str(name), STATUSES)}")
    metrics = [str(name) for name in rows["metric"].unique()]
    if primary not in metrics:
        raise UserError(
            f"the results have no metric {primary!r}, the primary one; {nearest(primary, metrics)}; name one as "
            "primary, with a margin in its unit"
        )


def _refuse_duplicates(rows: pd.DataFrame) -> None:
    twice = rows[rows.duplicated(KEY)]
    if not twice.empty:
        first = ", ".join(f"{name} {twice.iloc[0][name]}" for name in KEY)
        raise UserError(
            f"the results table has {len(twice)} rows twice, first {first}; each run needs a fold or a seed of its own"
        )


def _refuse_contradictions(rows: pd.DataFrame) -> None:
    scored = rows["status"].isin(["ok", "missed"])
    unscored = rows[scored & rows["value"].isna()]
    if not unscored.empty:
        row = unscored.iloc[0]
        advice = "a score that is not there is 'absent'"
        if row["status"] == "missed":
            advice = "a missed structure has the worst value, 0 of an overlap and inf of a distance"
        raise UserError(
            f"{len(unscored)} rows are {row['status']!r} without a value, first arm {row['arm']!r} patient "
            f"{row['patient']!r} metric {row['metric']!r}; {advice}"
        )
    found = rows[(rows["status"] == "missed") & rows["metric"].isin(OVERLAPS) & (rows["value"] > 0)]
    if not found.empty:
        row = found.iloc[0]
        raise UserError(
            f"{len(found)} rows are 'missed' with an overlap, first arm {row['arm']!r} patient {row['patient']!r} "
            f"{row['metric']} {row['value']:g}; of a missed structure it is 0"
        )
    pairs = pd.MultiIndex.from_frame(rows[["patient", "class"]])
    both = rows[scored & pairs.isin(undefined_pairs(rows))]
    if not both.empty:
        row = both.iloc[0]
        raise UserError(
            f"patient {row['patient']!r} class {row['class']!r} has a reference in arm {row['arm']!r} and none in "
            "another; the arms were scored against different labels"
        )


def _with_holes(rows: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    replicates = rows[["dataset", *REPLICATE]].drop_duplicates()
    patients = rows[["fold", "patient"]].drop_duplicates()
    scores = rows[["class", "metric"]].drop_duplicates()
    design = replicates.merge(patients, on="fold")
    if len(design) * len(arms) * len(scores) == len(rows):
        return rows  # every row lies in the design and none twice, so that as many rows leave no hole
    design = design.merge(pd.DataFrame({"arm": pd.Categorical(list(arms), categories=sorted(arms))}), how="cross")
    design = design.merge(scores, how="cross")
    rows = rows.assign(
        arm=rows["arm"].cat.set_categories(sorted(arms)), status=rows["status"].cat.add_categories([NO_ROW])
    )
    full = design.merge(rows, on=KEY, how="left")
    return full.assign(status=full["status"].fillna(NO_ROW))
