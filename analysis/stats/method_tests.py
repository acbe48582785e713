"""What retraining alone moves, and tests that hold for the method rather than for these trained models.

Patients as blocks test the models at hand. With one held-out set the two-way test treats patients and runs as random
(Dorfman-Berbaum-Metz; Hillis 2007); with folds, fold means are the blocks, and Nadeau and Bengio 2003 allow for
training sets that overlap. Where test patients overlap, too, only the latter is honest.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medsweep.analysis.records import Array, Estimate, mean_estimate
from medsweep.analysis.stats.contrast_tests import (
    FTest,
    basis,
    hillis_f,
    mean_squares,
    nadeau_bengio,
    repeated_f,
    two_way,
)
from medsweep.analysis.stats.omnibus import NoOmnibus
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import Codes, Replication, ScoreArray, scores_of


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
    """Arm minus control with runs as random, too; ``estimate`` is always the one to be used.

    ``nadeau_bengio`` widens the fold-mean interval for overlap. For folds that share no patient it stands beside the
    plain one; for a repeated hold-out, where the plain one is too narrow, it is the one to be used.
    """

    arm: str
    kind: Literal["two-way test", "paired t test of fold means", "corrected t test of overlapping folds"]
    units: int
    """Folds, or seeds of the one held-out set."""
    estimate: Estimate
    nadeau_bengio: Estimate | None
    test_over_train: float | None
    """Patients tested for each patient trained on, where folds are the units."""
    design: Replication = Replication.HELD_OUT
    patients: int = 0
    """Patients with a finite score in both arms."""


@dataclass(frozen=True)
class RunOmnibus:
    """Do any of the k arms differ, runs taken as random?

    ``n`` patients with a finite score in every arm, ``left_out`` without; ``units`` are the folds, or the seeds of the
    held-out set.
    """

    arms: tuple[str, ...]
    design: Replication
    n: int
    left_out: int
    units: int
    test: FTest
    note: str = ""

    @property
    def k(self) -> int:
        """Number of arms."""
        return len(self.arms)


def run_means(reduced: Reduced) -> tuple[RunMean, ...]:
    """One mean per arm x fold x seed, arms in their given order."""
    scores = scores_of(reduced)
    means_of_arm: list[list[RunMean]] = [[] for _ in scores.arms]
    for fold, seeds, cells in zip(scores.folds, scores.seeds, scores.fold_cells(), strict=True):
        table_APR = scores.values[:, cells].reshape(len(scores.arms), -1, len(seeds))
        finite = np.isfinite(table_APR)
        counts = finite.sum(axis=1)
        sums = np.where(finite, table_APR, 0.0).sum(axis=1)
        means = np.divide(sums, counts, out=np.full(sums.shape, math.nan), where=counts > 0)
        for i, arm in enumerate(scores.arms):
            means_of_arm[i] += [
                RunMean(arm, fold, seed, int(counts[i, r]), float(means[i, r])) for r, seed in enumerate(seeds)
            ]
    return tuple(mean for means in means_of_arm for mean in means)


def all_components(reduced: Reduced) -> tuple[Components, ...]:
    """Variance components of every arm, from the crossed patient x seed table inside each fold."""
    scores, seeds = scores_of(reduced), reduced.seeds
    return tuple(_components(scores, i, seeds) for i in range(len(scores.arms)))


def _components(scores: ScoreArray, row: int, seeds: int) -> Components:
    tables = []
    for cells, fold_seeds in zip(scores.fold_cells(), scores.seeds, strict=True):
        table = scores.values[row, cells].reshape(-1, len(fold_seeds)).round(12)
        tables.append(table[np.isfinite(table).all(axis=1)])
    squares = [(mean_squares(table), table) for table in tables if min(table.shape) >= 2]
    if not squares:
        return Components(scores.arms[row], len(tables), seeds, *[math.nan] * 4)
    between = float(np.mean([table.mean(axis=0).var(ddof=1) for _, table in squares]))
    run = float(np.mean([(s.runs - s.residual) / s.n_patients for s, _ in squares]))
    patient = float(np.mean([(s.patients - s.residual) / s.n_runs for s, _ in squares]))
    residual = float(np.mean([s.residual for s, _ in squares]))
    return Components(scores.arms[row], len(tables), seeds, *map(_root, (between, patient, run, residual)))


def method_tests(
    reduced: Reduced, control: str, level: float, test_over_train: float | None = None
) -> tuple[MethodTest | None, ...]:
    """Every other arm against the control, in the arms' order; None where ``contrast_test`` has no test."""
    scores = scores_of(reduced)
    identity = np.eye(len(scores.arms))
    weights_AA = identity - identity[scores.arms.index(control)]
    return tuple(
        contrast_test(scores, arm, weights_A, level, test_over_train)
        for arm, weights_A in zip(scores.arms, weights_AA, strict=True)
        if arm != control
    )


def contrast_test(
    scores: ScoreArray, name: str, weights_A: Array, level: float, test_over_train: float | None
) -> MethodTest | None:
    """The test of one contrast of arms that holds for the method; None with one run or fewer than two patients.

    Patients with an infinite score in an arm of the contrast are left out. ``test_over_train`` is n_test/n_train of a
    fold; where it is not given, the J folds of a cross-validation have 1/(J-1), never smaller than the true one for an
    incomplete set of folds, and those of a repeated hold-out what the table tells (``ScoreArray.test_over_train``).
    """
    used: Codes = np.flatnonzero(weights_A)
    keep = scores.finite_cells(used)
    z_1K = np.where(keep, weights_A[used] @ np.where(keep, scores.values[used], 0.0), 0.0)[None]
    patients = len(np.unique(scores.patient[keep]))
    if scores.design is Replication.HELD_OUT:
        (table,) = scores.crossed(z_1K, keep)
        if min(table.shape) < 2:
            return None
        return MethodTest(name, "two-way test", table.shape[1], two_way(table, level), None, None, patients=patients)
    means = scores.fold_means(z_1K, keep)[0]
    j = len(means)
    if j < 2:
        return None
    ratio = _ratio(scores, j) if test_over_train is None else test_over_train
    corrected = nadeau_bengio(means, ratio, level)
    apart = scores.design is Replication.CROSS_VALIDATION
    return MethodTest(
        arm=name,
        kind="paired t test of fold means" if apart else "corrected t test of overlapping folds",
        units=j,
        estimate=mean_estimate(means, level) if apart else corrected,
        nadeau_bengio=corrected,
        test_over_train=ratio,
        design=scores.design,
        patients=patients,
    )


def run_omnibus(reduced: Reduced, test_over_train: float | None = None) -> RunOmnibus | NoOmnibus:
    """All k arms at once: Dorfman-Berbaum-Metz-Hillis F on a held-out set, repeated-measures F of fold means else.

    With folds whose test patients overlap, F is divided by 1 + J n_test/n_train, as Nadeau and Bengio widen the t test.
    """
    scores = scores_of(reduced)
    k = len(scores.arms)
    if k < 3:
        return NoOmnibus("two arms: the test of the pair is the test")
    keep = scores.finite_cells(np.arange(k))
    n = len(np.unique(scores.patient[keep]))
    if n < 2:
        return NoOmnibus(f"{n} of {scores.n} patients have a finite score in every arm; the test needs two")
    tested = subspace_test(scores, basis(np.eye(k) - 1 / k), test_over_train)
    if tested is None:
        return NoOmnibus("one run of each arm leaves nothing to test over runs")
    test, units = tested
    return RunOmnibus(scores.arms, scores.design, n, scores.n - n, units, test, test.note)


def subspace_test(scores: ScoreArray, basis_DA: Array, test_over_train: float | None) -> tuple[FTest, int] | None:
    """Method-level F of D orthonormal contrasts of arms, with its units; None with one run or under two patients."""
    used: Codes = np.flatnonzero(np.abs(basis_DA).max(axis=0))
    keep = scores.finite_cells(used)
    z_DK = basis_DA[:, used] @ np.where(keep, scores.values[used], 0.0)
    if scores.design is Replication.HELD_OUT:
        table_DPR = scores.crossed(z_DK, keep)
        return (hillis_f(table_DPR), table_DPR.shape[2]) if min(table_DPR.shape[1:]) >= 2 else None
    means_JD = scores.fold_means(z_DK, keep).T
    j = len(means_JD)
    if j < 2:
        return None
    ratio = _ratio(scores, j) if test_over_train is None else test_over_train
    inflation = 1 + j * ratio if scores.design is Replication.REPEATED_HOLD_OUT else 1.0
    return repeated_f(means_JD, inflation), j


def _ratio(scores: ScoreArray, folds: int) -> float:
    return 1 / (folds - 1) if scores.design is Replication.CROSS_VALIDATION else scores.test_over_train()


def _root(variance: float) -> float:
    return math.sqrt(max(float(variance), 0.0))
