"""From a user's own table to the columns that the analysis reads, and from keyword settings to rules and a metric."""

from typing import Any, Final

import pandas as pd
from pydantic import ValidationError

from medsweep.analysis.table.reduction import AnalysisRules
from medsweep.analysis.table.validation import KEY
from medsweep.errors import UserError, nearest
from medsweep.metrics import SCORES, Metric, unknown_metric

NO_POOLS: Final = pd.DataFrame(columns=["arm", "fold", "seed", "digest", "metric", "value"])
NEEDED: Final = ("arm", "patient", "value")
DEFAULTS: Final = {"dataset": "data", "fold": 0, "seed": 0, "class": "all"}
"""What a table without the column holds."""


def tidied(table: pd.DataFrame, primary: str) -> pd.DataFrame:
    """The table with every column of the tidy form; names of arms and patients as text.

    Raises:
        UserError: a needed column is missing, or values are no numbers.
    """
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
    for name in ("fold", "seed"):
        if not pd.api.types.is_integer_dtype(rows[name]):
            raise UserError(f"column {name!r} must hold whole numbers, got {rows[name].tolist()[0]!r}")
    texts = [name for name in KEY if name not in ("fold", "seed")]
    # what is missing stays missing, for the checks to name it
    return rows.assign(**{name: rows[name].astype("string").astype(object) for name in texts})


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
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: {first['msg']}, got {first['input']!r}") from error


def metric_for(name: str, higher_is_better: bool | None) -> Metric:
    """A known metric, or a new one of the given direction.

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
    return unknown_metric(name, higher_is_better=higher_is_better)
