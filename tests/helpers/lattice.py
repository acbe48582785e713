"""A made-up study of causes: arms with planted costs, laws of their pools, and what networks were diagnosed with."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from medsweep.analysis.records import Estimate
from medsweep.analysis.study.mechanisms.causes import Costs
from medsweep.analysis.study.mechanisms.laws import LAWS, Delivery, Dose
from medsweep.mechanism import CAUSES, CELLS, Cause, Mechanism

ARMS = Mechanism(
    explain="gan",
    exposure="again",
    ceiling="new",
    ladder=("new", "images", "gan"),
    lattice={cell: f"cell {cell}" for cell in CELLS},
)
NAMES = ["real", "again", "new", "images", "gan", *ARMS.lattice.values()]
LAWS_OF = {
    "labels": {"law_bias_px": 1.1, "law_random_px": 0.1},
    "look": {"law_look": 0.6},
    "variety": {"law_vendi_share": 0.3},
}
"""What a cause makes of a law; without it all are 0, and the Vendi share 1."""
STEPS = ("new to images", "images to gan")
"""Of the ladder."""
CLEAN = {"law_bias_px": 0.0, "law_random_px": 0.0, "law_look": 0.05, "law_vendi_share": 1.0}


def score_table(
    costs: Mapping[str, float], *, seeds: int = 5, patients: int = 24, run_sd: float = 0.004, names: list[str] = NAMES
) -> pd.DataFrame:
    """Dice of every arm, less its cost."""
    rng = np.random.default_rng(4)
    level, rows = rng.normal(0.8, 0.05, patients), []
    for arm in names:
        own = rng.normal(0, 0.006, patients)
        for run in range(seeds):
            values = level - costs.get(arm, 0.0) + own + rng.normal(0, run_sd) + rng.normal(0, 0.006, patients)
            rows += [("d", arm, 0, run, f"p{i:02d}", "all", "dice", one, "ok") for i, one in enumerate(values)]
    columns = ["dataset", "arm", "fold", "seed", "patient", "class", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns)


def planted(**costs: float) -> dict[str, float]:
    """Costs of the arms whose causes add up; the explained arm has all of them."""
    found = {arm: sum(costs.get(cause, 0.0) for cause in CELLS[cell]) for cell, arm in ARMS.lattice.items()}
    total = sum(costs.values())
    return {**found, "gan": total, "images": total / 2}


def law_pools(causes: tuple[str, ...], *, seeds: int = 5, noise: float = 0.02, **wrong: float) -> pd.DataFrame:
    """Laws of all pools where the explained arm has these causes; ``wrong``: ``CELL__LAW`` to another value."""
    rng = np.random.default_rng(8)
    has = {"again": (), "new": (), "images": causes, "gan": causes}
    has |= {arm: tuple(one for one in CELLS[cell] if one in causes) for cell, arm in ARMS.lattice.items()}
    rows = []
    for arm, some in has.items():
        laws = dict(CLEAN)
        for cause in some:
            laws |= LAWS_OF[cause]
        laws |= {
            law: value for place, value in wrong.items() for cell, law in [place.split("__")] if arm == f"cell {cell}"
        }
        if arm == "gan":
            laws |= {"law_domain_auc": 0.95 if "look" in some else 0.55}
        for seed in range(seeds):
            for law, value in laws.items():
                one = value + rng.normal(0, noise)
                bounds = (
                    {law: one, f"{law}_low": one - 0.15, f"{law}_high": one + 0.15}
                    if law.endswith("_px")
                    else {law: one}
                )
                rows += [(arm, 0, seed, arm, name, found) for name, found in bounds.items()]
            floor = {"law_domain_auc_floor_low": 0.3, "law_domain_auc_floor_high": 0.7, "law_judges_differ": 0.0}
            rows += [(arm, 0, seed, arm, name, found) for name, found in floor.items()]
    return pd.DataFrame(rows, columns=["arm", "fold", "seed", "digest", "metric", "value"])


def profile_curves(arms: tuple[str, ...] = ("gan", "new")) -> dict[str, pd.DataFrame]:
    """Intensities along edges and curves of variety, of two folds; the explained arm's edges lie 1 px further in."""
    edges, variety = [], []
    for fold, arm in itertools.product((0, 1), arms):
        for modality, height in (("t1", 1.0), ("t2", 30.0)):
            for distance in np.arange(-5.5, 6):
                real, pool = (height * (fold + np.tanh(distance - offset)) for offset in (0.0, float(arm == "gan")))
                edges.append((arm, fold, 0, modality, distance, real, pool))
        variety += [
            (arm, fold, 0, "real", k, draw, 3.0 * k + draw + fold) for k in (1.0, 2.0, 5.0) for draw in range(3)
        ]
        variety.append((arm, fold, 0, "pool", np.nan, 0, 6.5 if arm == "gan" else 15.0))
    where = ["arm", "fold", "seed"]
    return {
        "edges": pd.DataFrame(edges, columns=[*where, "modality", "distance_px", "real", "pool"]),
        "variety": pd.DataFrame(variety, columns=[*where, "source", "patients", "draw", "vendi"]),
    }


PERCENTS = (10, 25, 50, 75, 100)
PARTS = ("all", "encoder 1", "bottleneck", "head")


def diagnosis_of(
    arms: tuple[str, ...] = ("gan", "again", "new"),
    *,
    opposed: tuple[str, ...] = (),
    boundary: float = 0.25,
    seeds: int = 5,
) -> pd.DataFrame:
    """Tables of the diagnose stage; the gradients of the ``opposed`` arms point away from held-out slices."""
    rng = np.random.default_rng(6)
    rows = []
    for arm in arms:
        for seed in range(seeds):
            rows += [(arm, 0, seed, f"{arm} {seed}", *row) for row in _rows(rng, boundary, opposed=arm in opposed)]
    columns = ["arm", "fold", "seed", "digest", "when", "quantity", "group", "source", "value"]
    return pd.DataFrame(rows, columns=columns)


def _rows(rng: np.random.Generator, boundary: float, *, opposed: bool) -> list[tuple[str, str, str, str, float]]:
    def near(value: float) -> float:
        return float(value + rng.normal(0, 0.03))

    pool = -0.1 if opposed else 0.88
    rows = []
    for when in ("early", "late", *map(str, PERCENTS)):
        for part in PARTS:
            cosines = {"pool": pool, "train": 0.9, "held-out again": 0.95}
            rows += [(when, "cosine_with_held_out", part, source, near(value)) for source, value in cosines.items()]
            rows += [(when, "norm_ratio", part, "pool", near(1.0)), (when, "noise_scale", part, "pool", near(5.0))]
            rows += [
                (when, "influence", part, "pool", near(pool)),
                (when, "influence", part, "held-out again", near(1.1)),
            ]
    for when in map(str, PERCENTS):
        losses = {"train": 0.2, "held-out": 0.25, "pool": boundary}
        for source, value in losses.items():
            rows += [(when, "cross_entropy", group, source, near(value)) for group in ("all", "boundary", "rest")]
            rows += [
                (when, "soft_dice_loss", "organ", source, near(0.2)),
                (when, "signed_residual_px", "all", source, near(0.0)),
            ]
        rows += [
            (when, "generalisation_gap", "all", "held-out - train", near(0.05)),
            (when, "memorisation_gap", "all", "train - pool", near(-0.05)),
        ]
    for level in PARTS[1:]:
        for name in ("", "control_"):
            for source, value in {"pool": 0.95, "train": 0.5}.items():
                found = {"domain_auc": value, "domain_auc_sd": 0.1, "mean_shift": 0.3}
                rows += [("100", f"{name}{key}", level, source, near(one)) for key, one in found.items()]
        rows.append(("100", "cka_with_control", level, "held-out", near(0.9)))
    for name in ("", "control_"):
        rows.append(("100", f"{name}batch_norm_kl", "encoder.0.norm", "pool", near(0.4)))
        rows.append(("100", f"{name}batch_norm_running_kl", "encoder.0.norm", "held-out", near(0.1)))
    return rows


def cost(value: float, half: float = 0.004) -> Estimate:
    """A cost whose interval goes ``half`` to either side."""
    return Estimate(value, half / 2, 20.0, 0.01, value - half, value + half, 0.95)


def costs(labels: float = 0.05, look: float = 0.0, variety: float = 0.0, half: float = 0.004, **changes: Any) -> Costs:
    """Costs that add up, but for ``changes`` of the record."""
    by_cause = {cause: cost(value, half) for cause, value in zip(CAUSES, (labels, look, variety), strict=True)}
    total = labels + look + variety
    record = Costs(
        levels={"harm": cost(total / 2), "shortfall": cost(total), "net cost": cost(total / 2)},
        ladder={step: cost(total / 2) for step in STEPS},
        shares=by_cause,
        added=by_cause,
        removed=by_cause,
        joint={cell: cost(sum(by_cause[one].value for one in on), half) for cell, on in CELLS.items() if len(on) > 1},
        interactions={cell: cost(0.0) for cell, on in CELLS.items() if len(on) == 2},
        unexplained=cost(0.0),
        one_run=False,
        runs=5,
    )
    return replace(record, **changes)


def delivery(missing: tuple[str, ...] = (), nothing: Collection[Cause] = (), **wrong: float) -> Delivery:
    """Delivered in full, but for ``CELL__LAW``; the explained arm has 1 of every law, and new real slices have 0.

    Of the laws of causes that the pool has ``nothing`` of, all have 1.
    """
    doses = []
    for cell, on in CELLS.items():
        for law in LAWS:
            value = wrong.get(f"{cell}__{law.column}", float(law.cause in {*on, *nothing}))
            doses.append(Dose(cell, law.column, law.cause, float(law.cause in nothing), 1.0, value, 5))
    return Delivery(tuple(doses), missing)
