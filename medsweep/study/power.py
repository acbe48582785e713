"""What a planned sweep can show, told before anything runs. Part of the composition root."""

from typing import cast

import numpy as np
import pandas as pd

from medsweep.analysis.stats.power import ASSUMABLE, ASSUMED, Size, design_power, pilot, sentences
from medsweep.analysis.table.tables import AnalysisPlan
from medsweep.data.folds import split
from medsweep.store.store import Store
from medsweep.sweep.file import Sweep
from medsweep.sweep.plan import Plan
from medsweep.trial import COMPLETE


def power_lines(sweep: Sweep, plan: Plan, store: Store) -> tuple[str, ...]:
    """What the design can show, from what is published of it or from stated assumptions."""
    wanted = cast(AnalysisPlan, sweep.analysis)
    cuts = {replicate.fold: replicate.cut for replicate in plan.replicates}
    tested = [split(plan.patients, cut).test for cut in cuts.values()]
    everyone = len({patient for part in tested for patient in part})
    if len(plan.arms) < 2 or everyone < 2:
        return (f"power: {everyone} patient(s) and {len(plan.arms)} arm(s) allow no test",)
    control = next(arm.name for arm in plan.arms if arm.is_control)
    known = pilot(score_cells(plan, store, wanted.primary), control)
    if wanted.primary not in ASSUMABLE and (known is None or "differences" not in known.measured):
        text = f"power: unknown for {wanted.primary}; the assumptions are for Dice, so run a fold of two arms first"
        return (text,)
    seeds = len({replicate.seed for replicate in plan.replicates})
    scores = seeds * sum(map(len, tested)) / everyone
    size = Size(everyone, len(cuts), seeds, scores, len(plan.arms) - 1)
    found = design_power(size, known or ASSUMED, margin=wanted.margin, alpha=wanted.alpha)
    return sentences(found, wanted.primary)


def score_cells(plan: Plan, store: Store, metric: str) -> pd.DataFrame:
    """Published scores of the plan: arm, fold, seed, patient and value, the mean over classes, finite ones only."""
    parts = []
    for (arm, replicate), leaf in plan.leaves.items():
        stage = plan.trials[leaf].stage
        if store.outcome(stage, leaf) != COMPLETE:
            continue
        rows = pd.read_parquet(store.output(stage, leaf) / "metrics.parquet", columns=["patient", "metric", "value"])
        values = rows[(rows["metric"] == metric) & np.isfinite(rows["value"])].groupby("patient")["value"].mean()
        parts.append(values.reset_index().assign(arm=arm, fold=replicate.fold, seed=replicate.seed))
    columns = ["arm", "fold", "seed", "patient", "value"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
