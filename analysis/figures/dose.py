"""The dose panels: each patient's difference from the control at every count, mean, interval, trend, shape and harm."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, INK, QUIET, Drawn, Rows
from medsweep.analysis.stats.dose_response import DoseSeries, HarmOnset, Trend
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import p_text, percent, with_span
from medsweep.metrics import Metric

HARM = "\N{WHITE DOWN-POINTING TRIANGLE}"
HARM_BEYOND_MARGIN = "\N{BLACK DOWN-POINTING TRIANGLE}"


def draw_dose(analysis: Analysis, stem: Path) -> Drawn:
    """One panel per series on a shared scale; dose 0 is the control, where every difference is 0 by definition.

    Triangles on the upper edge mark where harm begins: hollow where the interval leaves 0, filled where it leaves the
    margin.
    """
    series, metric, limits = analysis.dose, analysis.primary.metric, _limits(analysis)
    with style.look():
        titles = [f"{style.wrapped(curve.name, 30)}\n{_shape_text(curve)}" for curve in series]
        ylabel = f"difference in {metric.in_unit}\nfrom {style.wrapped(analysis.control, 26)}"
        drawing, places = style.panels(titles, ylabel, 3.3)
        for axes, curve in zip(places, series, strict=True):
            _panel(axes, curve, limits, metric)
            style.margin_band(axes, analysis.rules.margin, vertical=False)
            axes.set_ylim(*limits)
        return style.save(drawing, stem, _data(series))


def _limits(analysis: Analysis) -> tuple[float, float]:
    """An axis for the bulk of the patients in arms that trained, and for all their intervals."""
    diverged = {arm.arm for arm in analysis.primary.descriptions if arm.diverged}
    points = [point for series in analysis.dose for point in series.points if point.arm not in diverged]
    margin = analysis.rules.margin
    values = [-2 * margin, 2 * margin]
    for point in points:
        if point.differences:
            values += np.quantile(point.differences, [0.05, 0.95]).tolist()
        values += [point.mean.low, point.mean.high]
    return style.with_room(values, 0.2)


def _panel(axes: Axes, series: DoseSeries, limits: tuple[float, float], metric: Metric) -> None:
    low, high = limits
    for x, point in enumerate(series.points):
        values = np.asarray(point.differences)
        # spread by rank, not by chance: neighbours in value stand side by side
        order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        spread = x - 0.12 + ((order % 5) - 2) * 0.055
        shown = (values >= low) & (values <= high)
        axes.plot(spread[shown], values[shown], "o", ms=3, mfc="none", mec=QUIET, mew=0.7, zorder=2)
        for edge, mark, count in ((low, "v", (values < low).sum()), (high, "^", (values > high).sum())):
            if count:
                axes.plot(x - 0.12, edge, mark, ms=5, color=QUIET, clip_on=False, zorder=2)
                axes.text(x - 0.03, edge, str(count), fontsize=7, va="bottom" if mark == "v" else "top")
        mean = point.mean
        if math.isfinite(mean.low):
            axes.plot([x + 0.27] * 2, [mean.low, mean.high], color=INK, lw=1.3, zorder=3)
        axes.plot(x + 0.27, mean.value, "s", color=ACCENT, mec=INK, mew=0.6, ms=5, zorder=4)
    axes.set_xticks(range(len(series.points)), [str(point.count) for point in series.points])
    axes.set_xlim(-0.6, len(series.points) - 0.4)
    level = percent(series.points[0].mean.level)
    notes = ["count of synthetic samples", f"n = {len(series.patients)} patients, {level} CI, all arms"]
    if series.harm is not None:
        _onsets(axes, series, series.harm)
        notes += _harm_lines(series.harm)
    notes += _trend_lines(series.trend, metric)
    axes.set_xlabel("\n".join(notes), fontsize=7)


def _onsets(axes: Axes, series: DoseSeries, harm: HarmOnset) -> None:
    """A hollow and a filled triangle above the first counts whose interval leaves 0, and the margin, harmfully."""
    counts = [point.count for point in series.points]
    for onset, face, y in ((harm.zero, "white", 0.965), (harm.margin, INK, 0.905)):
        if onset.count is not None:
            x = counts.index(onset.count) + 0.27
            axes.plot(x, y, "v", ms=6, mec=INK, mfc=face, mew=0.9, transform=axes.get_xaxis_transform(), zorder=5)


def _shape_text(series: DoseSeries) -> str:
    """The shape that both levels support, and what patients alone show where that differs."""
    if series.harm is None:
        return "shape not judged"
    if series.shape == series.shape_patients:
        return f"shape: {series.shape}"
    return f"shape: {series.shape}\n(these models alone: {series.shape_patients})"


def _harm_lines(harm: HarmOnset) -> list[str]:
    return [f"{HARM} harm: {harm.zero.text}", f"{HARM_BEYOND_MARGIN} past margin: {harm.margin.text}"]


def _trend_lines(trend: Trend | None, metric: Metric) -> list[str]:
    if trend is None:
        return []
    digits = metric.digits + 1
    lines = [
        f"{name} {with_span(term.value, term, digits)}"
        for name, term in (
            ("slope", trend.linear_runs or trend.linear),
            ("bend", trend.quadratic_runs or trend.quadratic),
        )
    ]
    return [*lines, f"Page: up {p_text(trend.page_rising.p)}, down {p_text(trend.page_falling.p)}"]


def _data(series: Sequence[DoseSeries]) -> Rows:
    return [
        {
            "series": curve.name,
            "arm": point.arm,
            "count": point.count,
            "patient": patient,
            "difference": difference,
            "mean": point.mean.value,
            **style.ends(point.mean),
            "shape": str(curve.shape),
            "harm_from": curve.harm.zero.count if curve.harm else None,
            "harm_beyond_margin_from": curve.harm.margin.count if curve.harm else None,
        }
        for curve in series
        for point in curve.points
        # numbered, not named: the page that carries these data may leave the house
        for patient, difference in enumerate(point.differences, start=1)
    ]
