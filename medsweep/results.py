"""The tidy table: one row per dataset, arm, fold, seed, patient, class and metric, every missing cell by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from medsweep.config import Config
from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.design import Arm, Replicate
from medsweep.errors import UserError
from medsweep.plan import Plan
from medsweep.store import Store
from medsweep.trial import COMPLETE

KEYS = ["dataset", "arm", "fold", "seed", "patient", "class", "metric"]
METRICS = ("dice", "hd95_mm", "assd_mm", "surface_dice")


def tidy_table(plan: Plan, store: Store, dataset: str) -> pd.DataFrame:
    """Results of all arms and replicates, sorted by dataset, arm order, fold, seed, patient, class and metric.

    Columns: ``KEYS``, value, status, digest, then a column per factor. An arm whose trial diverged, or was made from
    one that did, has status ``diverged``; one whose trial is not there has ``absent``.

    Raises:
        UserError: nothing is prepared yet, so the patients are not known.
        DamagedError: a published result is not what was published.
    """
    factors = list(dict.fromkeys(dotted for arm in plan.arms for dotted in arm.levels))
    frames = []
    for arm in plan.arms:
        for replicate in plan.replicates:
            leaf = plan.leaves[arm.name, replicate]
            frame = _measured(plan, store, leaf)
            frame = frame.assign(
                dataset=dataset, arm=arm.name, fold=replicate.fold, seed=replicate.seed, digest=leaf,
                **{dotted: _cell(_value(arm, dotted)) for dotted in factors},
            )  # fmt: skip
            frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    return table[[*KEYS, "value", "status", "digest", *factors]]


def _measured(plan: Plan, store: Store, leaf: str) -> pd.DataFrame:
    trial = plan.trials[leaf]
    if store.outcome(trial.stage, leaf) == COMPLETE:
        store.verify(trial.stage, leaf)
        frame = pd.read_parquet(store.output(trial.stage, leaf) / "metrics.parquet")
        return frame[["patient", "class", "metric", "value", "status"]]
    outcomes = {store.outcome(plan.trials[digest].stage, digest) for digest in plan.ancestry(leaf)}
    status = "diverged" if "diverged" in outcomes else "absent"
    return _unmeasured(plan, store, leaf, status)


def _unmeasured(plan: Plan, store: Store, leaf: str, status: str) -> pd.DataFrame:
    trial = plan.trials[leaf]
    prepared = trial.inputs["prepare"]
    if store.outcome("prepare", prepared) != COMPLETE:
        raise UserError(
            f"the data of {plan.sweep} are not prepared yet, so there is nothing to tabulate; run the sweep first"
        )
    slices = SliceSet.open(store.output("prepare", prepared))
    fold = Fold.model_validate(dict(trial.config)["fold"])
    structures = [(name, "") for name in slices.classes[1:]] + [(name, "region_") for name in slices.regions]
    rows = [
        {"patient": patient, "class": name, "metric": f"{prefix}{metric}", "value": float("nan"), "status": status}
        for patient in split(slices.patients, fold).test
        for name, prefix in structures
        for metric in METRICS
    ]
    return pd.DataFrame(rows)


def pool_table(plan: Plan, store: Store) -> pd.DataFrame:
    """What is known about each arm's synthetic samples: columns arm, fold, seed, digest, metric, value.

    Scores come from the assessment of the arm's pool, validity of generated masks from the pool itself, exposure
    (slices seen, retention of the filter) from its U-Net.
    """
    assessed = {
        trial.inputs["pool"]: digest
        for digest, trial in plan.trials.items()
        if trial.stage == "assess" and store.outcome("assess", digest) == COMPLETE
    }
    rows: list[dict[str, Any]] = []
    for (arm, replicate), leaf in plan.leaves.items():
        pool = plan.trials[leaf].inputs.get("pool")
        if pool in assessed:
            scores = json.loads((store.output("assess", assessed[pool]) / "pool.json").read_text())
            rows += _rows(arm, replicate, assessed[pool], scores)
        if pool is not None:
            validity = store.output(plan.trials[pool].stage, pool) / "validity.json"
            if validity.is_file():
                rows += _rows(arm, replicate, pool, json.loads(validity.read_text()))
        exposure = store.output(plan.trials[leaf].stage, leaf) / "exposure.json"
        if exposure.is_file():
            rows += _rows(arm, replicate, leaf, json.loads(exposure.read_text()))
    return pd.DataFrame(rows, columns=["arm", "fold", "seed", "digest", "metric", "value"])


def _rows(arm: str, replicate: Replicate, digest: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    where = {"arm": arm, "fold": replicate.fold, "seed": replicate.seed, "digest": digest}
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return [{**where, "metric": name, "value": float(value)} for name, value in sorted(numbers.items())]


def _value(arm: Arm, dotted: str) -> Any:
    value: Any = arm.settings
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def _cell(value: Any) -> Any:
    if isinstance(value, Config):
        return value.model_dump_json()
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def write_tables(tables: Mapping[str, pd.DataFrame], folder: Path) -> list[Path]:
    """Write each table as ``NAME.parquet`` and ``NAME.csv``; the same table gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in tables.items():
        parquet, csv = folder / f"{name}.parquet", folder / f"{name}.csv"
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        for path, write in (
            (parquet, lambda target, arrow=arrow: pq.write_table(arrow, target)),
            (csv, lambda target, table=table: table.to_csv(target, index=False, lineterminator="\n")),
        ):
            temporary = path.with_name(f".{path.name}.tmp")
            write(temporary)  # type: ignore[no-untyped-call]
            temporary.replace(path)
            paths.append(path)
    return paths
