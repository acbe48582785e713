"""Does more help, or help and then harm? Per-patient contrasts on log dose, Page's trend both ways, shape and harm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from medsweep.analysis.records import ArmInfo, Array, Estimate, mean_estimate
from medsweep.analysis.stats.contrast_tests import two_way
from medsweep.analysis.stats.dose_shape import Contrast, Doses, HarmOnset, Shape, harm_onset, shape_of
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import scores_of

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
