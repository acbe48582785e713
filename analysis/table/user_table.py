"""From a user's own table to the columns that the analysis reads, and from keyword settings to rules and a metric."""

import math
from dataclasses import replace
from typing import Any, Final

import pandas as pd
from pydantic import ValidationError

from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.validation import KEY
from medsweep.errors import UserError, nearest
from medsweep.metric_record import Metric
from medsweep.metrics import SCORES, unknown_metric
from medsweep.validation import explain

NO_POOLS: Final = pd.DataFrame(columns=["arm", "fold", "seed", "digest", "metric", "value"])
NO_DIAGNOSIS: Final = pd.DataFrame(
    columns=["arm", "fold", "seed", "digest", "when", "quantity", "group", "source", "value"]
)
NEEDED: Final = ("arm", "patient", "value")
DEFAULTS: Final = {"dataset": "data", "fold": 0, "seed": 0, "class": "all"}
"""What a table without the column holds."""


def tidied(table: pd.DataFrame, primary: str) -> pd.DataFrame:
    """The table with every column of the tidy form; names of arms and patients as text.

    Raises:
        UserError: a needed column is missing, or values are no numbers.
    """
    # pandas calls an index without a name so when it reads a CSV file
    table = table[[name for name in table.columns if not str(name).startswith("Unnamed:")]]
    for name in NEEDED:
        if name not in table:
            raise UserError(f"the table has no column {name!r}; {nearest(name, map(str, table.columns))}")
    try:
        values = pd.to_numeric(table["value"])
    except (ValueError, TypeError) as error:
        raise UserError(f"column 'value' holds something that is no number: {error}") from error
    missing: dict[str, Any] = {
        name: default for name, default in {**DEFAULTS, "metric": primary}.items() if name not in table
    }
    rows = table.assign(value=values.astype("float64"), **missing)
    if "status" not in rows:
        rows["status"] = rows["value"].isna().map({True: "absent", False: "ok"})
    whole = {name: _whole(rows[name], name) for name in ("fold", "seed")}
    # what is missing stays missing, for the checks to name it
    texts = {name: _texts(rows[name]) for name in KEY if name not in whole}
    return rows.assign(**whole, **texts)


def named(name: str | float) -> str:
    """The text of a name that may be a number: 0 and 0.0 are ``0``."""
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def _whole(column: pd.Series, name: str) -> pd.Series:
    """Numbers of folds or seeds, also those that a CSV file holds as 0.0 or as text."""
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() | (numbers % 1 != 0)) if not pd.api.types.is_integer_dtype(numbers) else None
    if wrong is not None and wrong.any():
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
