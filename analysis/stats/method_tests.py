"""What retraining alone moves, and tests that hold for the method rather than for these trained models.

Patients as blocks test the models at hand. With one held-out set the two-way test treats patients and runs as random
(Dorfman-Berbaum-Metz; Hillis 2007); with folds, fold means are the blocks, and Nadeau and Bengio 2003 allow for
training sets that overlap. Where test patients overlap, too, only the latter is honest.

A family of contrasts of arms is its orthonormal basis: k arms alike are k - 1 of them, a factor of L levels has L - 1,
a single contrast gives the square of its t test.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from medsweep.analysis.records import Array, Estimate, mean_estimate, t_estimate
from medsweep.analysis.stats.omnibus import NoOmnibus
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import Codes, Replication, ScoreArray, scores_of

Kind = Literal["Dorfman-Berbaum-Metz-Hillis F", "repeated-measures F"]


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


def _mean_of_squares(y_KPR: Array) -> tuple[float, float, float]:
    """Mean squares of patients, runs and residual, each the mean over K tables."""
    tables = [mean_squares(table) for table in y_KPR]
    patients, runs, residual = np.mean([(table.patients, table.runs, table.residual) for table in tables], axis=0)
    return float(patients), float(runs), float(residual)


def two_way(d_PR: Array, level: float) -> Estimate:
    """Mean difference with patients and runs random, one held-out set; ``d_PR``: P patients x R runs, both >= 2.

    v = (MS_r + max(MS_p - MS_pr, 0)) / (P R), as in Hillis 2007, and the degrees of freedom of all three mean squares
    (Satterthwaite 1946): df = (P R v)^2 / (MS_r^2 / (R-1) + MS_p^2 / (P-1) + MS_pr^2 / ((P-1)(R-1))). Hillis's, which
    know MS_r alone, suit the F over k arms; for one pair of a few runs they are too many
    (``docs/explanation/error-rates.md``).
    Never below R - 1, the df of MS_r, which v cannot fall below: without a patient x arm effect the formula would.
    """
    squares = mean_squares(d_PR)
    if np.ptp(d_PR) == 0:
        return t_estimate(float(d_PR.flat[0]), 0.0, squares.n_runs - 1, level)
    spread = squares.runs + max(squares.patients - squares.residual, 0.0)
    p, r = squares.n_patients - 1, squares.n_runs - 1
    doubt = squares.runs**2 / r + squares.patients**2 / p + squares.residual**2 / (p * r)
    return t_estimate(float(d_PR.mean()), math.sqrt(spread / d_PR.size), max(spread**2 / doubt, r), level)


def nadeau_bengio(d_J: Array, test_over_train: float, level: float) -> Estimate:
    """Corrected resampled t over J folds: var = s^2 (1/J + n_test/n_train) (Nadeau and Bengio 2003)."""
    plain = mean_estimate(d_J, level)
    j = len(d_J)
    return t_estimate(plain.value, plain.se * math.sqrt(1 + j * test_over_train), j - 1, level)


@dataclass(frozen=True)
class FTest:
    """F on ``df1`` and ``df2``, both already multiplied by ``epsilon`` (1 where it has no say).

    ``epsilon`` is Huynh and Feldt's. With five units and five arms its test rejects .05 of true nulls at nominal .05,
    and .08 at worst under strong heterogeneity; with Greenhouse and Geisser's, which is lower, it rejects .01.
    """

    kind: Kind
    f: float
    df1: float
    df2: float
    p: float
    epsilon: float = 1.0
    note: str = ""


def basis(weights_TA: Array) -> Array:
    """Orthonormal rows that span the rows of ``weights_TA``: D x A, D its rank."""
    _, sizes, rows = np.linalg.svd(weights_TA, full_matrices=False)
    spanned: Array = rows[sizes > 1e-9 * max(sizes.max(initial=0.0), 1e-300)]
    return spanned


def repeated_f(scores_ND: Array, inflation: float = 1.0) -> FTest:
    """Repeated-measures F of D orthonormal contrast scores of N independent units, N >= 2.

    F = N |mean|^2 / trace(S), S their covariance, on D epsilon and D (N - 1) epsilon: that of arm over arm x unit.
    Greenhouse and Geisser 1959: e = trace(S)^2 / (D trace(S S)). Huynh and Feldt 1976, which decides:
    (N D e - 2) / (D (N - 1 - D e)), at most 1. F is divided by ``inflation`` where the units overlap.
    """
    n, d = scores_ND.shape
    mean = scores_ND.mean(axis=0)
    centred = scores_ND - mean
    cov_DD = centred.T @ centred / (n - 1)
    trace, top = float(np.trace(cov_DD)), n * float(mean @ mean)
    if trace <= 1e-24 * max(float((scores_ND**2).sum()), 1e-300):
        return _without_spread("repeated-measures F", top, float(d), float(d * (n - 1)))
    lower = min(max(trace**2 / (d * float((cov_DD**2).sum())), 1 / d), 1.0)
    room = d * (n - 1 - d * lower)
    upper = min(max((n * d * lower - 2) / room, lower), 1.0) if room > 0 else 1.0
    f = top / trace / inflation
    df1, df2 = d * upper, d * (n - 1) * upper
    return FTest("repeated-measures F", f, df1, df2, f_tail(f, df1, df2), upper)


def hillis_f(scores_DPR: Array) -> FTest:
    """D orthonormal contrast scores of P patients x R runs, both >= 2, patients and runs random (Hillis 2007).

    F = MS_arm / den, den = MS_arm:run + max(MS_arm:patient - MS_arm:patient:run, 0), df1 = D,
    df2 = den^2 / (MS_arm:run^2 / (D (R - 1))). Each mean square is the mean of those of the contrasts. One contrast has
    the degrees of freedom of ``two_way``, so that F is t^2 with the same p.
    """
    d, p, r = scores_DPR.shape
    arm = p * r * float((scores_DPR.mean(axis=(1, 2)) ** 2).sum()) / d
    patient, run, residual = _mean_of_squares(scores_DPR)
    den = run + max(patient - residual, 0.0)
    kind: Kind = "Dorfman-Berbaum-Metz-Hillis F"
    if den <= 1e-24 * max(float((scores_DPR**2).mean()), 1e-300):
        return _without_spread(kind, arm, float(d), float(d * (r - 1)))
    doubt = run**2 / (d * (r - 1))
    if d == 1:
        doubt += patient**2 / (p - 1) + residual**2 / ((p - 1) * (r - 1))
    df2 = den**2 / doubt if doubt > 0 else math.inf
    if d == 1:
        df2 = max(df2, r - 1.0)
    f = arm / den
    return FTest(kind, f, float(d), df2, f_tail(f, d, df2))


def f_tail(f: float, df1: float, df2: float) -> float:
    """P(F > f); chi-square over df1 where df2 is infinite."""
    return float(special.chdtrc(df1, f * df1) if math.isinf(df2) else special.fdtrc(df1, df2, f))


def _without_spread(kind: Kind, top: float, df1: float, df2: float) -> FTest:
    """Every unit has the same contrasts: nothing to test where they are 0, certainty where they are not."""
    if top <= 1e-24:
        return FTest(kind, 0.0, df1, df2, 1.0, note="all arms score alike")
    return FTest(kind, math.inf, df1, df2, 0.0, note="the difference is the same in every unit")


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
    scores = scores_of(reduced)
    return tuple(_components(scores, i) for i in range(len(scores.arms)))


def _components(scores: ScoreArray, row: int) -> Components:
    tables = []
    for cells, fold_seeds in zip(scores.fold_cells(), scores.seeds, strict=True):
        table = scores.values[row, cells].reshape(-1, len(fold_seeds)).round(scores.decimals)
        table = table[:, ~np.isnan(table).all(axis=0)]
        tables.append(table[np.isfinite(table).all(axis=1)])
    seeds = min(table.shape[1] for table in tables)
    squares = [(mean_squares(table), table) for table in tables if min(table.shape) >= 2]
    if not squares:
        return Components(scores.arms[row], len(tables), seeds, *[math.nan] * 4)
    between = float(np.mean([table.mean(axis=0).var(ddof=1) for _, table in squares]))
    run = float(np.mean([(s.runs - s.residual) / s.n_patients for s, _ in squares]))
    patient = float(np.mean([(s.patients - s.residual) / s.n_runs for s, _ in squares]))
    residual = float(np.mean([s.residual for s, _ in squares]))
    return Components(scores.arms[row], len(tables), seeds, *map(_root, (between, patient, run, residual)))


def contrast_test(
    scores: ScoreArray, name: str, weights_A: Array, level: float, test_over_train: float | None
) -> MethodTest | None:
    """The test of one contrast of arms that holds for the method; None with one run or fewer than two patients.

    Patients with an infinite score in an arm of the contrast are left out. ``test_over_train`` is n_test/n_train of a
    fold; where it is not given, the J folds of a cross-validation have 1/(J-1), never smaller than the true one for an
    incomplete set of folds, and those of a repeated hold-out what the table tells (``ScoreArray.test_over_train``).
    """
    used: Codes = np.flatnonzero(weights_A)
    scores = scores.balanced(used)
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
    ratio = overlap_ratio(scores, j) if test_over_train is None else test_over_train
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
    scores = scores.balanced(np.arange(k))
    if not scores.patient.size:
        return NoOmnibus("the arms have no seed in common, so that their runs cannot be crossed")
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
    scores = scores.balanced(used)
    keep = scores.finite_cells(used)
    z_DK = basis_DA[:, used] @ np.where(keep, scores.values[used], 0.0)
    if scores.design is Replication.HELD_OUT:
        table_DPR = scores.crossed(z_DK, keep)
        return (hillis_f(table_DPR), table_DPR.shape[2]) if min(table_DPR.shape[1:]) >= 2 else None
    means_JD = scores.fold_means(z_DK, keep).T
    j = len(means_JD)
    if j < 2:
        return None
    ratio = overlap_ratio(scores, j) if test_over_train is None else test_over_train
    inflation = 1 + j * ratio if scores.design is Replication.REPEATED_HOLD_OUT else 1.0
    return repeated_f(means_JD, inflation), j


def overlap_ratio(scores: ScoreArray, folds: int) -> float:
    """n_test/n_train of a fold, as the table tells it."""
    return 1 / (folds - 1) if scores.design is Replication.CROSS_VALIDATION else scores.test_over_train()


def _root(variance: float) -> float:
    return math.sqrt(max(float(variance), 0.0))
