"""Scores made as arrays, for the tests of what runs and factors do."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medsweep.analysis.stats.method_tests import MethodTest, contrast_test
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import scores_of
from medsweep.metrics import SCORES


def reduced_of(
    folds: np.ndarray | Sequence[tuple[np.ndarray, Sequence[int]]],
    arms: Sequence[str] | None = None,
    metric: str = "dice",
) -> Reduced:
    """One arms x patients x seeds array per fold with its patients' numbers; a bare array is one held-out set."""
    parts = [(folds, range(folds.shape[1]))] if isinstance(folds, np.ndarray) else folds
    names = list(arms or [f"arm {i}" for i in range(parts[0][0].shape[0])])
    rows = [
        (names[a], fold, seed, f"case-{number:03d}", float(y[a, place, seed]))
        for fold, (y, patients) in enumerate(parts)
        for a in range(len(names))
        for seed in range(y.shape[2])
        for place, number in enumerate(patients)
    ]
    cells = pd.DataFrame(rows, columns=["arm", "fold", "seed", "patient", "value"])
    wide = cells.groupby(["patient", "arm"])["value"].mean().unstack("arm")[names].sort_index().round(12)
    none = dict.fromkeys(names, 0)
    return Reduced(SCORES[metric], wide, cells, (), none, none)


def method_test(
    reduced: Reduced, arm: str, control: str, level: float, ratio: float | None = None
) -> MethodTest | None:
    """The test of one pair alone."""
    return contrast_test(scores_of(reduced, [control, arm]), arm, np.array([-1.0, 1.0]), level, ratio)


def crossed(rng, arms=4, patients=24, seeds=5, *, run_sd=0.003, arm_sd=0.01, shifts=0.0) -> np.ndarray:
    """Arms x patients x seeds: patient + patient x arm + run + residual, as in the notes' simulation."""
    y = 0.8 + rng.normal(0, 0.06, (1, patients, 1)) + rng.normal(0, arm_sd, (arms, patients, 1))
    y = y + rng.normal(0, run_sd, (arms, 1, seeds)) + rng.normal(0, 0.02, (arms, patients, seeds))
    return y + np.reshape(shifts, (-1, 1, 1))


def cut(rng, arms=4, patients=24, seeds=5, folds=4, **settings) -> list[tuple[np.ndarray, list[int]]]:
    """The same, patients dealt to folds, each fold with runs of its own."""
    mine = [list(range(fold, patients, folds)) for fold in range(folds)]
    return [(crossed(rng, arms, len(part), seeds, **settings), part) for part in mine]


def overlapping(rng, patients=30, tested=10, folds=6, arms=2):
    """Hold-out repeated on the same patients, whose differences between arms stay what they are."""
    own = rng.normal(0, 0.01, (arms, patients, 1))
    drawn = [sorted(rng.choice(patients, tested, replace=False).tolist()) for _ in range(folds)]
    return [(0.8 + own[:, mine] + rng.normal(0, 0.005, (arms, tested, 2)), mine) for mine in drawn]
