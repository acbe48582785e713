"""Factors whose levels are numbers: the trend along them, and the mean response at each level."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from medsweep.analysis.factors.design import EffectMethod, FactorContrast, FactorLayout
from medsweep.analysis.factors.least_squares import Scale, scale_of, scaled
from medsweep.analysis.factors.terms import ArmScores, Term
from medsweep.analysis.records import Array, Estimate
from medsweep.analysis.stats.p_adjustment import holm


@dataclass(frozen=True)
class FactorTrend:
    """Linear and quadratic contrast over the ordered ``values`` of a factor, averaged over the other factors.

    ``rise`` is the height that the fitted line gains from the lowest to the highest value, ``bend`` how far the ends
    of the fitted parabola lie above its middle (negative: up, then down), None where only a line was fitted. Both in
    units of the metric; the line is straight on ``scale``.
    """

    factor: str
    scale: Scale
    method: EffectMethod
    values: tuple[float, ...]
    n: int
    rise: Term
    bend: Term | None


class Course(StrEnum):
    """Where the mean response goes from the lowest level to the highest, judged by steps and rise where shown."""

    RISING = "rising"
    FALLING = "falling"
    TURNING = "not monotone"
    UNCLEAR = "no trend shown"


@dataclass(frozen=True)
class DependencePoint:
    """Mean response at one value; ``centred`` is less the patient's mean over all points, which cancels the patient."""

    label: str
    value: float
    mean: Term
    centred: Term


@dataclass(frozen=True)
class PartialDependence:
    """Mean response over the other factors at each of three or more numeric values.

    ``steps`` go from each point to the next; ``p_steps`` and ``p_steps_runs`` are after Holm over them and the rise of
    the fitted line. One is shown where it is at every level of analysis there is; ``course`` puts these together: two
    directions shown are not monotone.
    """

    factor: str
    n: int
    points: tuple[DependencePoint, ...]
    steps: tuple[Term, ...]
    p_steps: tuple[float, ...]
    p_steps_runs: tuple[float, ...]
    course: Course


def values_of(design: FactorLayout, contrast: FactorContrast) -> tuple[float, ...]:
    """Numeric values of the rows of ``contrast.means``; empty for an interaction and for names."""
    if len(contrast.factors) > 1 or contrast.means is None:
        return ()
    if contrast.grid:
        return contrast.grid
    values = design.factors[contrast.factors[0]].values
    return tuple(values[code] for code in contrast.levels[0]) if values else ()


def ordered(design: FactorLayout, contrast: FactorContrast, data: ArmScores) -> FactorTrend | None:
    """Trend of a main effect; None with fewer than three numeric levels."""
    values = values_of(design, contrast)
    if len(values) < 3 or contrast.means is None:
        return None
    line, parabola = trend_weights(scaled(values))
    bend = parabola @ contrast.means
    return FactorTrend(
        factor=design.factors[contrast.factors[0]].name,
        scale=scale_of(values),
        method=contrast.method,
        values=values,
        n=int(data.finite_patients(contrast.means).sum()),
        rise=data.term("rise", line @ contrast.means),
        bend=data.term("bend", bend) if np.abs(bend).max() > 1e-9 else None,
    )


def trend_weights(x: Array) -> tuple[Array, Array]:
    """Weights over K >= 3 values that read rise and bend off the responses, by least squares.

    Rise is the slope times the range of x. Bend is the coefficient of x^2, made orthogonal to 1 and x, times
    (range / 2)^2: for three evenly spaced values the mean of the ends minus the middle.
    """
    reach = float(np.ptp(x))
    centred = x - x.mean()
    q, _ = np.linalg.qr(np.stack([np.ones_like(x), centred], axis=1))
    square = centred**2 - q @ (q.T @ centred**2)
    return centred * reach / (centred**2).sum(), square * (reach / 2) ** 2 / (square**2).sum()


def dependence(design: FactorLayout, contrast: FactorContrast, data: ArmScores) -> PartialDependence | None:
    """Mean response along a factor; None with fewer than three numeric levels."""
    values = values_of(design, contrast)
    if len(values) < 3 or contrast.means is None:
        return None
    means = contrast.means
    names = [f"{value:.3g}" for value in values]
    points = tuple(
        DependencePoint(name, value, data.term(name, row), data.term(name, row - means.mean(axis=0)))
        for name, value, row in zip(names, values, means, strict=True)
    )
    steps = tuple(
        data.term(f"{before} to {after}", row)
        for before, after, row in zip(names, names[1:], np.diff(means, axis=0), strict=False)
    )
    judged = [*steps, data.term("rise", trend_weights(scaled(values))[0] @ means)]
    over_runs = [term.runs for term in judged if term.runs is not None]
    p = holm([term.patients.p for term in judged])
    p_runs = holm([run.p for run in over_runs]) if len(over_runs) == len(judged) else ()
    return PartialDependence(
        factor=design.factors[contrast.factors[0]].name,
        n=int(data.finite_patients(means).sum()),
        points=points,
        steps=steps,
        p_steps=p[:-1],
        p_steps_runs=p_runs[:-1],
        course=_course([term.patients for term in judged], p, p_runs, 1 - data.level),
    )


def _course(judged: list[Estimate], p: tuple[float, ...], p_runs: tuple[float, ...], alpha: float) -> Course:
    shown = {
        step.value > 0
        for i, step in enumerate(judged)
        if p[i] < alpha and (not p_runs or p_runs[i] < alpha) and step.value != 0
    }
    if len(shown) == 2:
        return Course.TURNING
    if not shown:
        return Course.UNCLEAR
    return Course.RISING if True in shown else Course.FALLING
