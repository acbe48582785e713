"""Along numeric factors: how far the mean response at each value lies from the patient's own mean."""

import math
from pathlib import Path

from matplotlib.axes import Axes

from medsweep.analysis.factors.dependence import FactorTrend, PartialDependence
from medsweep.analysis.factors.effects import FactorStudy
from medsweep.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    Drawn,
    Rows,
    ends,
    look,
    margin_band,
    panels,
    save,
    wrapped,
)
from medsweep.analysis.study.wording import p_text, with_span
from medsweep.metrics import Metric


def draw_dependence(study: FactorStudy, metric: Metric, margin: float, stem: Path) -> Drawn:
    """One panel per numeric factor on a shared scale; bars are intervals over patients, dashed ones over runs too.

    The steps that are shown at every level of analysis are drawn thick.

    Raises:
        ValueError: no factor has three numeric levels.
    """
    if not study.dependence:
        raise ValueError("no factor has three numeric levels to draw")
    trends = {one.factor: one for one in study.ordered}
    with look():
        titles = [wrapped(f"{one.factor}: {one.course}", 32) for one in study.dependence]
        better = "up" if metric.higher_is_better else "down"
        ylabel = f"{metric.in_unit} less its mean\nover the levels ({better} is better)"
        drawing, places = panels(titles, ylabel, 2.6)
        for axes, one in zip(places, study.dependence, strict=True):
            margin_band(axes, margin, vertical=False)
            _panel(axes, one, study.level)
            axes.set_xlabel(_trend(trends[one.factor], metric), fontsize=7)
        return save(drawing, stem, _data(study))


def _panel(axes: Axes, one: PartialDependence, level: float) -> None:
    xs = range(len(one.points))
    values = [point.centred.patients.value for point in one.points]
    for i, (p, step) in enumerate(zip(one.p_steps, one.steps, strict=True)):
        over_runs = one.p_steps_runs[i] if one.p_steps_runs else 0.0
        shown = max(p, over_runs) < 1 - level and step.patients.value != 0
        axes.plot(xs[i : i + 2], values[i : i + 2], color=INK if shown else QUIET, lw=2.2 if shown else 0.9, zorder=2)
    for x, point in zip(xs, one.points, strict=True):
        over, runs = point.centred.patients, point.centred.runs
        if math.isfinite(over.low):
            axes.plot([x, x], [over.low, over.high], color=INK, lw=1.3, zorder=3)
        if runs is not None and math.isfinite(runs.low):
            axes.plot([x + 0.12] * 2, [runs.low, runs.high], color=ACCENT, lw=1.1, ls=(0, (3, 1.5)), zorder=3)
        axes.plot(x, over.value, "s", color=ACCENT, mec=INK, mew=0.6, ms=4, zorder=4)
    axes.set_xticks(xs, [point.label for point in one.points])
    axes.set_xlim(-0.5, len(one.points) - 0.5)


def _trend(one: FactorTrend, metric: Metric) -> str:
    digits = metric.digits + 1
    terms = [("rise", one.rise)] if one.bend is None else [("rise", one.rise), ("bend", one.bend)]
    texts = []
    for name, term in terms:
        over = term.patients
        p = p_text(over.p) if term.runs is None else f"{p_text(over.p)}, over runs {p_text(term.runs.p)}"
        texts.append(f"{name} {with_span(over.value, over, digits)}\n{p}")
    kind = "by a fitted curve, " if one.method == "polynomial" else ""
    axis = "log scale, " if one.scale == "log2" else ""
    return "\n".join([f"{axis}{kind}n = {one.n}", *texts])


def _data(study: FactorStudy) -> Rows:
    return [
        {
            "factor": one.factor,
            "value": point.value,
            "n": one.n,
            "mean": point.mean.patients.value,
            "centred": point.centred.patients.value,
            **ends(point.centred.patients),
            **ends(point.centred.runs, "_runs_random"),
            "p_holm_step_from_before": step,
            "course": str(one.course),
        }
        for one in study.dependence
        for point, step in zip(one.points, (None, *one.p_steps), strict=True)
    ]
