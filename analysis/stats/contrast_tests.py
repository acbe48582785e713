"""Tests of contrasts of arms on plain arrays: over patients, over fold means, and with patients and runs random.

A family of contrasts is its orthonormal basis over the arms: k arms alike are k - 1 of them, a factor of L levels has
L - 1, a single contrast gives the square of its t test.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from medsweep.analysis.records import Array, Estimate, mean_estimate, t_estimate

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
    return float(stats.chi2.sf(f * df1, df1) if math.isinf(df2) else stats.f.sf(f, df1, df2))


def _without_spread(kind: Kind, top: float, df1: float, df2: float) -> FTest:
    """Every unit has the same contrasts: nothing to test where they are 0, certainty where they are not."""
    if top <= 1e-24:
        return FTest(kind, 0.0, df1, df2, 1.0, note="all arms score alike")
    return FTest(kind, math.inf, df1, df2, 0.0, note="the difference is the same in every unit")
