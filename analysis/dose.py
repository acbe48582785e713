"""Does more help, or help and then harm? Per-patient contrasts on log dose, and Page's trend both ways."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.records import ArmInfo, Array, Estimate, mean_estimate
from analysis.tables import Reduced


@dataclass(frozen=True)
class DosePoint:
    """One arm of a series: differences from the control, in the order of ``DoseSeries.patients``."""

    arm: str
    count: int
    differences: tuple[float, ...]
    mean: Estimate


@dataclass(frozen=True)
class Trend:
    """Contrasts over dose 0 and the series' counts.

    ``linear``: slope per unit of x = log2(1 + count / scale). ``quadratic``: coefficient of x^2 made orthogonal to 1
    and x; negative is up, then down. Page's L one-sided, for rising and for falling values.
    """

    scale: float
    linear: Estimate
    quadratic: Estimate
    page_p_rising: float
    page_p_falling: float


@dataclass(frozen=True)
class DoseSeries:
    """One series, doses ascending; ``trend`` is None with fewer than two counts above 0."""

    name: str
    patients: tuple[str, ...]
    points: tuple[DosePoint, ...]
    trend: Trend | None


def dose_series(
    reduced: Reduced, arms: Sequence[ArmInfo], control: str, level: float, scale: float
) -> list[DoseSeries]:
    """Every series of the design, in the arms' order; patients with a finite value in all its arms."""
    grouped: dict[str, list[ArmInfo]] = {}
    for arm in arms:
        if arm.series is not None and not arm.control and arm.count > 0:
            grouped.setdefault(arm.series, []).append(arm)
    found = []
    for name, members in grouped.items():
        ordered = sorted(members, key=lambda arm: arm.count)
        counts = [0, *(arm.count for arm in ordered)]
        if len(set(counts)) != len(counts):
            raise ValueError(
                f"series {name!r} holds one count twice ({counts}); its arms differ in more than the count"
            )
        wide = reduced.wide[[control, *(arm.name for arm in ordered)]]
        finite = wide[np.isfinite(wide.to_numpy()).all(axis=1)]
        found.append(_series(name, ordered, finite, level, scale))
    return found


def _series(name: str, ordered: Sequence[ArmInfo], wide: pd.DataFrame, level: float, scale: float) -> DoseSeries:
    """``wide``: patients x (control, then the arms by count), all finite."""
    control = wide.columns[0]
    points = []
    for arm in ordered:
        delta = (wide[arm.name] - wide[control]).to_numpy(dtype=np.float64).round(12)
        points.append(DosePoint(arm.name, arm.count, tuple(delta.tolist()), mean_estimate(delta, level)))
    counts = [0, *(arm.count for arm in ordered)]
    enough = len(counts) >= 3 and len(wide) >= 2
    values = wide.to_numpy(dtype=np.float64)
    found = trend(values, counts, scale, level) if enough else None
    return DoseSeries(name, tuple(map(str, wide.index)), tuple(points), found)


def trend(values_NK: Array, counts: Sequence[int], scale: float, level: float) -> Trend:
    """Contrast scores of N patients over K >= 3 ascending doses, each tested with a one-sample t."""
    weights = contrasts(counts, scale)
    scores = {name: values_NK @ weight_K for name, weight_K in weights.items()}
    rising, falling = page(values_NK), page(values_NK[:, ::-1])
    return Trend(
        scale=scale,
        linear=mean_estimate(scores["linear"], level),
        quadratic=mean_estimate(scores["quadratic"], level),
        page_p_rising=rising,
        page_p_falling=falling,
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


def page(values_NK: Array) -> float:
    """One-sided p of Page's L (Page 1963) for values rising from left to right; 1 where all are tied."""
    if np.ptp(values_NK, axis=1).max() == 0:
        return 1.0
    p = float(stats.page_trend_test(values_NK).pvalue)
    return 1.0 if math.isnan(p) else p
