"""When will a sweep with several looks stop? By simulation of its verdicts, before anything is run."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from medsweep.analysis.stats.arm_tests import Family
from medsweep.analysis.stats.dunnett import quantiles
from medsweep.analysis.stats.power import Size, Spread, patient_arm
from medsweep.analysis.stats.sequential import Look

DRAWS: Final = 4000


def stop_shares(
    size: Size,
    spread: Spread,
    looks: Sequence[Look],
    *,
    margin: float,
    difference: float,
    equivalence: Family = "each",
) -> tuple[float, ...]:
    """Chance to stop at each look where every arm truly differs by ``difference``; they sum to 1.

    Stopped is once every arm has a verdict, and at the last look. ``size`` is that of the first look. An arm's mean is
    its patient part, the same at each look, and the mean of its seeds; standard errors are taken as known, and t
    quantiles have the degrees of freedom of the units of two arms.
    """
    rng, n, arms = np.random.default_rng(0), size.patients, size.comparisons
    seeds = np.array([look.seeds for look in looks])
    patient = patient_arm(size, spread) ** 2 / n
    seed = spread.run**2 / size.folds + spread.residual**2 * size.seeds / (n * size.scores)
    steps = np.sqrt(seed * np.diff(seeds, prepend=0)) * rng.standard_normal((DRAWS, arms + 1, len(looks)))
    means = steps.cumsum(axis=2) / seeds + math.sqrt(patient) * rng.standard_normal((DRAWS, arms + 1, 1))
    found = np.abs(means[:, 1:] - means[:, :1] + difference)
    units = seeds if size.folds == 1 else np.full_like(seeds, size.folds)
    answered = np.ones((DRAWS, len(looks)), dtype=bool)
    for at, look in enumerate(looks[:-1]):
        error, df = math.sqrt(2 * (patient + seed / look.seeds)), np.array([2.0 * (units[at] - 1)])
        wide = error * quantiles(df, arms, 1 - look.alpha)
        narrow = error * quantiles(df, arms if equivalence == "family" else 1, 1 - 2 * look.alpha)
        shown, inside = found[:, :, at] > wide, found[:, :, at] + narrow < margin
        answered[:, at] = (shown | inside).all(axis=1)
    shares = np.bincount(answered.argmax(axis=1), minlength=len(looks)) / DRAWS
    return tuple(shares.tolist())
