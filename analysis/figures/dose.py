"""The dose panels: each patient's difference from the control at every count, interval, trend, shape and harm."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, INK, QUIET, Drawn, Rows
from medsweep.analysis.records import Estimate
from medsweep.analysis.stats.dose_response import DoseSeries, HarmOnset, Trend
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import p_text, percent, with_span
from medsweep.metric_record import Metric

HARM = "\N{WHITE DOWN-POINTING TRIANGLE}"
HARM_BEYOND_MARGIN = "\N{BLACK DOWN-POINTING TRIANGLE}"


def draw_dose(analysis: Analysis, stem: Path) -> Drawn:
    """One panel per series on a shared scale; dose 0 is the control, where every difference is 0 by definition.

    The intervals are those of the verdicts. Triangles over the panel mark where harm begins: hollow where the interval
    leaves 0, filled where it leaves the margin.
    """
    series, metric, limits = analysis.dose, analysis.primary.metric, _limits(analysis)
    with style.look():
        titles = [f"{style.wrapped(curve.name, 30)}\n{_shape_text(curve)}" for curve in series]
        ylabel = f"difference in {metric.in_unit}\nfrom {style.wrapped(analysis.control, 26)}"
        drawing, places = style.panels(titles, ylabel, 3.3)
        for axes, curve in zip(places, series, strict=True):
            _panel(axes, curve, limits)
            axes.set_xlabel("\n".join(_notes(axes, analysis, curve)), fontsize=7)
            style.margin_band(axes, analysis.rules.margin, vertical=False)
            axes.set_ylim(*limits)
        return style.save(drawing, stem, _data(series))


def _limits(analysis: Analysis) -> tuple[float, float]:
    """An axis for the bulk of the patients in arms that trained, and for their intervals."""
    diverged = {arm.arm for arm in analysis.primary.descriptions if arm.diverged}
    points = [point for series in analysis.dose for point in series.points if point.arm not in diverged]
    values = list(style.with_intervals([point.mean for point in points], analysis.rules.margin, 0.0))
    for point in points:
        if point.differences:
            values += np.quantile(point.differences, [0.05, 0.95]).tolist()
    return style.with_room(values, 0.2)


def _panel(axes: Axes, series: DoseSeries, limits: tuple[float, float]) -> None:
    low, high = limits
    ticks = []
    for x, point in enumerate(series.points):
        values = np.asarray(point.differences)
        # spread by rank, not by chance: neighbours in value stand side by side
        order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
        spread = x - 0.12 + ((order % 5) - 2) * 0.055
        shown = (values >= low) & (values <= high)
        axes.plot(spread[shown], values[shown], "o", ms=3, mfc="none", mec=QUIET, mew=0.7, zorder=2)
        for edge, mark, beyond in ((low, "v", values < low), (high, "^", values > high)):
            if beyond.any():
                axes.plot(x - 0.12, edge, mark, ms=5, color=QUIET, clip_on=False, zorder=2)
        ticks.append(f"{point.count}\n({(~shown).sum()} beyond)" if (~shown).any() else str(point.count))
        _estimate(axes, point.mean, x + 0.27, limits)
    axes.set_xticks(range(len(series.points)), ticks)
    axes.set_xlim(-0.6, len(series.points) - 0.4)


def _notes(axes: Axes, analysis: Analysis, series: DoseSeries) -> list[str]:
    """What stands under a panel; draws the onset of harm over it."""
    level = percent(1 - analysis.rules.alpha)
    notes = ["count of synthetic samples", f"n = {len(series.patients)}, {level} CI for all arms at once"]
    if series.harm is not None:
        _onsets(axes, series, series.harm)
        notes.append(f"{HARM} harm: {series.harm.zero.text}")
        notes.append(f"{HARM_BEYOND_MARGIN} past margin: {series.harm.margin.text}")
    return [*notes, *_trend_lines(series.trend, analysis.primary.metric)]


def _estimate(axes: Axes, quoted: Estimate, x: float, limits: tuple[float, float]) -> None:
    """The difference with the interval of the verdict; what leaves the axis ends in an arrow head."""
    low, high = limits
    if math.isfinite(quoted.low):
        axes.plot([x, x], [max(quoted.low, low), min(quoted.high, high)], color=INK, lw=1.3, zorder=3)
        for outside, edge, head in ((quoted.low < low, low, "v"), (quoted.high > high, high, "^")):
            if outside:
                axes.plot(x, edge, head, ms=4, color=INK, clip_on=False, zorder=5)
    if not math.isnan(quoted.value):
        head = "v" if quoted.value < low else "^" if quoted.value > high else "s"
        y = min(max(quoted.value, low), high)
        axes.plot(x, y, head, color=ACCENT, mec=INK, mew=0.6, ms=5, clip_on=False, zorder=6)


def _onsets(axes: Axes, series: DoseSeries, harm: HarmOnset) -> None:
    """A hollow and a filled triangle over the first counts whose interval leaves 0, and the margin, harmfully."""
    counts = [point.count for point in series.points]
    for onset, face, aside in ((harm.zero, "white", -0.1), (harm.margin, INK, 0.1)):
        if onset.count is not None:
            x = counts.index(onset.count) + 0.27 + aside
            over = axes.get_xaxis_transform()
            axes.plot(x, 1.03, "v", ms=6, mec=INK, mfc=face, mew=0.9, transform=over, clip_on=False, zorder=5)


def _shape_text(series: DoseSeries) -> str:
    """The shape that both levels support, and what patients alone show where that differs."""
    if series.harm is None:
        return "shape not judged"
    if series.shape == series.shape_patients:
        return f"shape: {series.shape}"
    return f"shape: {series.shape}\n(these models alone: {series.shape_patients})"


def _trend_lines(trend: Trend | None, metric: Metric) -> list[str]:
    if trend is None:
        return []
    digits = metric.digits + 1
    terms = (("slope", trend.linear, trend.linear_runs), ("bend", trend.quadratic, trend.quadratic_runs))
    told = [(name, over_runs or plain) for name, plain, over_runs in terms]
    lines = [f"{name} {with_span(term.value, term, digits)}" for name, term in told]
    random = "patients alone" if trend.linear_runs is None else "runs random"
    pages = f"up {p_text(trend.page_rising.p)}, down {p_text(trend.page_falling.p)}"
    return [*lines, f"({random}, unadjusted)", "Page's test, patients alone:", pages]


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
