"""From a user's own table to the columns that the analysis reads, and from keyword settings to rules and a metric."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd
from pydantic import ValidationError

from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.validation import KEY, OVERLAPS
from medsweep.errors import UserError, nearest
from medsweep.metric_record import Metric
from medsweep.metrics import SCORES, record_of, unknown_metric
from medsweep.validation import explain

NO_POOLS: Final = pd.DataFrame(columns=["arm", "fold", "seed", "digest", "metric", "value"])
NO_DIAGNOSIS: Final = pd.DataFrame(
    columns=["arm", "fold", "seed", "digest", "when", "quantity", "group", "source", "value"]
)
NEEDED: Final = ("arm", "patient", "value")
DEFAULTS: Final = {"dataset": "data", "fold": 0, "seed": 0, "class": "all"}
"""What a table without the column holds."""
SUMMARIES: Final = frozenset({"mean", "average", "avg", "median", "std", "sd", "total", "overall"})
"""Patients that are no people, in any case."""


def tidied(table: pd.DataFrame, primary: str) -> pd.DataFrame:
    """The table with every column of the tidy form; names of arms and patients as text.

    Raises:
        UserError: a needed column is missing, or values are no numbers.
    """
    # pandas calls an index without a name so when it reads a CSV file
    table = table[[name for name in table.columns if not str(name).startswith("Unnamed:")]]
    _refuse_columns([str(name) for name in table.columns])
    values = _numbers(table)
    missing: dict[str, Any] = {
        name: default for name, default in {**DEFAULTS, "metric": primary}.items() if name not in table
    }
    rows = table.assign(value=values.astype("float64"), **missing)
    if "status" not in rows:
        rows["status"] = rows["value"].isna().map({True: "absent", False: "ok"})
    whole = {name: _whole(rows[name], name) for name in ("fold", "seed")}
    # what is missing stays missing, for the checks to name it
    texts = {name: _texts(rows[name]) for name in KEY if name not in whole}
    for name, column in texts.items():
        _refuse_lookalikes(column, name)
    if rows_of_means := sorted({str(name) for name in texts["patient"].unique() if str(name).casefold() in SUMMARIES}):
        raise UserError(f"column 'patient' has {rows_of_means[0]!r}, as if such rows summed others up; leave them out")
    known = texts["metric"].str.casefold()
    texts["metric"] = texts["metric"].mask(known.isin(list(SCORES)), known)
    return _with_missed(rows.assign(**whole, **texts))


def _with_missed(rows: pd.DataFrame) -> pd.DataFrame:
    """What is ``ok`` with an overlap of 0 or an infinite distance is ``missed``, whoever wrote the table."""
    distances = [name for name, metric in SCORES.items() if math.isinf(metric.worst)]
    infinite = rows["metric"].isin(distances) & (rows["value"] == math.inf)
    missed = infinite | (rows["metric"].isin(OVERLAPS) & (rows["value"] == 0))
    return rows.assign(status=rows["status"].mask(missed & (rows["status"] == "ok"), "missed"))


def _refuse_columns(columns: Sequence[str]) -> None:
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UserError(f"two columns are called {twice[0]!r}; keep the one that is meant")
    for name in NEEDED:
        if name in columns:
            continue
        scores = [column for column in columns if record_of(column.strip().lower()) is not None]
        if name != "value" or not scores:
            raise UserError(f"the table has no column {name!r}; {nearest(name, columns)}")
        if len(scores) == 1:
            raise UserError(f"the table has no column 'value'; call the column of scores so, which is {scores[0]!r}")
        raise UserError(
            f"the table has no column 'value'; it has one for each metric ({', '.join(scores)}): write one row for "
            "each score, with the name in a column 'metric' and the number in 'value' (pandas.melt does it)"
        )


def _numbers(table: pd.DataFrame) -> pd.Series:
    """The scores; ``NaN`` where one is missing."""
    try:
        return pd.to_numeric(table["value"])
    except (ValueError, TypeError):
        numbers = pd.to_numeric(table["value"], errors="coerce")
    wrong = table[numbers.isna() & table["value"].notna()]
    row, text = wrong.iloc[0], str(wrong["value"].iloc[0])
    advice = "leave a score that is missing empty"
    if re.fullmatch(r"\s*-?\d+,\d+\s*", text):
        advice = "write decimals with a point"
    elif text.rstrip().endswith("%"):
        advice = "write shares from 0 to 1"
    raise UserError(
        f"column 'value' holds {len(wrong)} entries that are no number, first {text!r} of arm {str(row['arm'])!r} "
        f"patient {str(row['patient'])!r}; {advice}"
    )


def _refuse_lookalikes(column: pd.Series, name: str) -> None:
    """Names that differ in capitals or spaces alone are one thing written twice."""
    seen: dict[str, str] = {}
    for text in map(str, column.dropna().unique()):
        other = seen.setdefault(" ".join(text.casefold().split()), text)
        if other != text:
            raise UserError(f"column {name!r} has {other!r} and {text!r}; write one {name} in one way")


def named(name: str | float) -> str:
    """The text of a name that may be a number: 0 and 0.0 are ``0``."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def _whole(column: pd.Series, name: str) -> pd.Series:
    """Numbers of folds or seeds, also those that a CSV file holds as 0.0 or as text."""
    numbers = pd.to_numeric(column, errors="coerce")
    if pd.api.types.is_integer_dtype(numbers):
        return numbers.astype("int64")
    # a float holds no whole number beyond that exactly
    wrong = numbers.isna() | (numbers % 1 != 0) | (numbers.abs() > 2**53)
    if wrong.any():
        raise UserError(f"column {name!r} must hold whole numbers, got {column[wrong].tolist()[0]!r}")
    return numbers.astype("int64")


def _texts(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype("string").astype(object)


def rules_of(**settings: Any) -> AnalysisRules:
    """The rules with these settings; a mistake is one line that names the field.

    Raises:
        UserError: a setting is unknown or out of range.
    """
    for name in settings:
        if name not in AnalysisRules.model_fields:
            raise UserError(f"the analysis has no setting {name!r}; {nearest(name, AnalysisRules.model_fields)}")
    try:
        return AnalysisRules(**settings)
    except ValidationError as error:
        raise UserError(explain(error, AnalysisRules)[1]) from error


def metric_for(name: str, higher_is_better: bool | None, margin: float) -> Metric:
    """A known metric, or a new one of the given direction, printed as finely as its margin asks for.

    Raises:
        UserError: the metric is unknown and has no direction, or is known and has another.
    """
    if name in SCORES:
        metric = SCORES[name]
        if higher_is_better not in (None, metric.higher_is_better):
            raise UserError(f"{name}: {'higher' if metric.higher_is_better else 'lower'} is better, not the other way")
        return metric
    if higher_is_better is None:
        raise UserError(f"no metric is called {name!r}; {nearest(name, SCORES)}, or say whether higher_is_better")
    digits = max(1 - math.floor(math.log10(margin)), 0) if margin > 0 else 3
    return replace(unknown_metric(name, higher_is_better=higher_is_better), digits=digits)
