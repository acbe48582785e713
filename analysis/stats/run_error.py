"""The error of a contrast of arms where runs are random: half its own arms' spread, half that of all arms.

A few runs tell little about the spread of one arm, and the runs of all arms together tell much, if arms spread alike.
The pooled error alone claims too much where one arm varies more than the others; each pair's own error alone finds
little (Hothorn and Hasler, arXiv 2303.09222, compare both, and keep the pair's own). Half of each holds its size at
four times the spread and keeps most of the power; ``docs/explanation/error-rates.md`` has the rates.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.analysis.records import Array

OWN_SHARE: Final = 0.5
"""Weight of the spread of a contrast's own arms in its error; the rest is pooled over all arms."""

FEW_DEVIATIONS: Final = 9
"""Below so many free deviations, (units - 1) x (arms - 1), a contrast over units that all arms share pays a degree of
freedom for the unit that may be pulled in; ``docs/explanation/error-rates.md`` has the rates on both sides."""

FEW_NETWORKS: Final = 4
"""Below so many free networks, those beyond the first of each arm, one held-out set cannot judge a method. That is one
seed, and two seeds of one arm or two beside the control; ``docs/explanation/error-rates.md`` has the rates."""

FEW_RUNS: Final = 3
"""Below so many free runs, as where arms lost some of theirs, a contrast of runs that belong to their arm alone pays a
degree of freedom for the run that may be pulled in."""

OUTLYING: Final = 20.0
"""Times the median variance of all arms at which an arm's own is limited in the pool, as after a run that failed."""


@dataclass(frozen=True)
class RunError:
    """Squared standard error of a contrast, from runs, with its degrees of freedom; one for each of L variants."""

    variance: Array
    df: Array


def few_networks(seeds: int, arms: int) -> bool:
    """Whether ``arms``, the control among them, of so many ``seeds`` on one held-out set are too few to judge a method.

    A matter of the design: an arm that fails changes neither number, and so gets no milder verdict.
    """
    return (seeds - 1) * arms < FEW_NETWORKS


def few_blocks(units: int, arms: int) -> bool:
    """Whether units that all ``arms`` share are few."""
    return (units - 1) * (arms - 1) < FEW_DEVIATIONS


def unit_error(means_LAU: Array, weights_A: Array, *, blocked: bool) -> tuple[Array, RunError] | None:
    """Value and error of a contrast for L variants of the means of arms over units, NaN where an arm lacks one.

    ``blocked`` units count where every arm of the contrast has them, and help to pool from arms that have all of these.
    None where nothing is replicated, or an arm of the contrast has no unit.
    """
    used = weights_A != 0
    has_AU = np.isfinite(means_LAU[0])
    if blocked:
        shared_LAU = means_LAU[:, :, has_AU[used].all(axis=0)]
        rows = has_AU[:, has_AU[used].all(axis=0)].all(axis=1)
        error = blocked_error(shared_LAU[:, rows], weights_A[rows])
        value_L = np.einsum("a,lau->lu", weights_A[rows], shared_LAU[:, rows]).mean(axis=1) if error else None
    else:
        runs_A = has_AU.sum(axis=1)
        sums_LA = np.where(has_AU, means_LAU, 0.0).sum(axis=2)
        mean_LA = sums_LA / np.maximum(runs_A, 1)
        squares_LA = np.where(has_AU, (means_LAU - mean_LA[:, :, None]) ** 2, 0.0).sum(axis=2)
        error = independent_error(squares_LA / np.maximum(runs_A - 1, 1), runs_A, weights_A)
        value_L = mean_LA @ weights_A if runs_A[used].all() else None
    return None if error is None or value_L is None else (value_L, error)


def with_patients(
    runs: RunError, spread_M: Array, residual: float, patients: int, runs_A: NDArray[np.int64]
) -> RunError:
    """Adds the patients of a held-out set: (MS_p - MS_pr) / (P R) of Hillis 2007, where above 0; L x M variants.

    ``spread_M`` is the variance of the mean over patients of the contrast, ``residual`` the part of it that the runs of
    the contrast's arms, ``runs_A`` of each, leave unexplained. Satterthwaite 1946 for the degrees of freedom.
    """
    fewest = np.maximum(runs_A - 1, 1)
    variance_LM = runs.variance[:, None] + np.maximum(spread_M - residual, 0.0)
    # a run that failed leaves a large residual, which must not cost degrees of freedom
    seen_M = np.minimum(residual, spread_M)
    of_patients_M = spread_M**2 / (patients - 1) + seen_M**2 / (float(fewest.sum()) * (patients - 1))
    doubt_LM = (runs.variance**2 / runs.df)[:, None] + of_patients_M
    df_LM = np.divide(variance_LM**2, doubt_LM, out=np.full_like(doubt_LM, np.inf), where=doubt_LM > 0)
    return RunError(variance_LM, np.maximum(df_LM, float(fewest.min())))


def independent_error(
    variances_LA: Array, runs_A: NDArray[np.int64], weights_A: Array, own_share: float = OWN_SHARE
) -> RunError | None:
    """Runs that belong to their arm alone: ``variances_LA`` over the ``runs_A`` of each arm, NaN where it has one.

    The contrast has ``weights_A``; of a pair, Welch's error has own_share 1, Dunnett's 0. Satterthwaite 1946 for the
    degrees of freedom, and one with ``FEW_RUNS``. None where no arm has a second run.
    """
    freedom_A = np.maximum(runs_A - 1, 0).astype(np.float64)
    if not freedom_A.any():
        return None
    variances_LA = np.where(freedom_A > 0, np.nan_to_num(variances_LA), 0.0)
    squares = weights_A**2 / np.maximum(runs_A, 1)
    own_A = np.where(freedom_A > 0, own_share, 0.0)
    own_LA = variances_LA * (own_A * squares)
    pooled_A = ((1 - own_A) * squares).sum() * freedom_A / freedom_A.sum()
    parts_LA = own_LA + _limited(variances_LA, freedom_A > 0) * pooled_A
    variance = parts_LA.sum(axis=1)
    doubt = (parts_LA**2) @ np.divide(1.0, freedom_A, out=np.zeros_like(freedom_A), where=freedom_A > 0)
    df = np.divide(variance**2, doubt, out=np.full_like(doubt, np.inf), where=doubt > 0)
    free = int(freedom_A.sum())
    return RunError(variance, np.minimum(df, 1.0) if free < FEW_RUNS else df)


def _limited(variances_LA: Array, known_A: NDArray[np.bool_]) -> Array:
    """Variances for the pool: one arm that failed must not blow up the error of all others."""
    median_L1 = np.median(variances_LA[:, known_A], axis=1, keepdims=True)
    most_L1 = np.where(median_L1 > 0, OUTLYING * median_L1, np.inf)
    # beside an outlying arm the estimates of others may fall far below 0, and would take it back
    outlying_L1 = (variances_LA > most_L1).any(axis=1, keepdims=True)
    return np.where(outlying_L1, np.clip(variances_LA, 0.0, most_L1), variances_LA)


def blocked_error(means_LAU: Array, weights_A: Array, own_share: float = OWN_SHARE) -> RunError | None:
    """Units that all arms share, as folds: what moves all arms of a unit alike is taken out first.

    The variance of each arm follows from that of its distance to the mean of the other arms (Grubbs 1948, for k
    instruments). Degrees of freedom: (U - 1) tr(Q)^2 / tr(QQ) for the quadratic form Q of the estimate, as if arms
    spread alike; estimated variances there make the test no better and the degrees of freedom jump. Two arms have the
    variance of their difference alone, with U - 1. One less with ``few_blocks``, and always at least one. None with
    one unit.
    """
    _, k, units = means_LAU.shape
    if units < 2:
        return None
    paid = 1.0 if few_blocks(units, k) else 0.0
    if k == 2:
        variance = np.einsum("a,lau->lu", weights_A, means_LAU).var(axis=1, ddof=1) / units
        return RunError(variance, np.full(len(means_LAU), max(units - 1 - paid, 1.0)))
    others = k - 1
    distance_AA = np.eye(k) * (k / others) - 1 / others
    spread_LA = np.einsum("ab,lbu->lau", distance_AA, means_LAU).var(axis=2, ddof=1)
    # E(spread_a) = s_a (1 - 1/m^2) + sum(s) / m^2, summed over arms sum(spread) = sum(s) k/m, with m other arms
    solve_AA = (np.eye(k) - np.full((k, k), others / k / others**2)) / (1 - 1 / others**2)
    variances_LA = spread_LA @ solve_AA.T
    square = float(weights_A @ weights_A)
    shares_A = own_share * weights_A**2 + (1 - own_share) * square / k
    pooled_L = (1 - own_share) * square * _limited(variances_LA, np.ones(k, dtype=bool)).mean(axis=1)
    # an estimated variance can fall below 0; the pooled half stands in any case
    variance_L = np.maximum(own_share * variances_LA @ weights_A**2, 0.0) + pooled_L
    form_AA = (distance_AA.T * (shares_A @ solve_AA)) @ distance_AA
    # either of two units may be pulled in until nothing is left of an arm's own spread
    df = 1.0 if units == 2 else (units - 1) * np.trace(form_AA) ** 2 / (form_AA**2).sum() - paid
    return RunError(variance_L / units, np.full(len(means_LAU), max(df, 1.0)))
