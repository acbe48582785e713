"""What is told of each measure of each arm's pools, and whether better pools help."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medsweep.analysis.questions.quality import QualityStudy, quality_of
from medsweep.analysis.questions.utility import ANCHOR, generator_table, utility_table
from medsweep.analysis.table.reduction import Reduced


@dataclass(frozen=True)
class PoolSummary:
    """One metric of one arm's pools: mean and SD over its ``n`` distinct pools."""

    arm: str
    metric: str
    n: int
    mean: float
    sd: float


def pool_summaries(pools: pd.DataFrame, names: Sequence[str]) -> tuple[PoolSummary, ...]:
    """Every metric of every arm's distinct pools."""
    distinct = pools.drop_duplicates(["arm", "digest", "metric"]).dropna(subset=["value"])
    distinct = distinct.sort_values(["arm", "metric", "value"])
    pooled = {key: rows.to_numpy(dtype=np.float64) for key, rows in distinct.groupby(["arm", "metric"])["value"]}
    return tuple(
        PoolSummary(
            name,
            str(metric),
            len(values),
            float(values.mean()),
            float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        )
        for name in names
        for (arm, metric), values in pooled.items()
        if arm == name
    )


def quality_of_pools(pools: pd.DataFrame, reduced: Reduced, control: str, level: float) -> QualityStudy | None:
    """Measures of pools against the gain of the arms that use them; None where no pool was assessed."""
    if not (pools["metric"] == ANCHOR).any():
        return None
    generators = generator_table(pools, utility_table(reduced, control, ""))
    return quality_of(generators, higher_is_better=reduced.metric.higher_is_better, level=level)
