"""What retraining alone moves, and tests that hold for the method rather than for these trained models.

Patients as blocks test the models at hand. With one held-out set the two-way test treats patients and runs as random
(Dorfman-Berbaum-Metz; Hillis 2007); with folds, fold means are the blocks, and Nadeau and Bengio 2003 allow for
training sets that overlap.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis.records import Array, Estimate, mean_estimate, t_estimate
from analysis.tables import Reduced


@dataclass(frozen=True)
class RunMean:
    """Mean over the patients of one run (one trained network); ``n`` patients with a finite value."""

    arm: str
    fold: int
    seed: int
    n: int
    value: float


@dataclass(frozen=True)
class Components:
    """SDs of one arm's scores, averaged over folds; NaN with one seed.

    ``between_seeds`` is the SD of run means inside a fold. Scores = patient + run + residual: a component estimated
    below 0 is 0.
    """

    arm: str
    folds: int
    seeds: int
    between_seeds: float
    patient: float
    run: float
    residual: float


@dataclass(frozen=True)
class MethodTest:
    """Arm minus control with runs as random, too; ``nadeau_bengio`` widens the fold-mean interval for overlap."""

    arm: str
    kind: Literal["two-way test", "paired t test of fold means"]
    units: int
    """Folds, or seeds of the one held-out set."""
    estimate: Estimate
    nadeau_bengio: Estimate | None
    test_over_train: float | None
    """Patients tested for each patient trained on, where folds are the units."""


def run_means(reduced: Reduced) -> tuple[RunMean, ...]:
    """One mean per arm x fold x seed, arms in their given order."""
    finite = reduced.cells[np.isfinite(reduced.cells["value"])]
    found = {
        key: (len(values), float(values.mean())) for key, values in finite.groupby(["arm", "fold", "seed"])["value"]
    }
    pairs = zip(reduced.cells["fold"], reduced.cells["seed"], strict=True)
    runs = sorted({(int(fold), int(seed)) for fold, seed in pairs})
    return tuple(
        RunMean(str(arm), fold, seed, *found.get((arm, fold, seed), (0, math.nan)))
        for arm in reduced.wide.columns
        for fold, seed in runs
    )


def components(reduced: Reduced, arm: str) -> Components:
    """Variance components from the crossed patient x seed table inside each fold."""
    cells = reduced.cells[reduced.cells["arm"] == arm]
    tables = [_patients_by_runs(fold) for _, fold in cells.groupby("fold")]
    squares = [mean_squares(table) for table in tables if min(table.shape) >= 2]
    if not squares:
        return Components(arm, len(tables), reduced.seeds, math.nan, math.nan, math.nan, math.nan)
    between = float(np.mean([table.mean(axis=0).var(ddof=1) for table in tables if min(table.shape) >= 2]))
    run = float(np.mean([(s.runs - s.residual) / s.n_patients for s in squares]))
    patient = float(np.mean([(s.patients - s.residual) / s.n_runs for s in squares]))
    residual = float(np.mean([s.residual for s in squares]))
    roots = [math.sqrt(max(value, 0.0)) for value in (between, patient, run, residual)]
    return Components(arm, len(tables), reduced.seeds, *roots)


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a crossed P x R table without replication."""

    n_patients: int
    n_runs: int
    patients: float
    runs: float
    residual: float


def mean_squares(y_PR: Array) -> MeanSquares:
    """Two-way analysis of variance of P patients x R runs, both at least 2."""
    p, r = y_PR.shape
    centred = y_PR - y_PR.mean()
    rows, columns = centred.mean(axis=1), centred.mean(axis=0)
    residual = centred - rows[:, None] - columns[None, :]
    return MeanSquares(
        n_patients=p,
        n_runs=r,
        patients=float(r * (rows**2).sum() / (p - 1)),
        runs=float(p * (columns**2).sum() / (r - 1)),
        residual=float((residual**2).sum() / ((p - 1) * (r - 1))),
    )


def two_way(d_PR: Array, level: float) -> Estimate:
    """Mean difference with patients and runs random, one held-out set; ``d_PR``: P patients x R runs, both >= 2.

    v = (MS_r + max(MS_p - MS_pr, 0)) / (P R), df = (P R v)^2 / (MS_r^2 / (R - 1)); Hillis 2007 for one pair.
    """
    squares = mean_squares(d_PR)
    if np.ptp(d_PR) == 0:
        return t_estimate(float(d_PR.flat[0]), 0.0, squares.n_runs - 1, level)
    spread = squares.runs + max(squares.patients - squares.residual, 0.0)
    df = spread**2 / (squares.runs**2 / (squares.n_runs - 1)) if squares.runs > 0 else math.inf
    return t_estimate(float(d_PR.mean()), math.sqrt(spread / d_PR.size), df, level)


def nadeau_bengio(d_J: Array, test_over_train: float, level: float) -> Estimate:
    """Corrected resampled t over J folds: var = s^2 (1/J + n_test/n_train) (Nadeau and Bengio 2003)."""
    plain = mean_estimate(d_J, level)
    j = len(d_J)
    return t_estimate(plain.value, plain.se * math.sqrt(1 + j * test_over_train), j - 1, level)


def method_test(
    reduced: Reduced, arm: str, control: str, level: float, test_over_train: float | None = None
) -> MethodTest | None:
    """The test that holds for the method; None with one fold and one seed, or fewer than two patients.

    ``test_over_train`` is n_test/n_train of a fold; where it is not given, the J folds are taken for those of a
    cross-validation, so that it is 1/(J-1): never smaller than the true one for an incomplete set of folds.
    """
    cells = reduced.cells[reduced.cells["arm"].isin([arm, control])]
    wide = cells.set_index(["fold", "patient", "seed", "arm"])["value"].unstack("arm")
    delta = (wide[arm] - wide[control]).rename("value").reset_index()
    infinite = delta.loc[~np.isfinite(delta["value"]), "patient"].unique()
    delta = delta[~delta["patient"].isin(infinite)]
    folds = delta["fold"].nunique()
    if folds >= 2:
        means = delta.groupby("fold")["value"].mean().to_numpy(dtype=np.float64).round(12)
        ratio = 1 / (folds - 1) if test_over_train is None else test_over_train
        corrected = nadeau_bengio(means, ratio, level)
        return MethodTest(arm, "paired t test of fold means", folds, mean_estimate(means, level), corrected, ratio)
    table = _patients_by_runs(delta)
    if min(table.shape) < 2:
        return None
    return MethodTest(arm, "two-way test", table.shape[1], two_way(table, level), None, None)


def _patients_by_runs(cells: pd.DataFrame) -> Array:
    """Patients x seeds of one fold; patients with an infinite value left out."""
    if cells.empty:
        return np.zeros((0, 0))
    wide = cells.set_index(["patient", "seed"])["value"].unstack("seed").sort_index()
    table: Array = wide.to_numpy(dtype=np.float64).round(12)
    return table[np.isfinite(table).all(axis=1)]
