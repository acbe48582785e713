"""Does more help, or help and then harm? Per-patient contrasts on log dose, Page's trend both ways, shape and harm.

A dose response has K counts above dose 0, the control.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Literal

import numpy as np
import scipy

from medsweep.analysis.records import ArmInfo, Array, Estimate, decimals_of, mean_estimate
from medsweep.analysis.stats.method_tests import nadeau_bengio, overlap_ratio, two_way
from medsweep.analysis.table.reduction import Reduced, difference
from medsweep.analysis.table.score_array import Replication, scores_of

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
    """Where harm begins: beyond no difference, and beyond the margin."""

    zero: Onset
    margin: Onset


@dataclass(frozen=True)
class DosePoint:
    """One arm of a series: differences from the control, in the order of ``DoseSeries.patients``.

    ``mean`` has the interval and p of the verdict, for all arms at once.
    """

    arm: str
    count: int
    differences: tuple[float, ...]
    mean: Estimate


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


def harm_onset(points: Sequence[DosePoint], margin: float, *, higher_is_better: bool) -> HarmOnset:
    """Where harm begins among the counts, by the intervals that carry the verdicts.

    They hold for all arms of the sweep at once and have runs random wherever there are any, so that no further
    correction is needed. "None up to n" is no proof of harmlessness: that is what equivalence is for.
    """

    def onset(threshold: float) -> Onset:
        """One threshold."""
        least = [-point.mean.high if higher_is_better else point.mean.low for point in points]
        beyond = tuple(point.count for point, harm in zip(points, least, strict=True) if harm > threshold)
        return Onset(beyond[0] if beyond else None, beyond, points[-1].count)

    return HarmOnset(onset(0.0), onset(margin))


EXACT_PAGE = (7, 200)
"""Doses and patients up to which the distribution of Page's L is counted out; normal beyond."""


@dataclass(frozen=True)
class PageTest:
    """Page's L (``statistic``; Page 1963) over n patients and k doses, one-sided for values rising with dose.

    ``method``: the exact distribution given the ties, or the normal approximation with their variance; ``tied``
    patients have some. "constant" where every patient scores all doses alike: p is 1.
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
    nothing to test over) both support, test by test. Neither is judged with one patient.
    """

    name: str
    patients: tuple[str, ...]
    points: tuple[DosePoint, ...]
    trend: Trend | None
    harm: HarmOnset | None = None
    shape: Shape = Shape.UNCLEAR
    shape_patients: Shape = Shape.UNCLEAR
    shape_runs: Shape | None = None


@dataclass(frozen=True)
class DoseRules:
    """What all series share: the control, the intervals' level, the count that is one unit of dose, and the margin.

    ``quoted`` are the differences of all arms as their verdicts have them. ``test_over_train`` is n_test/n_train of a
    fold, for folds that overlap; None takes it from the table.
    """

    control: str
    level: float
    scale: float
    margin: float
    quoted: Mapping[str, Estimate]
    test_over_train: float | None = None


def dose_series(reduced: Reduced, arms: Sequence[ArmInfo], rules: DoseRules) -> list[DoseSeries]:
    """Every series of the design, in the arms' order; none where the control is no dose of 0."""
    if any(arm.control and arm.count > 0 for arm in arms):
        return []
    grouped: dict[str, list[ArmInfo]] = {}
    for arm in arms:
        if arm.series is not None and not arm.control and arm.count > 0:
            grouped.setdefault(arm.series, []).append(arm)
    return [
        _series(name, sorted(members, key=lambda arm: arm.count), reduced, rules) for name, members in grouped.items()
    ]


def _series(name: str, ordered: Sequence[ArmInfo], reduced: Reduced, rules: DoseRules) -> DoseSeries:
    """Points, contrasts, shape and harm."""
    columns = [rules.control, *(arm.name for arm in ordered)]
    wide = reduced.wide[columns]
    wide = wide[np.isfinite(wide.to_numpy()).all(axis=1)]
    points = []
    for arm in ordered:
        delta = difference(*(wide[name].to_numpy(dtype=np.float64) for name in (arm.name, rules.control)))
        points.append(DosePoint(arm.name, arm.count, tuple(delta.tolist()), rules.quoted[arm.name]))
    counts = [0, *(arm.count for arm in ordered)]
    patients = tuple(map(str, wide.index))
    values = wide.to_numpy(dtype=np.float64)
    if len(wide) < 2:
        return DoseSeries(name, patients, tuple(points), None)
    over_runs = run_contrast(reduced, columns, rules.level, rules.test_over_train)
    fitted = trend(values, counts, rules.scale, rules.level, over_runs=over_runs) if len(counts) >= 3 else None
    none = np.zeros(len(counts))
    weights = contrasts(counts, rules.scale) if len(counts) >= 3 else {"linear": none, "quadratic": none}
    alone = Doses(
        # a one-sample t over patients holds for the trained models at hand
        contrast=lambda weight_K: mean_estimate((values @ weight_K).round(decimals_of(values)), rules.level),
        linear=weights["linear"],
        quadratic=weights["quadratic"],
        counts=tuple(counts[1:]),
        margin=rules.margin,
        alpha=1 - rules.level,
        higher_is_better=reduced.metric.higher_is_better,
    )
    runs = None if over_runs is None else replace(alone, contrast=over_runs)
    return DoseSeries(
        name,
        patients,
        tuple(points),
        fitted,
        harm=harm_onset(points, rules.margin, higher_is_better=reduced.metric.higher_is_better),
        shape=shape_of(alone) if runs is None else shape_of(alone, runs),
        shape_patients=shape_of(alone),
        shape_runs=None if runs is None else shape_of(runs),
    )


def run_contrast(
    reduced: Reduced, columns: Sequence[str], level: float, test_over_train: float | None = None
) -> Contrast | None:
    """Contrasts with runs random too, as ``method_tests.contrast_test`` has them; None without runs to test over.

    Two folds or more: one-sample t over fold means of the scores, with the variance of Nadeau and Bengio 2003 where
    test patients overlap. One held-out set: two-way test of patients x seeds. An infinite value leaves its patient out.
    """
    scores = scores_of(reduced, columns).balanced(np.arange(len(columns)))
    keep = scores.finite_cells(np.arange(len(columns)))
    if len(scores.folds) > 1:
        means_KJ = scores.fold_means(scores.values, keep)
        if means_KJ.shape[1] < 2:
            return None
        if scores.design is not Replication.REPEATED_HOLD_OUT:
            return lambda weight_K: mean_estimate((weight_K @ means_KJ).round(scores.decimals), level)
        ratio = overlap_ratio(scores, means_KJ.shape[1]) if test_over_train is None else test_over_train
        return lambda weight_K: nadeau_bengio((weight_K @ means_KJ).round(scores.decimals), ratio, level)
    values_PRK = np.moveaxis(scores.crossed(scores.values, keep), 0, -1)
    if min(values_PRK.shape[:2]) < 2:
        return None
    return lambda weight_K: two_way((values_PRK @ weight_K).round(scores.decimals), level)


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

    L = sum_j j R_j with R_j the rank sum of dose j, ties at mean ranks. The exact distribution is over all orders of
    each patient's own ranks, ties included; beyond ``EXACT_PAGE`` z = (L - E) / sqrt(V) with E = n k (k+1)^2 / 4 and
    V = sum over patients of k (k+1) / 12 times the squared deviations of their ranks, which without ties is Page's
    n k^2 (k+1) (k^2-1) / 144, without a continuity correction. Assumes independent patients; not for slices, folds or
    seeds as blocks, nor for separate groups of patients per dose.
    """
    n, k = values_NK.shape
    ranks = scipy.stats.rankdata(values_NK, axis=1)
    tied = int((np.diff(np.sort(values_NK, axis=1), axis=1) == 0).any(axis=1).sum())
    statistic = float(ranks.sum(axis=0) @ np.arange(1, k + 1))
    if np.ptp(values_NK, axis=1).max() == 0:
        return PageTest(statistic, 1.0, "constant", tied)
    doses, patients = EXACT_PAGE
    if k <= doses and n <= patients:
        return PageTest(statistic, _page_exact(ranks, statistic), "exact", tied)
    variance = k * (k + 1) / 12 * float(((ranks - (k + 1) / 2) ** 2).sum())
    z = (statistic - n * k * (k + 1) ** 2 / 4) / np.sqrt(variance)
    return PageTest(statistic, float(scipy.stats.norm.sf(z)), "normal", tied)


def _page_exact(ranks_NK: Array, statistic: float) -> float:
    """P(L >= statistic) by adding up patients; ranks and L doubled, so that mean ranks are whole."""
    pmf, lowest = np.ones(1), 0
    for ranks in np.sort((2 * ranks_NK).round().astype(int), axis=1).tolist():
        own, start = _page_of_one(tuple(ranks))
        pmf, lowest = np.convolve(pmf, own), lowest + start
    return min(float(pmf[max(round(2 * statistic) - lowest, 0) :].sum()), 1.0)


@lru_cache(maxsize=256)
def _page_of_one(doubled: tuple[int, ...]) -> tuple[Array, int]:
    """Distribution of sum_j j r_j over all orders of one patient's doubled ranks, and its first value."""
    orders = np.array(list(itertools.permutations(doubled)))
    sums = orders @ np.arange(1, len(doubled) + 1)
    counts = np.bincount(sums - sums.min())
    return counts / counts.sum(), int(sums.min())
