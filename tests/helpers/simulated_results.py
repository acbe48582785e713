"""Simulated results tables with a known truth, for the tests of the analysis room."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medsweep.analysis.records import ArmInfo

CONTROL = "real only"


def arm(name: str, count: int, series: str | None = None, **levels: object) -> ArmInfo:
    """An arm; the one called ``real only`` is the control."""
    return ArmInfo(name, {"synthesise.count": count, **levels}, count, series, control=name == CONTROL)


def eight_arms() -> tuple[ArmInfo, ...]:
    """Real only; b-sg and mc-sg at 8, 16, 32; mc-sg 16 filtered."""
    arms = [arm(CONTROL, 0)]
    for pipeline in ("b-sg", "mc-sg"):
        for count in (8, 16, 32):
            levels = {"gan.pipeline": pipeline, "segment.min_iou": 0.0}
            arms.append(arm(f"{pipeline}, {count} patients", count, pipeline, **levels))
    levels = {"gan.pipeline": "mc-sg", "segment.min_iou": 0.7}
    arms.append(arm("mc-sg, 16 patients, IoU filter 0.7", 16, "mc-sg, IoU filter 0.7", **levels))
    return tuple(arms)


def simulate(
    arms: Sequence[ArmInfo],
    shifts: Mapping[str, float],
    *,
    patients: int = 16,
    folds: int = 1,
    seeds: int = 2,
    classes: Sequence[str] = ("1", "2"),
    run_sd: float = 0.003,
    residual_sd: float = 0.012,
    seed: int = 0,
) -> pd.DataFrame:
    """Dice and HD95 = patient + arm + run + residual; every patient is tested in one fold."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0.8, 0.06, size=patients)
    rows = []
    for info in arms:
        for fold in range(folds):
            for replicate in range(seeds):
                run = rng.normal(0, run_sd)
                for patient in range(fold, patients, folds):
                    for name in classes:
                        noise = rng.normal(0, residual_sd)
                        dice = float(np.clip(level[patient] + shifts.get(info.name, 0.0) + run + noise, 0.01, 0.99))
                        key = ("phantom", info.name, fold, replicate, f"case-{patient:03d}", name)
                        rows.append((*key, "dice", dice, "ok", f"{info.name}/{fold}/{replicate}"))
                        rows.append((*key, "hd95_mm", 40 * (1 - dice) + 1, "ok", f"{info.name}/{fold}/{replicate}"))
    columns = ["dataset", "arm", "fold", "seed", "patient", "class", "metric", "value", "status", "digest"]
    return pd.DataFrame(rows, columns=columns)


def simulate_pools(arms: Sequence[ArmInfo], *, seeds: int = 2, seed: int = 0) -> pd.DataFrame:
    """One pool per generator and seed, shared by its counts."""
    rng = np.random.default_rng(seed)
    rows = []
    for info in arms:
        if info.control:
            continue
        for replicate in range(seeds):
            digest = f"{info.levels['gan.pipeline']}-{replicate}"
            for metric, centre in (
                ("frechet", 24.0),
                ("frechet_floor", 6.0),
                ("iou_mean", 0.71),
                ("n_pool", 400.0),
                ("retention", 0.8),
            ):
                value = centre * (1 + 0.05 * rng.normal())
                rows.append((info.name, 0, replicate, digest, metric, value))
    return pd.DataFrame(rows, columns=["arm", "fold", "seed", "digest", "metric", "value"])


NO_POOLS = pd.DataFrame(columns=["arm", "fold", "seed", "digest", "metric", "value"])
