"""What a planned sweep can show, told before anything runs."""

import numpy as np
import pandas as pd

from medsweep.analysis.stats.power import ASSUMABLE, ASSUMED, Size, design_power, pilot, sentences
from medsweep.data.folds import split
from medsweep.store.store import Store
from medsweep.study.stages import StudySweep
from medsweep.sweep.plan import Plan
from medsweep.trial import COMPLETE


def power_lines(sweep: StudySweep, plan: Plan, store: Store) -> tuple[str, ...]:
    """What the design can show, from what is published of it or from stated assumptions."""
    primary = sweep.analysis.primary
    cuts = {replicate.fold: replicate.cut for replicate in plan.replicates}
    tested = [split(plan.patients, cut).test for cut in cuts.values()]
    patients = len({patient for test in tested for patient in test})
    if len(plan.arms) < 2 or patients < 2:
        return (f"power: {patients} patient(s) and {len(plan.arms)} arm(s) allow no test",)
    control = next(arm.name for arm in plan.arms if arm.is_control)
    spread = pilot(score_cells(plan, store, primary), control)
    if primary not in ASSUMABLE and (spread is None or "differences" not in spread.measured):
        text = f"power: unknown for {primary}; the assumptions are for Dice, so run a fold of two arms first"
        return (text,)
    seeds = len({replicate.seed for replicate in plan.replicates})
    scores = seeds * sum(map(len, tested)) / patients
    size = Size(patients, len(cuts), seeds, scores, len(plan.arms) - 1)
    power = design_power(size, spread or ASSUMED, margin=sweep.analysis.margin, alpha=sweep.analysis.alpha)
    return sentences(power, primary)


def score_cells(plan: Plan, store: Store, metric: str) -> pd.DataFrame:
    """Published scores of the plan: arm, fold, seed, patient and value, the mean over classes, finite ones only."""
    frames = []
    for (arm, replicate), leaf in plan.leaves.items():
        stage = plan.trials[leaf].stage
        if store.outcome(stage, leaf) != COMPLETE:
            continue
        rows = pd.read_parquet(store.output(stage, leaf) / "metrics.parquet", columns=["patient", "metric", "value"])
        values = rows[(rows["metric"] == metric) & np.isfinite(rows["value"])].groupby("patient")["value"].mean()
        frames.append(values.reset_index().assign(arm=arm, fold=replicate.fold, seed=replicate.seed))
    columns = ["arm", "fold", "seed", "patient", "value"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
