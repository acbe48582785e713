"""Every arm against the control as one family, so that making an arm worse never makes its verdict milder.

A t test breaks that law: one run that fails widens the interval of its arm. So each end of an interval is the best that
the data support when extreme units are pulled in: the upper end may raise the lowest units of the arm to any level,
since the arm at hand is worse than that one, and the lower end may pull down its highest. Both ends then fall, or stay,
whenever a score of the arm falls. Scores count twice, as they are and with differences bounded at some margins, so
that a few missed structures do not hide what the others show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from medsweep.analysis.records import Array, Estimate, t_estimate
from medsweep.analysis.stats.dunnett import adjusted_p, quantiles
from medsweep.analysis.stats.run_error import blocked_error, independent_error

PATIENT_LEVELS: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Patients whose differences are pulled in, tried one number after the other."""

LIMITS: Final = 160
"""Limits to which units are pulled in, for all gaps between them together."""
FEW_UNITS: Final = 40
"""Units up to which every gap between them has its limits; beyond they are pulled in as patients are."""
FINEST: Final = 20
"""The last limit before a unit lies 2^-20 of the gap from it."""

Family = Literal["each", "family"]


@dataclass(frozen=True)
class Setting:
    """How the family of ``arms`` is judged: ``alpha``, and whether equivalence holds for ``each`` or the ``family``."""

    arms: int
    alpha: float
    equivalence: Family = "each"


@dataclass(frozen=True)
class Patients:
    """P patients of one held-out set: ``means`` A x P over the ``runs`` of each arm, and what runs leave."""

    means: Array
    residuals: Array
    runs: NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """``means`` A x U of the arms over units, NaN where an arm lacks one.

    ``blocked`` units are shared by all arms, as folds; the others are runs of one arm each. ``inflation`` widens the
    variance where the patients of units overlap. ``patients`` of one held-out set are random as well.
    """

    means: Array
    blocked: bool
    inflation: float = 1.0
    patients: Patients | None = None


@dataclass(frozen=True)
class Bounds:
    """What is shown of one difference, in units of the metric; worse units of the arm never raise either end.

    [low, high] holds for all arms at once, [narrow_low, narrow_high] is the interval behind the equivalence test.
    """

    estimate: Estimate
    p_adjusted: float
    low: float
    high: float
    narrow_low: float
    narrow_high: float

    @property
    def quoted(self) -> Estimate:
        """The estimate with the simultaneous interval and the adjusted p."""
        return replace(self.estimate, p=self.p_adjusted, low=self.low, high=self.high)


@dataclass(frozen=True)
class _Variants:
    """The difference of one arm with units pulled in: value, squared error and degrees of freedom of L variants."""

    value: Array
    variance: Array
    df: Array


def bounds_of(units: Units, arm: int, control: int, setting: Setting) -> Bounds | None:
    """Difference of one arm from the control with its intervals; None where nothing is replicated."""
    raised, lowered = _variants(units, arm, control, up=True), _variants(units, arm, control, up=False)
    if raised is None or lowered is None:
        return None
    level, narrow = 1 - setting.alpha, 1 - 2 * setting.alpha
    wide_up = _ends(raised, quantiles(raised.df, setting.arms, level))
    wide_down = _ends(lowered, quantiles(lowered.df, setting.arms, level))
    high_at, low_at = int(wide_up[1].argmin()), int(wide_down[0].argmax())
    high, low = float(wide_up[1][high_at]), float(wide_down[0][low_at])
    # the variant that shows a difference gives its p; without one, the nearer of both sides
    side, at = (raised, high_at) if raised.value[0] < 0 else (lowered, low_at)
    estimate = t_estimate(float(raised.value[0]), math.sqrt(raised.variance[0]), float(raised.df[0]), level)
    inner = [_narrow(one, setting, narrow) for one in (raised, lowered)]
    return Bounds(
        estimate=estimate,
        p_adjusted=_p(side, at, setting.arms),
        low=low,
        high=high,
        narrow_low=float(inner[1][0].max()),
        narrow_high=float(inner[0][1].min()),
    )


def _narrow(variants: _Variants, setting: Setting, level: float) -> tuple[Array, Array]:
    # one arm has Student's t
    arms = setting.arms if setting.equivalence == "family" else 1
    return _ends(variants, quantiles(variants.df, arms, level))


def _ends(variants: _Variants, q: Array) -> tuple[Array, Array]:
    half = q * np.sqrt(variants.variance)
    return variants.value - half, variants.value + half


def _p(variants: _Variants, at: int, arms: int) -> float:
    value, se = float(variants.value[at]), math.sqrt(float(variants.variance[at]))
    if se == 0:
        return 1.0 if value == 0 else 0.0
    return adjusted_p(value / se, float(variants.df[at]), arms)


def _variants(units: Units, arm: int, control: int, *, up: bool) -> _Variants | None:
    """The difference as it is, first, and with the arm's lowest units raised (``up``) or its highest lowered."""
    runs = (_blocked if units.blocked else _independent)(units, arm, control, up=up)
    if runs is None or units.patients is None:
        return runs
    return _with_patients(runs, units.patients, arm, control, up=up)


def pair_weights(arms: int, arm: int, control: int) -> Array:
    """The contrast arm minus control."""
    weights = np.zeros(arms)
    weights[[arm, control]] = 1.0, -1.0
    return weights


def shared_units(means_AU: Array, used: Sequence[int]) -> tuple[Array, NDArray[np.bool_]]:
    """The units that all ``used`` arms have, of the arms that have all of these, and which arms those are."""
    shared_AU = means_AU[:, np.isfinite(means_AU[used]).all(axis=0)]
    rows_A = np.asarray(np.isfinite(shared_AU).all(axis=1), dtype=np.bool_)
    return shared_AU[rows_A], rows_A


def _blocked(units: Units, arm: int, control: int, *, up: bool) -> _Variants | None:
    means_AU, rows = shared_units(units.means, [arm, control])
    if not means_AU.shape[1]:
        return None
    arm, control = (int(rows[:one].sum()) for one in (arm, control))
    others = np.delete(means_AU, arm, axis=0).mean(axis=0)
    pulled_LU = others + _pulled_units(means_AU[arm] - others, up=up)
    means_LAU = np.repeat(means_AU[None], len(pulled_LU), axis=0)
    means_LAU[:, arm] = pulled_LU
    error = blocked_error(means_LAU, pair_weights(len(means_AU), arm, control))
    if error is None:
        return None
    value_L = (means_LAU[:, arm] - means_LAU[:, control]).mean(axis=1)
    return _Variants(value_L, error.variance * units.inflation, error.df)


def _independent(units: Units, arm: int, control: int, *, up: bool) -> _Variants | None:
    runs = [row[np.isfinite(row)] for row in units.means]
    if not len(runs[arm]) or not len(runs[control]):
        return None
    pulled_LU = _pulled_units(runs[arm], up=up)
    spread_A = np.array([row.var(ddof=1) if len(row) > 1 else 0.0 for row in runs])
    spread_LA = np.repeat(spread_A[None], len(pulled_LU), axis=0)
    if len(runs[arm]) > 1:
        spread_LA[:, arm] = pulled_LU.var(axis=1, ddof=1)
    counts = np.array([len(row) for row in runs])
    error = independent_error(spread_LA, counts, pair_weights(len(runs), arm, control))
    if error is None:
        return None
    return _Variants(pulled_LU.mean(axis=1) - runs[control].mean(), error.variance, error.df)


def _pulled_units(values: Array, *, up: bool) -> Array:
    """L x U: the units as they are, and all below (``up``) or above a limit moved there, for limits from end to end.

    Few units ask for limits between them, dense towards the inner one, since their degrees of freedom hang on them.
    """
    if len(values) > FEW_UNITS:
        return _pulled_patients(values, up=up)
    ordered = np.sort(values if up else -values)
    steps = 2.0 ** -np.linspace(0, FINEST, max(LIMITS // len(values), 1))
    gaps = np.diff(ordered)
    limits = np.append(ordered[1:, None] - gaps[:, None] * steps, ordered[-1:])
    pulled: Array = np.maximum(values if up else -values, limits[:, None])
    return pulled if up else -pulled


def _pulled_patients(values: Array, *, up: bool) -> Array:
    """M x P: with as many of the lowest (``up``) or highest patients moved to the next as ``PATIENT_LEVELS`` say."""
    ordered = np.sort(values if up else -values)
    limits = ordered[[level for level in PATIENT_LEVELS if level < len(values)]]
    pulled: Array = np.maximum(values if up else -values, limits[:, None])
    return pulled if up else -pulled


def _with_patients(runs: _Variants, patients: Patients, arm: int, control: int, *, up: bool) -> _Variants:
    """Adds the patients of a held-out set: (MS_p - MS_pr) / (P R) of Hillis 2007, where above 0.

    Variants of runs x variants of patients; a patient that is pulled in is so in every run.
    """
    pair = [control, arm]
    differences = patients.means[arm] - patients.means[control]
    n = len(differences)
    pulled_MP = _pulled_patients(differences, up=up)
    spread_M = pulled_MP.var(axis=1, ddof=1) / n
    residual = float((patients.residuals[pair] / patients.runs[pair]).sum()) / n
    fewest = np.maximum(patients.runs[pair] - 1, 1)
    value_LM = runs.value[:, None] + pulled_MP.mean(axis=1) - differences.mean()
    variance_LM = runs.variance[:, None] + np.maximum(spread_M - residual, 0.0)
    doubt_LM = (
        (runs.variance**2 / runs.df)[:, None]
        + spread_M**2 / (n - 1)
        # a run that failed leaves a large residual, which must not cost degrees of freedom
        + np.minimum(residual, spread_M) ** 2 / (float(fewest.sum()) * (n - 1))
    )  # fmt: skip
    df_LM = np.divide(variance_LM**2, doubt_LM, out=np.full_like(doubt_LM, np.inf), where=doubt_LM > 0)
    return _Variants(value_LM.ravel(), variance_LM.ravel(), np.maximum(df_LM, float(fewest.min())).ravel())
