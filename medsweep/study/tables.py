"""The tidy table: one row per dataset, arm, fold, seed, patient, class and metric, every missing cell by name."""

import json
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import to_jsonable_python

from medsweep.analysis.table.user_table import NO_DIAGNOSIS
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.files import write_atomic
from medsweep.metrics import REGION, SCORES, STRUCTURE_METRICS
from medsweep.store.sound import sound_file, sound_json
from medsweep.store.store import Store
from medsweep.study.chains import network_of
from medsweep.study.patients import of_patients
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Plan, PlannedTrial
from medsweep.trainers.diagnosis.config import TABLE
from medsweep.trainers.pool import ASSESSMENT, LEFT_OUT, PROFILE
from medsweep.trial import COMPLETE

KEYS = ["dataset", "arm", "fold", "seed", "patient", "class", "metric"]
BEST = "metrics_best.parquet"

MEASURED = {
    **dict.fromkeys(("n_ref", "n_pred", "tp", "fp", "fn"), "Int64"),
    **dict.fromkeys(("volume_ref_ml", "volume_pred_ml", "boundary_bias_mm", "diagonal_mm"), "float64"),
}
"""What every row says of its structure, and its type; null where nothing was measured. From voxel counts (reference,
prediction, both, either alone), volumes, signed surface shift (positive = grown) and the volume's diagonal, any rule
for empty masks can be applied afterwards."""

PATIENT = ["dataset", "arm", "patient", "class"]
UNSCORED = ("diverged", "absent")


def tidy_table(plan: Plan, store: Store, dataset: str) -> pd.DataFrame:
    """The table of ``case_table`` with one row for all cases of a patient (see ``of_patients``).

    Raises:
        UserError, DamagedError: as ``case_table``.
    """
    return of_patients(case_table(plan, store, dataset))


def case_table(plan: Plan, store: Store, dataset: str) -> pd.DataFrame:
    """Results of all arms and replicates, sorted by dataset, arm order, fold, seed, patient, class and metric.

    ``patient`` is the id of the case, ``PATIENT/CASE`` where a patient has several.

    Columns: ``KEYS``, value, status, those of ``MEASURED``, digest, then a column per factor, empty for the control
    where it does not set the factor. An arm whose trial
    diverged, or was made from one that did, has status ``diverged``; one whose trial is not there has ``absent``.

    Raises:
        UserError: nothing is prepared yet, so the patients are not known.
        DamagedError: a published result is not what was published.
    """
    return _table(plan, dataset, {leaf: _measured(plan, store, leaf) for leaf in dict.fromkeys(plan.leaves.values())})


def best_table(plan: Plan, store: Store, dataset: str) -> pd.DataFrame:
    """The same table of the weights that validation liked best, for the trials that looked for them; else no rows.

    Raises:
        DamagedError: a published result is not what was published.
    """
    stages = {leaf: plan.trials[leaf].stage for leaf in plan.leaves.values()}
    outputs = {leaf: store.output(stage, leaf) for leaf, stage in stages.items() if _complete(store, stage, leaf)}
    looked = [leaf for leaf, output in outputs.items() if (output / BEST).is_file()]
    return of_patients(_table(plan, dataset, {leaf: _scores(store, stages[leaf], leaf, BEST) for leaf in looked}))


def patient_table(results: pd.DataFrame) -> pd.DataFrame:
    """For people: one row per dataset, arm, patient and class of a tidy table, sorted by these.

    Columns: dataset, arm, patient, class, runs (folds and seeds in which the patient was scored, empty masks included),
    then per metric its mean over the runs with a finite value, under its own name, and their number, ``n_METRIC``.
    Metrics are in the order of ``SCORES``, those without a record last. A missed structure has Dice 0 but no finite
    distance, so n differs between metrics; a mean is NaN where n is 0.
    """
    scored = results[~results["status"].isin(UNSCORED)]
    finite = scored[np.isfinite(scored["value"])]
    table = results[PATIENT].drop_duplicates().sort_values(PATIENT).set_index(PATIENT)
    runs = scored.drop_duplicates([*PATIENT, "fold", "seed"]).groupby(PATIENT).size()
    table["runs"] = runs.reindex(table.index, fill_value=0)
    measured = set(results["metric"])
    for metric in [name for name in SCORES if name in measured] + sorted(measured - set(SCORES)):
        values = finite[finite["metric"] == metric].groupby(PATIENT)["value"]
        table[metric] = values.mean().reindex(table.index)
        table[f"n_{metric}"] = values.size().reindex(table.index, fill_value=0)
    return table.reset_index()


def _table(plan: Plan, dataset: str, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The frames of the leaves in the plan's order, with the keys of arm and replicate, digest and factors."""
    factors = list(dict.fromkeys(dotted for arm in plan.arms for dotted in arm.levels))
    rows = [
        frames[leaf].assign(
            dataset=dataset, arm=arm.name, fold=replicate.fold, seed=replicate.seed, digest=leaf,
            **{dotted: _cell(_level(arm, dotted)) for dotted in factors},
        )
        for arm in plan.arms
        for replicate in plan.replicates
        if (leaf := plan.leaves[arm.name, replicate]) in frames
    ]  # fmt: skip
    columns = [*KEYS, "value", "status", *MEASURED, "digest", *factors]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def _level(arm: Arm, dotted: str) -> Any:
    """What the arm has there; nothing for a factor that the control does not set, since a default is no level."""
    if arm.is_control and dotted not in arm.levels:
        return None
    return attrgetter(dotted)(arm.settings)


def _measured(plan: Plan, store: Store, leaf: str) -> pd.DataFrame:
    stage = plan.trials[leaf].stage
    if _complete(store, stage, leaf):
        return _scores(store, stage, leaf, "metrics.parquet")
    outcomes = {store.outcome(plan.trials[digest].stage, digest) for digest in plan.ancestry(leaf)}
    status = "diverged" if "diverged" in outcomes else "absent"
    return _unmeasured(plan, store, leaf, status)


def _complete(store: Store, stage: str, digest: str) -> bool:
    return store.outcome(stage, digest) == COMPLETE


def _scores(store: Store, stage: str, leaf: str, name: str) -> pd.DataFrame:
    store.verify(stage, leaf)
    frame = pd.read_parquet(store.output(stage, leaf) / name)
    return frame[["patient", "class", "metric", "value", "status", *MEASURED]].astype(MEASURED)


def _unmeasured(plan: Plan, store: Store, leaf: str, status: str) -> pd.DataFrame:
    trial = plan.trials[leaf]
    slices = SliceSet.open(store.output("prepare", require_prepared(plan, store, trial)))
    structures = [(name, "") for name in slices.classes[1:]] + [(name, REGION) for name in slices.regions]
    rows = [
        {"patient": patient, "class": name, "metric": f"{prefix}{metric}", "value": float("nan"), "status": status}
        for patient in split(slices.patients, cut_of(trial)).test
        for name, prefix in structures
        for metric in STRUCTURE_METRICS
    ]
    return pd.DataFrame(rows).assign(**dict.fromkeys(MEASURED)).astype(MEASURED)


def require_prepared(plan: Plan, store: Store, trial: PlannedTrial) -> str:
    """The digest of the prepared slices that a trial reads. Raises UserError: they are not there yet."""
    prepared = trial.inputs["prepare"]
    if store.outcome("prepare", prepared) != COMPLETE:
        raise UserError(f"the data of {plan.sweep} are not prepared yet; medsweep run first")
    return prepared


def cut_of(trial: PlannedTrial) -> Fold:
    """The fold of a trial that is fitted on patients."""
    if (fold := trial.config.cut) is None:
        raise ValueError(f"{trial.stage} {trial.digest} is fitted on nobody, so it tests nobody")
    return fold


def pool_table(plan: Plan, store: Store) -> pd.DataFrame:
    """What is known about each arm's synthetic samples: columns arm, fold, seed, digest, metric, value.

    Scores come from the assessment of the arm's pool and from its profile, validity of generated masks from the pool
    itself, exposure (slices seen, what the filter kept and what that did to diversity) from its U-Net.

    Raises:
        DamagedError: what is read is not what was published.
    """
    assessed, profiled = assessments(plan, store), profiles(plan, store)
    rows: list[dict[str, Any]] = []
    for (arm, replicate), leaf in plan.leaves.items():
        network = network_of(plan, leaf)
        pool = network.inputs.get("pool")
        told = [(network.stage, network.digest, "exposure.json")]
        if pool is not None:
            told.insert(0, (plan.trials[pool].stage, pool, "validity.json"))
        if pool in profiled:
            told.insert(0, ("profile", profiled[pool], PROFILE))
        if pool in assessed:
            told.insert(0, ("assess", assessed[pool], ASSESSMENT))
        for stage, digest, name in told:
            rows += _rows(arm, replicate, digest, sound_json(store, stage, digest, name))
    return pd.DataFrame(rows, columns=["arm", "fold", "seed", "digest", "metric", "value"])


def diagnosis_table(plan: Plan, store: Store) -> pd.DataFrame:
    """What the diagnose stage found in each arm's networks: arm, fold, seed, digest, then the columns of its table."""
    diagnoses = {
        trial.inputs["network"]: digest
        for digest, trial in plan.trials.items()
        if trial.stage == "diagnose" and _complete(store, "diagnose", digest)
    }
    frames = []
    for (arm, replicate), leaf in plan.leaves.items():
        digest = diagnoses.get(network_of(plan, leaf).digest)
        path = None if digest is None else sound_file(store, "diagnose", digest, TABLE)
        if path is not None:
            found = pd.read_parquet(path)
            frames.append(found.assign(arm=arm, fold=replicate.fold, seed=replicate.seed, digest=digest))
    columns = list(NO_DIAGNOSIS.columns)
    return pd.concat(frames, ignore_index=True)[columns] if frames else NO_DIAGNOSIS


def assessments(plan: Plan, store: Store) -> dict[str, str]:
    """The published assessment of each pool; where a filter has one of its own, that of the other judge."""
    listed = [
        (plan.trials[trial.inputs["judge"]].stage == "judge", trial.inputs["pool"], digest)
        for digest, trial in plan.trials.items()
        if trial.stage == "assess" and store.outcome("assess", digest) == COMPLETE
    ]
    return {pool: digest for _, pool, digest in sorted(listed)}


def profiles(plan: Plan, store: Store) -> dict[str, str]:
    """The published profile of each pool that has one."""
    return {
        trial.inputs["pool"]: digest
        for digest, trial in plan.trials.items()
        if trial.stage == "profile" and _complete(store, "profile", digest)
    }


def profile_curves(plan: Plan, store: Store, file: str) -> pd.DataFrame | None:
    """A table of all profiles, with arm, fold and seed; None where none has rows."""
    found = profiles(plan, store)
    frames = [
        pd.read_parquet(store.output("profile", found[pool]) / file).assign(
            arm=arm, fold=replicate.fold, seed=replicate.seed
        )
        for (arm, replicate), leaf in plan.leaves.items()
        if (pool := network_of(plan, leaf).inputs.get("pool")) in found
    ]
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else None


def agreement_left_out(plan: Plan, store: Store) -> tuple[str, ...]:
    """One sentence for each reason why assessments do not tell how masks agree with their images, with the arms."""
    assessed = assessments(plan, store)
    arms: dict[tuple[str, str], list[str]] = {}
    for (arm, _), leaf in plan.leaves.items():
        pool = network_of(plan, leaf).inputs.get("pool")
        if pool in assessed:
            told = sound_json(store, "assess", assessed[pool], LEFT_OUT)
            for kind in ("consistency",) if "consistency" in told else tuple(told):
                arms.setdefault((kind, told[kind]), []).append(arm)
    what = {"consistency": "Consistency of masks and images", "excess": "Excess over unseen real slices"}
    return tuple(
        f"{what[kind]}, not told for {', '.join(dict.fromkeys(names))}: {reason}."
        for (kind, reason), names in arms.items()
    )


def _rows(arm: str, replicate: Replicate, digest: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    where = {"arm": arm, "fold": replicate.fold, "seed": replicate.seed, "digest": digest}
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return [{**where, "metric": name, "value": float(value)} for name, value in sorted(numbers.items())]


def _cell(value: Any) -> Any:
    """A level as a cell: what is neither text, number nor truth value becomes JSON."""
    return value if value is None or isinstance(value, str | int | float) else json.dumps(to_jsonable_python(value))


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write each table as ``NAME.parquet`` and ``NAME.csv``; the same table gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
        write_atomic(parquet, table.to_parquet(index=False))
        write_atomic(csv, table.to_csv(index=False, lineterminator="\n"))
        paths += [parquet, csv]
    return paths
