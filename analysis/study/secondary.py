"""Which secondary metrics can be compared, and for which arms; none of them ever stops the analysis."""

from collections.abc import Sequence

import pandas as pd

from medsweep.analysis.table.reduction import AnalysisRules, Reduced, reduce
from medsweep.analysis.table.validation import ABSENT
from medsweep.errors import UserError
from medsweep.metric_record import Metric


def reduce_secondary(
    rows: pd.DataFrame, rules: AnalysisRules, arms: Sequence[str], control: str, metrics: Sequence[Metric]
) -> tuple[list[Reduced], list[str]]:
    """Every metric that can be compared, for the arms that have it, and a sentence for each one that lacks something.

    ``rows`` as ``validation.validated`` returned them.
    """
    found, told = [], []
    for metric in metrics:
        own = rows[rows["metric"] == metric.name]
        scored = {str(arm) for arm in own.loc[~own["status"].isin(ABSENT), "arm"].unique()}
        held = [arm for arm in arms if arm in scored]
        lacking = [arm for arm in arms if arm not in scored]
        reason = ""
        if control not in held or len(held) < 2:
            reason = f"{control if control not in held else 'every arm but the control'} has no score of it"
        else:
            try:
                reduced = reduce(own[own["arm"].isin(held)], rules, held, metric)
            except UserError as error:
                reason = str(error)
            else:
                holes = reduced.wide.isna().any(axis=1)
                if holes.any():
                    reason = f"{int(holes.sum())} of {reduced.n} patients have no score of it in some arm"
        if reason:
            told.append(f"{metric.title} is left out: {reason.removesuffix('.')}.")
            continue
        found.append(reduced)
        if lacking:
            told.append(f"{metric.title} is compared without {', '.join(lacking)}, of which there is no score of it.")
    return found, told
