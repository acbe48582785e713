"""What judges say of single samples: those of the arms that the section ``accumulation:`` names, and real slices."""

import json
from collections.abc import Iterator

import pandas as pd

from medsweep.accumulation import Accumulation
from medsweep.analysis.study.mechanisms.misfit import CONTROL, LEFT_OUT, NO_SAMPLES
from medsweep.store.store import Store
from medsweep.study.chains import network_of
from medsweep.sweep.arms import Replicate
from medsweep.sweep.plan import Plan
from medsweep.trainers.pool import LEFT_OUT as REASONS
from medsweep.trainers.pool import SCORES
from medsweep.trial import COMPLETE


def sample_table(plan: Plan, store: Store, section: Accumulation) -> pd.DataFrame:
    """One row per sample and judge, and per real slice and judge, as ``misfits_of`` reads it.

    Columns: arm (empty for real slices), fold, seed, judge, patient, in_use, unseen, then those of ``scores.parquet``.
    Pools whose agreement says nothing are left out.
    """
    frames = list(_frames(plan, store, dict.fromkeys(arm for _, arm in section.places())))
    return pd.concat(frames, ignore_index=True) if frames else NO_SAMPLES


def _frames(plan: Plan, store: Store, arms: dict[str, None]) -> Iterator[pd.DataFrame]:
    from medsweep.trainers.assessment.real_side import read_judged  # it brings torch, which few reports need

    judged: dict[str, list[tuple[str, str]]] = {}
    for digest, trial in plan.trials.items():
        if trial.stage == "assess" and store.outcome("assess", digest) == COMPLETE:
            judge = LEFT_OUT if plan.trials[trial.inputs["judge"]].stage == "judge" else CONTROL
            judged.setdefault(trial.inputs["pool"], []).append((judge, digest))
    told: set[tuple[Replicate, str]] = set()
    for (arm, replicate), leaf in plan.leaves.items():
        for judge, digest in judged.get(network_of(plan, leaf).inputs.get("pool", ""), []) if arm in arms else []:
            output, real = store.output("assess", digest), plan.trials[digest].inputs["real"]
            if "consistency" not in json.loads((output / REASONS).read_text()):
                scores = pd.read_parquet(output / SCORES).assign(patient="", in_use=False, unseen=False)
                yield _placed(scores, arm, replicate, judge)
            if (replicate, real) not in told:
                told.add((replicate, real))
                yield _placed(read_judged(store.output("embed", real)), "", replicate, judge)


def _placed(rows: pd.DataFrame, arm: str, replicate: Replicate, judge: str) -> pd.DataFrame:
    return rows.assign(arm=arm, fold=replicate.fold, seed=replicate.seed, judge=judge)
