"""Each patient's difference from the control, sorted: who gains, who loses, and who stands out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medsweep.analysis.records import Estimate, mean_estimate
from medsweep.analysis.table.reduction import Reduced

FENCE = 1.5
"""Outliers lie more than this many interquartile ranges beyond the quartiles (Tukey 1977)."""


@dataclass(frozen=True)
class Paired:
    """Arm minus control, ascending; ``outliers`` are positions in that order.

    Patients are not named: the report may leave the house. ``better`` and ``worse`` count patients by the metric's
    direction, the rest are ties. The mean and its interval are over finite differences.
    """

    arm: str
    control: str
    differences: tuple[float, ...]
    better: int
    ties: int
    worse: int
    mean: Estimate
    outliers: tuple[int, ...]


def paired_differences(reduced: Reduced, control: str, arms: Sequence[str], level: float) -> tuple[Paired, ...]:
    """One record per arm."""
    pairs = []
    for arm in arms:
        delta = reduced.differences(arm, control)
        ascending, finite = np.sort(delta), delta[np.isfinite(delta)]
        low, high = np.quantile(finite, [0.25, 0.75]) if len(finite) else (0.0, 0.0)
        reach = FENCE * (high - low)
        far = (ascending < low - reach) | (ascending > high + reach)
        gains = delta if reduced.metric.higher_is_better else -delta
        pairs.append(
            Paired(
                arm=arm,
                control=control,
                differences=tuple(ascending.tolist()),
                better=int((gains > 0).sum()),
                ties=int((gains == 0).sum()),
                worse=int((gains < 0).sum()),
                mean=mean_estimate(finite, level),
                outliers=tuple(int(i) for i in np.flatnonzero(far)),
            )
        )
    return tuple(pairs)
