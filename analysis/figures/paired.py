"""Sorted waterfall of each patient's difference from the control: who gains, who loses, and by how much."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, INK, Drawn, Rows
from medsweep.analysis.stats.effects import Paired
from medsweep.analysis.study.wording import number, percent, with_span
from medsweep.metric_record import Metric

WORSE = "#b35806"
"""Burnt orange: apart from the accent blue for every common colour blindness, and in grey by its darkness."""
MOST_VALUES = 3
"""Values beyond the axis that are written under a panel."""


def draw_paired(pairs: Sequence[Paired], metric: Metric, margin: float, stem: Path) -> Drawn:
    """One panel per comparison, patients from the lowest difference to the highest, on a shared scale.

    A triangle up is a patient for whom the arm is better, down worse, a ring a tie; outliers carry a larger mark.
    Differences beyond the axis stand at its edge, and their values under the panel.
    """
    limits = _limits(pairs, margin)
    with style.look():
        titles = [f"{style.wrapped(p.arm, 32)}\nbetter {p.better}, worse {p.worse}, tied {p.ties}" for p in pairs]
        ylabel = f"difference in {metric.in_unit}\nfrom {style.wrapped(pairs[0].control, 26)}"
        drawing, places = style.panels(titles, ylabel, 2.2, fontsize=8, below_in=0.3)
        for axes, pair in zip(places, pairs, strict=True):
            style.margin_band(axes, margin, vertical=False)
            _panel(axes, pair, limits, metric)
            axes.set_ylim(*limits)
        drawing.legend(
            handles=_key(pairs[0].mean.level), ncols=4, frameon=False, fontsize=7, loc="outside lower center"
        )
        return style.save(drawing, stem, _data(pairs, metric))


def _limits(pairs: Sequence[Paired], margin: float) -> tuple[float, float]:
    """An axis for all patients, unless a few lie three times as far out as the rest."""
    differences = np.concatenate([np.asarray(pair.differences) for pair in pairs])
    finite = differences[np.isfinite(differences)]
    low, high = min(-1.5 * margin, finite.min(initial=0.0)), max(1.5 * margin, finite.max(initial=0.0))
    if len(finite):
        bulk = np.quantile(finite, [0.05, 0.95])
        reach = max(3 * float(np.ptp(bulk)), 3 * margin)
        low, high = max(low, float(bulk[0]) - reach), min(high, float(bulk[1]) + reach)
    return style.with_room((float(low), float(high)), 0.06)


def _panel(axes: Axes, pair: Paired, limits: tuple[float, float], metric: Metric) -> None:
    values = np.asarray(pair.differences)
    shown = np.clip(values, *limits)
    n = len(values)
    gains = values if metric.higher_is_better else -values
    size = float(np.clip(120 / n, 1.4, 5))
    for mask, mark, colour, face in (
        (gains > 0, "^", ACCENT, ACCENT),
        (gains < 0, "v", WORSE, WORSE),
        (gains == 0, "o", INK, "white"),
    ):
        x = np.flatnonzero(mask)
        if not len(x):
            continue  # an empty mark has its box at the origin, and the layout would make room for it
        axes.vlines(x, 0, shown[x], color=colour, lw=min(1.2, 90 / n), zorder=2)
        marks = axes.plot(x, shown[x], mark, color=colour, mfc=face, mew=0.6, ms=size, ls="", zorder=3)
        far = [i for i in pair.outliers if mask[i]]
        if far:
            marks += axes.plot(far, shown[far], mark, mfc="none", mec=INK, mew=0.7, ms=size + 2.5, ls="", zorder=4)
        for one_mark in marks:  # whole at the edge of the axis, without a say in the layout
            one_mark.set(clip_on=False, in_layout=False)
    mean = pair.mean
    if math.isfinite(mean.low):
        axes.axhspan(mean.low, mean.high, color=INK, alpha=0.18, lw=0, zorder=1)
    if limits[0] <= mean.value <= limits[1]:
        axes.axhline(mean.value, color=INK, lw=1.1, ls=(0, (6, 2)), zorder=2)
    elif not math.isnan(mean.value):  # the mean itself lies beyond the axis
        edge, head = (limits[0], "v") if mean.value < limits[0] else (limits[1], "^")
        axes.plot(-1, edge, head, ms=6, color=INK, clip_on=False, in_layout=False, zorder=5)
    axes.set_xticks([])
    axes.set_xlim(-1 - 0.03 * n, n + 0.03 * n)
    text = with_span(mean.value, mean, metric.digits + 1)
    axes.set_xlabel("\n".join([f"{n} patients, sorted", f"mean {text}", *_beyond(pair, limits)]), fontsize=7)


def _beyond(pair: Paired, limits: tuple[float, float]) -> list[str]:
    """Under the panel: the differences that stand at its edge, the farthest first."""
    far = [value for value in pair.differences if not limits[0] <= value <= limits[1]]
    far.sort(key=abs, reverse=True)
    if not far:
        return []
    more = f" and {len(far) - MOST_VALUES} more" if len(far) > MOST_VALUES else ""
    return [f"beyond the axis: {', '.join(number(value, 3, sign=True) for value in far[:MOST_VALUES])}{more}"]


def _key(level: float) -> list[Line2D]:
    return [
        Line2D([], [], marker="^", color=ACCENT, ls="", ms=5, label="arm better"),
        Line2D([], [], marker="v", color=WORSE, ls="", ms=5, label="arm worse"),
        Line2D([], [], marker="o", mfc="none", mec=INK, ls="", ms=7, label="ringed: outlier (1.5 IQR)"),
        Line2D(
            [],
            [],
            color=INK,
            lw=1.1,
            ls=(0, (6, 2)),
            label=f"mean, shaded {percent(level)} CI\n(patients alone, unadjusted)",
        ),
    ]


def _data(pairs: Sequence[Paired], metric: Metric) -> Rows:
    better, worse = (1, -1) if metric.higher_is_better else (-1, 1)
    signs = {better: "better", worse: "worse"}
    return [
        {
            "arm": pair.arm,
            "place": place + 1,
            "difference": value,
            "arm_is": signs.get((value > 0) - (value < 0), "tie"),
            "outlier": place in pair.outliers,
        }
        for pair in pairs
        for place, value in enumerate(pair.differences)
    ]
