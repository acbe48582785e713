"""Every arm against the control as one family, so that making an arm worse never makes its verdict milder.

A t test breaks that law: one run that fails widens the interval of its arm. So each end of an interval is the best that
the data support when extreme units are pulled in: the upper end may raise the lowest units of the arm to any level,
since the arm at hand is worse than that one, and the lower end may pull down its highest. Both ends then fall, or stay,
whenever a score of the arm falls. Scores count twice, as they are and with differences bounded at some margins, so
that a few missed structures do not hide what the others show.

One arm over few folds is the exception, since its own U folds alone say how much they spread. A bound that no worse
fold raises lies no higher than the best fold, and by chance that is below 0 in 2^-U of all tables. So false claims are
kept rare there, and a fold that fails may make the verdict milder. So may a run, seldom, where each arm has two.
"""

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from medsweep.analysis.records import Array, Estimate, clipped, t_estimate
from medsweep.analysis.stats.dunnett import EQUAL, adjusted_p, quantiles
from medsweep.analysis.stats.run_error import few_blocks, unit_error, with_patients

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
    """How a family of ``contrasts`` is judged: ``alpha``, whether equivalence holds for ``each`` or the ``family``.

    ``correlation`` is that of any two of their estimates: that of arms that share a control, or 0, which no family
    falls below in what it must pay (Sidak 1967) and which a balanced factorial has. ``share`` is the part of ``alpha``
    that a claim may spend beside another test of the same difference.
    """

    contrasts: int
    alpha: float
    equivalence: Family = "each"
    correlation: float = EQUAL
    share: float = 1.0


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
    """What is shown of one difference, in units of the metric; worse units of the arm raise no end, but for few folds.

    [low, high] holds for all arms at once, [wide_low, wide_high] so at ``Setting.share`` of alpha. [narrow_low,
    narrow_high] is the interval behind the equivalence test.
    """

    estimate: Estimate
    p_adjusted: float
    low: float
    high: float
    narrow_low: float
    narrow_high: float
    wide_low: float
    wide_high: float

    def clipped(self, reach: float) -> "Bounds":
        """The same with intervals that lie in +-``reach``, beyond which no difference is possible."""
        names = ("low", "high", "narrow_low", "narrow_high", "wide_low", "wide_high")
        ends = {name: clipped(getattr(self, name), reach) for name in names}
        return replace(self, estimate=self.estimate.clipped(reach), **ends)

    @property
    def widened(self) -> "Bounds":
        """The same with the wide interval for the one that holds for all arms."""
        return replace(self, low=self.wide_low, high=self.wide_high)

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


def bounds_of(units: Units, weights_A: Array, setting: Setting) -> Bounds | None:
    """A contrast of arms with its intervals; None where nothing is replicated.

    The arms with positive weights are those whose failures may not make it milder.
    """
    raised, lowered = _variants(units, weights_A, up=True), _variants(units, weights_A, up=False)
    if raised is None or lowered is None:
        return None
    level, narrow = 1 - setting.alpha, 1 - 2 * setting.alpha
    high, low = _ends(raised, setting, level)[1], _ends(lowered, setting, level)[0]
    high_at, low_at = int(high.argmin()), int(low.argmax())
    # the variant that shows a difference gives its p; one that was pulled beyond 0 shows none
    side, at = (raised, high_at) if raised.value[0] < 0 else (lowered, low_at)
    at = at if side.value[at] * side.value[0] > 0 else 0
    # one contrast has Student's t
    single = setting if setting.equivalence == "family" else replace(setting, contrasts=1)
    wide = 1 - setting.alpha * setting.share
    return Bounds(
        estimate=t_estimate(float(raised.value[0]), math.sqrt(raised.variance[0]), float(raised.df[0]), level),
        p_adjusted=_p(side, at, setting),
        low=float(low[low_at]),
        high=float(high[high_at]),
        narrow_low=float(_ends(lowered, single, narrow)[0].max()),
        narrow_high=float(_ends(raised, single, narrow)[1].min()),
        wide_low=float((low if wide == level else _ends(lowered, setting, wide)[0]).max()),
        wide_high=float((high if wide == level else _ends(raised, setting, wide)[1]).min()),
    )


def _ends(variants: _Variants, setting: Setting, level: float) -> tuple[Array, Array]:
    half = quantiles(variants.df, setting.contrasts, level, setting.correlation) * np.sqrt(variants.variance)
    return variants.value - half, variants.value + half


def _p(variants: _Variants, at: int, setting: Setting) -> float:
    value, se = float(variants.value[at]), math.sqrt(float(variants.variance[at]))
    if se == 0:
        return 1.0 if value == 0 else 0.0
    return adjusted_p(value / se, float(variants.df[at]), setting.contrasts, setting.correlation)


def pair_weights(arms: int, arm: int, control: int) -> Array:
    """The contrast arm minus control."""
    weights = np.zeros(arms)
    weights[[arm, control]] = 1.0, -1.0
    return weights


def _variants(units: Units, weights_A: Array, *, up: bool) -> _Variants | None:
    """The contrast as it is, first, and with the lowest units of an arm raised (``up``) or its highest lowered."""
    found = unit_error(_pulled_means(units, weights_A, up=up), weights_A, blocked=units.blocked)
    if found is None:
        return None
    value_L, runs = found
    runs = replace(runs, variance=runs.variance * units.inflation)
    if units.patients is None:
        return _Variants(value_L, runs.variance, runs.df)
    patients, used = units.patients, weights_A != 0
    sums_P = weights_A @ patients.means
    n = len(sums_P)
    # a patient that is pulled in is so in every run
    pulled_MP = _pulled_patients(sums_P, up=up)
    residual = float((weights_A**2 * patients.residuals / np.maximum(patients.runs, 1)).sum()) / n
    error = with_patients(runs, pulled_MP.var(axis=1, ddof=1) / n, residual, n, patients.runs[used])
    value_LM = value_L[:, None] + pulled_MP.mean(axis=1) - sums_P.mean()
    return _Variants(value_LM.ravel(), error.variance.ravel(), error.df.ravel())


def _pulled_means(units: Units, weights_A: Array, *, up: bool) -> Array:
    """L x A x U: the means as they are, then with the units of one arm with a positive weight pulled in.

    In blocks it is the distance to the other arms that is extreme.
    """
    has_AU = np.isfinite(units.means)
    variants = [units.means[None]]
    for arm in np.flatnonzero(weights_A > 0).tolist():
        own = has_AU[arm] & has_AU[weights_A != 0].all(axis=0) if units.blocked else has_AU[arm]
        others = np.delete(units.means, arm, axis=0)[:, own]
        whole = np.isfinite(others).all(axis=1)
        base = others[whole].mean(axis=0) if units.blocked and whole.any() else np.zeros(int(own.sum()))
        if not own.any():
            continue
        pair = units.blocked and int(whole.sum()) == 1 and few_blocks(int(own.sum()), arms=2)
        pulled_LU = base + _pulled_units(units.means[arm, own] - base, up=up, pair=pair)
        means_LAU = np.repeat(units.means[None], len(pulled_LU), axis=0)
        means_LAU[:, arm, own] = pulled_LU
        variants.append(means_LAU)
    return np.concatenate(variants)


def _pulled_units(values: Array, *, up: bool, pair: bool) -> Array:
    """L x U: the units as they are, and all below (``up``) or above a limit moved there, for limits from end to end.

    Few units ask for limits between them, dense towards the inner one, since their degrees of freedom hang on them.
    The error of a ``pair`` in few blocks is its own spread alone, which would be gone at the other end. So only its
    most extreme unit is moved, no further than to the next, and of two units none.
    """
    if len(values) > FEW_UNITS:
        return _pulled_patients(values, up=up)
    ordered = np.sort(values if up else -values)
    steps = 2.0 ** -np.linspace(0, FINEST, max(LIMITS // len(values), 1))
    gaps = np.diff(ordered)
    between_GS = ordered[1:, None] - gaps[:, None] * steps
    limits = np.append(between_GS, ordered[-1:])
    if pair:
        limits = between_GS[0] if len(values) > 2 else ordered[:1]
    pulled: Array = np.maximum(values if up else -values, limits[:, None])
    return pulled if up else -pulled


def _pulled_patients(values: Array, *, up: bool) -> Array:
    """M x P: with as many of the lowest (``up``) or highest patients moved to the next as ``PATIENT_LEVELS`` say."""
    ordered = np.sort(values if up else -values)
    limits = ordered[[level for level in PATIENT_LEVELS if level < len(values)]]
    pulled: Array = np.maximum(values if up else -values, limits[:, None])
    return pulled if up else -pulled
