"""Samples as judges would see them where C-SG obeys, disobeys any mask, or odd ones; for tests of accumulation."""

import numpy as np
import pandas as pd

from medsweep.accumulation import Accumulation

SECTION = Accumulation(
    new_real="new real",
    same_real="same real",
    warped="warped",
    known_masks="known",
    new_masks="new",
    generated_masks="mc-sg",
    perturbed={"odd 1": 1.0, "odd 2": 2.0, "odd 3": 3.0},
)
SIZES = {"known": 0.0, "new": 0.0, "mc-sg": 2.0, "odd 1": 1.0, "odd 2": 2.0, "odd 3": 3.0}
"""How odd the masks of each arm are, in px."""


def simulate_samples(
    always: float = 0.0,
    per_px: float = 0.0,
    artefact: float = 0.0,
    *,
    runs: int = 5,
    judges: tuple[str, ...] = ("left-out",),
    shift: float = 0.0,
    blind: float | None = None,
    n: int = 150,
    seed: int = 0,
) -> pd.DataFrame:
    """Misfit of ``always`` px for all painted masks, ``per_px`` more for each px by which a mask is odd.

    Where ``blind`` is given, a control sees warped reals too, and any judge sees M-SG masks worse by so many px. M-SG
    masks have ``artefact`` px more. The last judge sees painted images ``shift`` px worse than the first.
    """
    rng, parts = np.random.default_rng(seed), []
    for run in range(runs):
        own = rng.normal(0, 0.03)
        for judge in judges:
            worse = shift if judge != judges[0] else 0.0
            patients = np.repeat([f"p{i}" for i in range(12)], 15)
            noise = np.repeat(rng.normal(0, 0.2, 12), 15)
            about = {"fold": run, "seed": 0, "judge": judge, "in_use": False}
            parts.append(_rows(rng, 1.5 + noise, 1 + 0 * noise, arm="", patient=patients, unseen=True, **about))
            if judge == "control" and blind is not None:
                for arm, worse_px in (("new real", 0.0), ("warped", blind)):
                    parts.append(
                        _rows(
                            rng,
                            rng.normal(1.5 + worse_px, 0.2, n),
                            np.ones(n),
                            arm=arm,
                            patient="",
                            unseen=False,
                            **about,
                        )
                    )
            for arm, size in SIZES.items():
                odd = size + rng.gamma(4, 0.25, n)
                misfit = (
                    1.5 + own + worse + always + per_px * (odd - 1) + (artefact + (blind or 0.0)) * (arm == "mc-sg")
                )
                parts.append(_rows(rng, misfit, odd, arm=arm, patient="", unseen=False, **about))
    return pd.concat(parts, ignore_index=True)


def _rows(rng, misfit, odd, **about) -> pd.DataFrame:
    count, area = len(misfit), rng.integers(40, 400, len(misfit))
    by_class = {
        f"class_{label}/{name}": values
        for label in (1, 2)
        for name, values in {
            "hd95_px": misfit + 0.1 * label + 0.2 * np.log(area / 100) + rng.normal(0, 0.3, count),
            "area_px": area.astype(float),
        }.items()
    }
    measures = {
        "dice": 0.9, "hd95_px": misfit + rng.normal(0, 0.3, count), "assd_px": misfit / 3, "bias_px": 0.0,
        "missed": 0.0, "nearest_px": odd, "log_density": -5.0 - odd,
    }  # fmt: skip
    return pd.DataFrame({**measures, **by_class, **about})
