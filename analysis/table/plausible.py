"""Can the scores be what the table says? Impossible values are refused by name, doubtful ones are told."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from medsweep.analysis.records import decimals_of
from medsweep.errors import UserError
from medsweep.metric_record import Metric

TOLERANCE: Final = 1e-9
"""How far rounding may carry a score out of its range."""
PERCENT: Final = (30.0, 300.0)
"""Ratios of medians between which an arm looks like percent beside fractions."""
ENOUGH: Final = 3
"""Patients from which two arms that always differ by the same are no chance."""


def refuse_impossible(rows: pd.DataFrame, metrics: Mapping[str, Metric]) -> None:
    """Refuse scores outside the range of their metric, with the first by name.

    Raises:
        UserError: a share is outside 0 to 1, perhaps as percent, or a distance is negative.
    """
    for name in map(str, rows["metric"].unique()):
        known = metrics.get(name)
        high = 1.0 if known is not None and known.is_share else np.inf
        if known is None or not known.range.startswith("0 "):
            continue
        own = rows[rows["metric"] == name]
        value = own["value"].to_numpy(dtype=np.float64)
        with np.errstate(invalid="ignore"):
            outside = (value < -TOLERANCE) | (value > high + TOLERANCE)
        if outside.any():
            row = own.iloc[int(outside.argmax())]
            raise UserError(
                f"{int(outside.sum())} scores of {name} lie outside {known.range}, first arm {str(row['arm'])!r} fold "
                f"{row['fold']} seed {row['seed']} patient {str(row['patient'])!r}: {row['value']:g}"
                f"{_percent(own, value) if high == 1 else ''}"
            )


def _percent(own: pd.DataFrame, value: np.ndarray) -> str:
    """The advice where whole arms hold percent."""
    if not (np.nanmin(value) >= 0 and 1 < np.nanmax(value) <= 100):
        return ""
    medians = own.groupby("arm", observed=True, sort=True)["value"].median()
    arms = [str(arm) for arm in medians.index[medians > 1]]
    if not arms:
        return ""
    beside = f"arm {', arm '.join(arms)}, beside fractions in the others" if len(arms) < len(medians) else "all arms"
    return f"; these look like percent in {beside}: divide by 100"


def doubts(wide: pd.DataFrame, metric: Metric) -> tuple[str, ...]:
    """Sentences on arms that cannot well be what they say: copies, constant differences, percent beside fractions.

    ``wide``: patients x arms.
    """
    values = wide.to_numpy(dtype=np.float64)
    arms = [str(arm) for arm in wide]
    return (*_copies(values, arms, metric), *_scales(values, arms, metric))


def _copies(values_PA: np.ndarray, arms: Sequence[str], metric: Metric) -> list[str]:
    if len(values_PA) < ENOUGH:
        return []
    told, decimals = [], decimals_of(values_PA)
    for one, other in combinations(range(len(arms)), 2):
        a, b = values_PA[:, one], values_PA[:, other]
        finite = np.isfinite(a) & np.isfinite(b)
        if finite.sum() < ENOUGH or (a[~finite] != b[~finite]).any() or np.ptp(a[finite]) == 0:
            continue
        delta = (b[finite] - a[finite]).round(decimals)
        if np.ptp(delta) <= 2 * 10.0**-decimals:
            apart = "scores the same as" if delta[0] == 0 else f"differs by {delta[0]:+.6g} {metric.title} from"
            told.append(f"{arms[other]} {apart} {arms[one]} in every patient, as no two trained networks do.")
    return told


def _scales(values_PA: np.ndarray, arms: Sequence[str], metric: Metric) -> list[str]:
    """Only for scores of which no range is known; a known share above 1 is refused."""
    if metric.is_share or not (values_PA > 0).all() or not np.isfinite(values_PA).all():
        return []
    medians = np.median(values_PA, axis=0)
    low, high = int(medians.argmin()), int(medians.argmax())
    if not PERCENT[0] < (ratio := medians[high] / medians[low]) < PERCENT[1] or medians[low] > 1:
        return []
    return [f"{arms[high]} has a median {ratio:.0f} times that of {arms[low]}: percent beside fractions?"]
