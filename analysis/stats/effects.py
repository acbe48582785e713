"""How large is a difference: mean with t and BCa intervals, Hodges-Lehmann, rank-biserial, win/tie/loss.

One bootstrap draw serves all arms: how often each patient is drawn, as weights, so that means are a matrix product.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import special

from medsweep.analysis.records import Array, Estimate, decimals_of, mean_estimate
from medsweep.analysis.stats.wilcoxon import EXACT_UP_TO, signed_rank_pmf
from medsweep.analysis.table.reduction import Reduced
from medsweep.identity import derive_seed

RESAMPLES: Final = 10_000
CHUNK: Final = 2_000_000
"""Patients drawn at a time, which bounds the memory beside the matrix itself."""
HELD: Final = 40_000_000
"""Weights that are held as numbers of 8 bytes; more of them are held as counts of one byte."""
LISTED_UP_TO: Final = 2000
"""Patients up to which all Walsh averages are listed; beyond, they are counted."""


@lru_cache(maxsize=2)
def patient_weights(n: int, resamples: int, purpose: str) -> Array:
    """``resamples`` x ``n`` weights, each row multinomial counts / n, so that ``weights @ scores`` are bootstrap means.

    The seed depends on ``purpose`` alone: all arms and metrics of one data set see the same patients drawn. The
    result is shared between callers and cannot be written to. Patients must be exchangeable: this is not a draw for
    clustered or stratified patients.
    """
    weights = np.empty((resamples, n))
    _draw_into(weights, purpose)
    weights /= n
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=1)
def _patient_counts(n: int, resamples: int, purpose: str) -> NDArray[np.uint8]:
    """``patient_weights`` times n; no patient of thousands is drawn 256 times."""
    counts = np.empty((resamples, n), dtype=np.uint8)
    _draw_into(counts, purpose)
    return counts


def _draw_into(counts_BN: NDArray[Any], purpose: str) -> None:
    """How often each of N patients is among N draws, B times."""
    rng = np.random.default_rng(derive_seed("analysis", purpose))
    resamples, n = counts_BN.shape
    rows = max(1, CHUNK // n)
    for start in range(0, resamples, rows):
        block = counts_BN[start : start + rows]
        cells = rng.integers(n, size=block.shape) + n * np.arange(len(block))[:, None]
        block[:] = np.bincount(cells.ravel(), minlength=block.size).reshape(block.shape)


def bootstrap_means(scores: Array, resamples: int, purpose: str) -> Array:
    """``resampled_means`` of N x M scores by ``patient_weights``, in memory that thousands of patients do not burst."""
    n = len(scores)
    if n * resamples <= HELD:
        return resampled_means(patient_weights(n, resamples, purpose), scores)
    counts, rows = _patient_counts(n, resamples, purpose), max(1, CHUNK // n)
    blocks = [resampled_means(counts[start : start + rows] / n, scores) for start in range(0, resamples, rows)]
    return np.concatenate(blocks)


def resampled_means(weights: Array, scores: Array) -> Array:
    """``weights @ scores`` (resamples x arms), rounded as these; an infinite score makes the mean infinite, never NaN.

    Raises:
        ValueError: a score is missing, or a column holds both infinities.
    """
    infinite = np.isinf(scores)
    if np.isnan(scores).any() or ((scores == np.inf).any(axis=0) & (scores == -np.inf).any(axis=0)).any():
        raise ValueError("means need scores without NaN and with infinities of one sign per arm")
    means: Array = (weights @ np.where(infinite, 0.0, scores)).round(decimals_of(scores))
    for column in np.flatnonzero(infinite.any(axis=0)):
        drawn = weights[:, infinite[:, column]].any(axis=1)
        means[drawn, column] = scores[infinite[:, column], column][0]
    return means


T = TypeVar("T")


@dataclass(frozen=True)
class ConfidenceInterval:
    """``low`` to ``high`` with the ``coverage`` the method attains; NaN where it has none."""

    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Effect:
    """Arm minus control over ``n`` patients, in units of the metric.

    Means use the ``n_finite`` patients with a finite difference; ranks and wins use all. ``rank_biserial`` is
    positive, ``wins`` counts patients, and ``p_better`` is above one half (ties count half), where the arm is better,
    whatever the metric's direction.
    """

    arm: str
    n: int
    n_finite: int
    mean: Estimate
    sd: float
    bca: ConfidenceInterval
    hodges_lehmann: float
    hodges_lehmann_ci: ConfidenceInterval
    rank_biserial: float
    wins: int
    ties: int
    losses: int
    p_better: float
    p_better_ci: ConfidenceInterval


def effects_of(
    differences: Mapping[str, Array], *, higher_is_better: bool, level: float, resamples: int = RESAMPLES
) -> tuple[Effect, ...]:
    """Describe each arm's per-patient differences (arm minus control); intervals at ``level``, in the given order.

    Patients are independent, each counted once. The bootstrap is one draw of patients for all arms of the same n.
    """
    finite = {arm: delta[np.isfinite(delta)] for arm, delta in differences.items()}
    gains = {arm: delta if higher_is_better else -delta for arm, delta in differences.items()}
    intervals = _together(finite, lambda d_NM: _bca(d_NM, level, resamples))
    sizes = _together(gains, lambda g_NM: rank_biserials(g_NM).tolist())
    return tuple(
        _effect(arm, gains[arm], finite[arm], bootstrap=intervals[arm], size=sizes[arm], level=level)
        for arm in differences
    )


def _together(values: Mapping[str, Array], work: Callable[[Array], Sequence[T]]) -> dict[str, T]:
    """``work`` on N x M arrays of the arms that have values of the same N patients; its results by arm."""
    results: dict[str, T] = {}
    for n in sorted({len(deltas) for deltas in values.values()}):
        same = [arm for arm, deltas in values.items() if len(deltas) == n]
        results |= dict(zip(same, work(np.column_stack([values[arm] for arm in same])), strict=True))
    return results


def effect(arm: str, differences: Array, *, higher_is_better: bool, level: float) -> Effect:
    """Describe the N per-patient ``differences`` (arm minus control) of one arm; intervals at ``level``."""
    return effects_of({arm: differences}, higher_is_better=higher_is_better, level=level)[0]


def _effect(
    arm: str, gains: Array, finite: Array, *, bootstrap: ConfidenceInterval, size: float, level: float
) -> Effect:
    wins, ties = int((gains > 0).sum()), int((gains == 0).sum())
    middle, low, high, coverage = _hodges_lehmann(finite, level)
    return Effect(
        arm=arm,
        n=len(gains),
        n_finite=len(finite),
        mean=mean_estimate(finite, level),
        sd=float(finite.std(ddof=1)) if len(finite) > 1 else math.nan,
        bca=bootstrap,
        hodges_lehmann=middle,
        hodges_lehmann_ci=ConfidenceInterval(low, high, coverage),
        rank_biserial=size,
        wins=wins,
        ties=ties,
        losses=len(gains) - wins - ties,
        p_better=(wins + ties / 2) / len(gains) if len(gains) else math.nan,
        p_better_ci=p_better_interval(wins, ties, len(gains), level),
    )


def _bca(d_NM: Array, level: float, resamples: int) -> list[ConfidenceInterval]:
    """BCa of each column's mean: one weights @ differences for all; acceleration by the jackknife of a mean.

    a = sum (d - mean)^3 / (6 [sum (d - mean)^2]^(3/2)) (Efron and Tibshirani 1993, eq. 14.15). Columns are sorted,
    each by itself, so that neither the order of patients nor another arm picks an arm's resamples.
    """
    n, m = d_NM.shape
    if n < 3:
        return [ConfidenceInterval(math.nan, math.nan, math.nan)] * m
    d_NM = np.sort(d_NM, axis=0)
    means_BM = np.sort(bootstrap_means(d_NM, resamples, "patients"), axis=0)
    centre = d_NM.mean(axis=0).round(decimals_of(d_NM))
    deviations = d_NM - d_NM.mean(axis=0)
    intervals = []
    for at in range(m):
        if d_NM[0, at] == d_NM[-1, at]:
            intervals.append(ConfidenceInterval(float(d_NM[0, at]), float(d_NM[0, at]), level))
            continue
        below = sum(int(np.searchsorted(means_BM[:, at], centre[at], side)) for side in ("left", "right"))
        bias = special.ndtri(below / (2 * resamples))
        a = (deviations[:, at] ** 3).sum() / (6 * (deviations[:, at] ** 2).sum() ** 1.5)
        shifted = bias + special.ndtri([(1 - level) / 2, (1 + level) / 2])
        shares = special.ndtr(bias + shifted / (1 - a * shifted))
        low, high = np.interp(shares * (resamples - 1), np.arange(resamples), means_BM[:, at])
        intervals.append(ConfidenceInterval(float(low), float(high), level))
    return intervals


def _hodges_lehmann(differences: Array, level: float) -> tuple[float, float, float, float]:
    """Median of the Walsh averages (d_i + d_j) / 2, i <= j; the interval of them that inverts the signed-rank test.

    Hollander and Wolfe 1973, 3.3. Returns middle, low, high and coverage. Exact distribution up to 50 patients, normal
    above. Below 6 patients no interval reaches 95 %; the widest is given, with the coverage it has.
    """
    n = len(differences)
    if n == 0:
        return math.nan, math.nan, math.nan, math.nan
    if n < 2:
        return float(differences[0]), math.nan, math.nan, math.nan
    averages = n * (n + 1) // 2
    tail, coverage = (1 - level) / 2, level
    if n <= EXACT_UP_TO:
        cdf = np.cumsum(signed_rank_pmf(n))
        cut = max(int(np.searchsorted(cdf, tail)), 1)
        coverage = 1 - 2 * float(cdf[cut - 1])
    else:
        mean, sd = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        cut = max(round(mean + sd * float(special.ndtri(tail))), 1)
    low, lower, upper, high = _walsh(differences, [cut - 1, (averages - 1) // 2, averages // 2, averages - cut])
    return (lower + upper) / 2, low, high, coverage


def _walsh(differences: Array, places: list[int]) -> list[float]:
    """The Walsh averages at some places (from 0) of their order."""
    n = len(differences)
    if n > LISTED_UP_TO:
        ordered = np.sort(differences)
        found = {place: _counted_walsh(ordered, place) for place in set(places)}
        return [found[place] for place in places]
    i, j = _pairs(n)
    averages = (differences[i] + differences[j]) / 2
    averages.partition(places)
    return [float(averages[place]) for place in places]


def _counted_walsh(ordered: Array, place: int) -> float:
    """The average at one place, by halving an interval: those up to a value are counted in N log N steps."""
    below, found = float(np.nextafter(ordered[0], -math.inf)), float(ordered[-1])
    while below < (middle := below + (found - below) / 2) < found:
        twice = int(np.searchsorted(ordered, 2 * middle - ordered, side="right").sum())
        same = int(np.searchsorted(ordered, middle, side="right"))
        if (twice + same) // 2 > place:
            found = middle
        else:
            below = middle
    return found


@lru_cache(maxsize=2)
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n)


def rank_biserials(gains_NM: Array) -> Array:
    """Matched rank-biserial correlation (R+ - R-) / (R+ + R-) (Kerby 2014) of each of M arms over N patients.

    Zeros are ranked, then dropped (Pratt). 0 where all are tied.
    """
    signed_NM = np.sign(gains_NM) * scipy.stats.rankdata(np.abs(gains_NM), axis=0)
    total_M = np.abs(signed_NM).sum(axis=0)
    sizes_M: Array = signed_NM.sum(axis=0) / np.where(total_M > 0, total_M, 1.0)
    return sizes_M


def p_better_interval(wins: int, ties: int, n: int, level: float) -> ConfidenceInterval:
    """Score interval of P(better) + P(tie) / 2 (Wilson 1927), the variance p (1-p) - t/4 lowered by the tie share t.

    Solves (w - p)^2 = z^2 (p (1-p) - t/4) / n for p, w = (wins + ties/2) / n. Approximate below about 10 patients.
    """
    if n == 0:
        return ConfidenceInterval(math.nan, math.nan, math.nan)
    share, tied = (wins + ties / 2) / n, ties / n
    z2n = float(special.ndtri(0.5 + level / 2)) ** 2 / n
    half = math.sqrt(max((2 * share + z2n) ** 2 - 4 * (1 + z2n) * (share**2 + z2n * tied / 4), 0.0))
    low, high = ((2 * share + z2n + sign * half) / (2 * (1 + z2n)) for sign in (-1, 1))
    return ConfidenceInterval(max(low, 0.0), min(high, 1.0), level)


FENCE = 1.5
"""Outliers lie more than this many interquartile ranges beyond the quartiles (Tukey 1977)."""


@dataclass(frozen=True)
class Paired:
    """Arm minus control, ascending; ``outliers`` are positions in that order.

    Patients are not named: the report may leave the house. ``better`` and ``worse`` count patients by the metric's
    direction, the rest are ties. The mean and its interval are over finite differences.
    """

    arm: str
    control: str
    differences: tuple[float, ...]
    better: int
    ties: int
    worse: int
    mean: Estimate
    outliers: tuple[int, ...]


def paired_differences(reduced: Reduced, control: str, arms: Sequence[str], level: float) -> tuple[Paired, ...]:
    """One record per arm."""
    pairs = []
    for arm in arms:
        delta = reduced.differences(arm, control)
        ascending, finite = np.sort(delta), delta[np.isfinite(delta)]
        low, high = np.quantile(finite, [0.25, 0.75]) if len(finite) else (0.0, 0.0)
        reach = FENCE * (high - low)
        far = (ascending < low - reach) | (ascending > high + reach)
        gains = delta if reduced.metric.higher_is_better else -delta
        pairs.append(
            Paired(
                arm=arm,
                control=control,
                differences=tuple(ascending.tolist()),
                better=int((gains > 0).sum()),
                ties=int((gains == 0).sum()),
                worse=int((gains < 0).sum()),
                mean=mean_estimate(finite, level),
                outliers=tuple(int(i) for i in np.flatnonzero(far)),
            )
        )
    return tuple(pairs)
