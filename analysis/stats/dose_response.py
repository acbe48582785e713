"""Does more help, or help and then harm? Per-patient contrasts on log dose, Page's trend both ways, shape and harm.

A dose response has K counts above dose 0, the control.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import numpy as np
from scipy import stats

from medsweep.analysis.records import ArmInfo, Array, Estimate, mean_estimate
from medsweep.analysis.stats.method_tests import two_way
from medsweep.analysis.stats.p_adjustment import holm
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import scores_of

Contrast = Callable[[Array], Estimate]
"""Weights over dose 0 and the K counts, (K + 1,) -> estimate of the weighted sum of their means, at level 1 - alpha."""


class Shape(StrEnum):
    """Shape of the benefit over doses, whatever the metric's direction: up is better. See ``shape_of`` for the rule."""

    FLAT = "flat"
    RISING = "rising"
    FALLING = "falling"
    UMBRELLA = "umbrella"
    DIP = "dip"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Onset:
    """First of the counts, ascending, whose two-sided interval lies wholly beyond a threshold of harm.

    ``count`` is None where none does ``up_to`` the largest count; ``counts`` are all that do.
    """

    count: int | None
    counts: tuple[int, ...]
    up_to: int

    @property
    def text(self) -> str:
        """``from 200`` or ``none up to 500``."""
        return f"none up to {self.up_to}" if self.count is None else f"from {self.count}"


@dataclass(frozen=True)
class HarmOnset:
    """Where harm begins: beyond no difference, and beyond the margin; per count, and Holm-adjusted over counts."""

    zero: Onset
    margin: Onset
    zero_holm: Onset
    margin_holm: Onset


@dataclass(frozen=True)
class Doses:
    """One dose response as the rules below read it; ``gains[i]`` is the benefit of count i over the control."""

    contrast: Contrast
    linear: Array
    quadratic: Array
    counts: tuple[int, ...]
    margin: float
    alpha: float
    higher_is_better: bool

    @property
    def toward(self) -> float:
        """+1 where higher is better, -1 where lower is."""
        return 1.0 if self.higher_is_better else -1.0

    def gain(self, dose: int, other: int = 0) -> Estimate:
        """Benefit of one dose over another; dose 0 is the control."""
        weights = np.zeros(len(self.counts) + 1)
        weights[dose] += self.toward
        weights[other] -= self.toward
        return self.contrast(weights)


def shape_of(doses: Doses, *others: Doses) -> Shape:
    """The shape that the evidence supports, at alpha = 1 - level; ``unclear`` is an answer.

    With ``others``, the same doses at another level of analysis, a test counts only where every level shows it; where
    the best mean lies is for the first to say.

    The first that holds, for K >= 2 counts (with one count only flat or unclear):

    * flat: every count is equivalent to the control, TOST at alpha inside the margin. It comes first: a bend whose
      every dose is shown not to matter is no umbrella.
    * umbrella, up then down: the quadratic contrast on log dose is negative (two-sided p < alpha), the best mean is at
      an interior count, and it is shown to be above the control AND above the largest count. Both are two-sided tests
      with Bonferroni over the K - 1 interior counts, since the best one was picked from the data.
    * dip, down then up: the same upside down.
    * rising: the linear contrast is positive (p < alpha), the largest count is shown above the control (p < alpha), and
      no interior count is shown above the largest (as for the umbrella). Falling: the same upside down.
    * unclear: none of them is shown. A rise that levels off is rising, a plateau that breaks off falling.

    All tests are t tests of contrasts; K + 1 means of few patients with wild outliers are not for it. The counts are
    those tested: a maximum beyond them is out of sight.
    """
    levels = (doses, *others)
    if all(level.gain(i + 1).within(level.margin, level.alpha) for level in levels for i in range(len(level.counts))):
        return Shape.FLAT
    if len(doses.counts) < 2:
        return Shape.UNCLEAR
    for sign, bent in ((1, Shape.UMBRELLA), (-1, Shape.DIP)):
        if _bends(levels, sign):
            return bent
    for sign, straight in ((1, Shape.RISING), (-1, Shape.FALLING)):
        if _moves(levels, sign):
            return straight
    return Shape.UNCLEAR


def _bends(levels: Sequence[Doses], sign: int) -> bool:
    """Umbrella for sign +1, dip for -1."""
    doses = levels[0]
    last = len(doses.counts)
    means = [0.0, *(sign * doses.gain(i + 1).value for i in range(last))]
    peak = int(np.argmax(means))
    if not 0 < peak < last:
        return False
    alpha = doses.alpha / (last - 1)
    return all(
        _shown(level.contrast(sign * level.toward * level.quadratic), -1, level.alpha)
        and _shown(level.gain(peak), sign, alpha)
        and _shown(level.gain(peak, last), sign, alpha)
        for level in levels
    )


def _moves(levels: Sequence[Doses], sign: int) -> bool:
    """Rising for sign +1, falling for -1."""
    last = len(levels[0].counts)
    return all(
        _shown(level.contrast(level.toward * level.linear), sign, level.alpha)
        and _shown(level.gain(last), sign, level.alpha)
        and not any(_shown(level.gain(i, last), sign, level.alpha / (last - 1)) for i in range(1, last))
        for level in levels
    )


def _shown(estimate: Estimate, sign: int, alpha: float) -> bool:
    """Differs from 0 in the direction of ``sign``; never for a NaN."""
    return sign * estimate.value > 0 and estimate.p < alpha


def harm_onset(doses: Doses) -> HarmOnset:
    """Where harm begins among the counts: against 0 and against the margin, plain and with Holm over the counts.

    An interval lies beyond the threshold exactly where the two-sided t test against the threshold has p < alpha on the
    harmful side. "None up to n" is no proof of harmlessness: that is what equivalence is for.
    """
    harms = [(-gain.value, gain.se, gain.df) for gain in (doses.gain(i + 1) for i in range(len(doses.counts)))]

    def onset(threshold: float, *, adjust: bool) -> Onset:
        """One threshold."""
        raw = [_p_beyond(*harm, threshold) for harm in harms]
        p = holm(raw) if adjust else tuple(raw)
        beyond = tuple(count for count, p_count in zip(doses.counts, p, strict=True) if p_count < doses.alpha)
        first = beyond[0] if beyond else None
        return Onset(first, beyond, doses.counts[-1])

    return HarmOnset(
        zero=onset(0.0, adjust=False),
        margin=onset(doses.margin, adjust=False),
        zero_holm=onset(0.0, adjust=True),
        margin_holm=onset(doses.margin, adjust=True),
    )


def _p_beyond(harm: float, se: float, df: float, threshold: float) -> float:
    """Two-sided p of the harm against the threshold where it lies beyond it, 1 where it does not; NaN without se."""
    if harm <= threshold:
        return 1.0
    return 0.0 if se == 0 else float(2 * stats.t.sf((harm - threshold) / se, df))


EXACT_PAGE = (8, 20, 12)
"""Page's tables: exact up to 8 doses and 20 patients, from 4 doses on up to 12 patients; normal beyond."""


@dataclass(frozen=True)
class DosePoint:
    """One arm of a series: differences from the control, in the order of ``DoseSeries.patients``."""

    arm: str
    count: int
    differences: tuple[float, ...]
    mean: Estimate


@dataclass(frozen=True)
class PageTest:
    """Page's L (``statistic``; Page 1963) over n patients and k doses, one-sided for values rising with dose.

    ``method``: the exact distribution, or the normal approximation; both are for untied ranks, and with ``tied``
    patients conservative. "constant" where every patient scores all doses alike: p is 1.
    """

    statistic: float
    p: float
    method: Literal["exact", "normal", "constant"]
    tied: int


@dataclass(frozen=True)
class Trend:
    """Contrasts over dose 0 and the series' counts.

    ``linear``: slope per unit of x = log2(1 + count / scale). ``quadratic``: coefficient of x^2 made orthogonal to 1
    and x; negative is up, then down. ``*_runs``: the same with runs taken as random too, where there are any to test
    over. Page's L one-sided, for rising and for falling values.
    """

    scale: float
    linear: Estimate
    quadratic: Estimate
    page_rising: PageTest
    page_falling: PageTest
    linear_runs: Estimate | None = None
    quadratic_runs: Estimate | None = None


@dataclass(frozen=True)
class DoseSeries:
    """One series, doses ascending; ``trend`` is None with fewer than two counts above 0.

    ``shape`` is what patients alone (``shape_patients``) and runs as random (``shape_runs``, None where there is
    nothing to test over) both support, test by test. Neither is judged with one patient; ``harm_runs`` has runs random.
    """

    name: str
    patients: tuple[str, ...]
    points: tuple[DosePoint, ...]
    trend: Trend | None
    harm: HarmOnset | None = None
    harm_runs: HarmOnset | None = None
    shape: Shape = Shape.UNCLEAR
    shape_patients: Shape = Shape.UNCLEAR
    shape_runs: Shape | None = None


def dose_series(
    reduced: Reduced, arms: Sequence[ArmInfo], control: str, level: float, scale: float, *, margin: float
) -> list[DoseSeries]:
    """Every series of the design, in the arms' order; patients with a finite value in all its arms.

    ``margin`` is the sweep's, for shape and harm.
    """
    grouped: dict[str, list[ArmInfo]] = {}
    for arm in arms:
        if arm.series is not None and not arm.control and arm.count > 0:
            grouped.setdefault(arm.series, []).append(arm)
    series = []
    for name, members in grouped.items():
        ordered = sorted(members, key=lambda arm: arm.count)
        series.append(_series(name, ordered, control, reduced, level=level, scale=scale, margin=margin))
    return series


def _series(
    name: str,
    ordered: Sequence[ArmInfo],
    control: str,
    reduced: Reduced,
    *,
    level: float,
    scale: float,
    margin: float,
) -> DoseSeries:
    """Points, contrasts, shape and harm at both levels of analysis."""
    columns = [control, *(arm.name for arm in ordered)]
    wide = reduced.wide[columns]
    wide = wide[np.isfinite(wide.to_numpy()).all(axis=1)]
    points = []
    for arm in ordered:
        delta = (wide[arm.name] - wide[control]).to_numpy(dtype=np.float64).round(12)
        points.append(DosePoint(arm.name, arm.count, tuple(delta.tolist()), mean_estimate(delta, level)))
    counts = [0, *(arm.count for arm in ordered)]
    patients = tuple(map(str, wide.index))
    values = wide.to_numpy(dtype=np.float64)
    if len(wide) < 2:
        return DoseSeries(name, patients, tuple(points), None)
    over_runs = run_contrast(reduced, columns, level)
    fitted = trend(values, counts, scale, level, over_runs=over_runs) if len(counts) >= 3 else None
    none = np.zeros(len(counts))
    weights = contrasts(counts, scale) if len(counts) >= 3 else {"linear": none, "quadratic": none}
    alone = Doses(
        # a one-sample t over patients holds for the trained models at hand
        contrast=lambda weight_K: mean_estimate((values @ weight_K).round(12), level),
        linear=weights["linear"],
        quadratic=weights["quadratic"],
        counts=tuple(counts[1:]),
        margin=margin,
        alpha=1 - level,
        higher_is_better=reduced.metric.higher_is_better,
    )
    runs = None if over_runs is None else replace(alone, contrast=over_runs)
    return DoseSeries(
        name,
        patients,
        tuple(points),
        fitted,
        harm=harm_onset(alone),
        harm_runs=None if runs is None else harm_onset(runs),
        shape=shape_of(alone) if runs is None else shape_of(alone, runs),
        shape_patients=shape_of(alone),
        shape_runs=None if runs is None else shape_of(runs),
    )


def run_contrast(reduced: Reduced, columns: Sequence[str], level: float) -> Contrast | None:
    """Contrasts with runs random too, as ``variance.method_test`` has them for a pair; None without runs to test over.

    Two folds or more: one-sample t over fold means of the scores. One held-out set: two-way test of patients x seeds.
    Patients with an infinite value are left out.
    """
    scores = scores_of(reduced, columns)
    keep = scores.finite_cells(np.arange(len(columns)))
    if len(scores.folds) > 1:
        means_KJ = scores.fold_means(scores.values, keep)
        return None if means_KJ.shape[1] < 2 else lambda weight_K: mean_estimate((weight_K @ means_KJ).round(12), level)
    values_PRK = np.moveaxis(scores.crossed(scores.values, keep), 0, -1)
    if min(values_PRK.shape[:2]) < 2:
        return None
    return lambda weight_K: two_way((values_PRK @ weight_K).round(12), level)


def trend(
    values_NK: Array, counts: Sequence[int], scale: float, level: float, *, over_runs: Contrast | None = None
) -> Trend:
    """Contrast scores of N patients over K >= 3 ascending doses, each tested with a one-sample t."""
    weights = contrasts(counts, scale)
    scores = {name: values_NK @ weight_K for name, weight_K in weights.items()}
    return Trend(
        scale=scale,
        linear=mean_estimate(scores["linear"], level),
        quadratic=mean_estimate(scores["quadratic"], level),
        page_rising=page_test(values_NK),
        page_falling=page_test(values_NK[:, ::-1]),
        linear_runs=None if over_runs is None else over_runs(weights["linear"]),
        quadratic_runs=None if over_runs is None else over_runs(weights["quadratic"]),
    )


def contrasts(counts: Sequence[int], scale: float) -> Mapping[str, Array]:
    """Least-squares weights over K doses that read the linear and quadratic coefficients off a patient's scores.

    x = log2(1 + count / scale). The basis is 1, x - mean(x), and what is left of x^2 after both.
    """
    x = np.log2(1 + np.asarray(counts, dtype=np.float64) / scale)
    centred = x - x.mean()
    basis = np.stack([np.ones_like(x), centred], axis=1)
    q, _ = np.linalg.qr(basis)
    square = x**2 - q @ (q.T @ x**2)
    return {"linear": centred / (centred**2).sum(), "quadratic": square / (square**2).sum()}


def page_test(values_NK: Array) -> PageTest:
    """Page's L over N >= 2 patients (blocks) and K >= 3 ascending doses, for values rising from left to right.

    L = sum_j j R_j with R_j the rank sum of dose j, ties at mean ranks. Exact where the tables of Page (1963) and
    Hollander and Wolfe are; otherwise z = (L - E) / sqrt(V) with E = n k (k+1)^2 / 4 and V = n k^2 (k+1) (k^2-1) / 144,
    without a continuity correction. Assumes independent patients; not for slices, folds or seeds as blocks, nor for
    separate groups of patients per dose.
    """
    n, k = values_NK.shape
    ranks = stats.rankdata(values_NK, axis=1)
    tied = int((np.diff(np.sort(values_NK, axis=1), axis=1) == 0).any(axis=1).sum())
    statistic = float(ranks.sum(axis=0) @ np.arange(1, k + 1))
    if np.ptp(values_NK, axis=1).max() == 0:
        return PageTest(statistic, 1.0, "constant", tied)
    most_doses, most, most_of_four = EXACT_PAGE
    exact = k <= most_doses and n <= most and (k <= 3 or n <= most_of_four)
    result = stats.page_trend_test(ranks, ranked=True, method="exact" if exact else "asymptotic")
    return PageTest(statistic, min(float(result.pvalue), 1.0), "exact" if exact else "normal", tied)
