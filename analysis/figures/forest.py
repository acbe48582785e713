"""Every arm against the control: mean difference, thick and thin interval, margin band, numbers and verdict."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.answers import Answer
from analysis.equivalence import Verdict
from analysis.figures.style import ACCENT, INK, Drawn, figure, lines, look, margin_band, save, wrapped
from analysis.study import Analysis
from analysis.wording import number, percent, span

MARKS = {
    Verdict.SUPERIOR: "^",
    Verdict.INFERIOR: "v",
    Verdict.EQUIVALENT: "s",
    Verdict.NEGLIGIBLE: "D",
    Verdict.INCONCLUSIVE: "o",
}
"""Marker shape by verdict; inconclusive ones are hollow."""


def draw_forest(analysis: Analysis, stem: Path) -> Drawn:
    """One row per arm in the sweep's order. Solid: patients alone; dashed below: runs taken as random, too."""
    labels = [wrapped(answer.arm, 34) for answer in analysis.answers]
    heights = [max(lines(label), 2) for label in labels]
    with look():
        drawing = figure(0.9 + 0.19 * sum(heights) + 0.08 * len(heights))
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.3, right=0.6)
        margin_band(axes, analysis.plan.margin, vertical=True)
        low, high = _limits(analysis)
        y, ticks = 0.0, []
        for answer, height in zip(analysis.answers, heights, strict=True):
            ticks.append(y + height / 2)
            _row(axes, answer, y + height / 2, (low, high))
            _numbers(axes, answer, y + height / 2, analysis.primary.metric.digits + 1)
            y += height + 0.4
        axes.set(ylim=(y, -0.4), yticks=ticks, yticklabels=labels, xlim=(low, high))
        axes.tick_params(axis="y", length=0, pad=9)
        axes.spines["left"].set_visible(False)
        metric = analysis.primary.metric
        unit = f" in {metric.unit}" if metric.unit else ""
        axes.set_xlabel(
            f"difference in {metric.label}{unit} from {analysis.control!r}, n = {analysis.primary.n} patients"
        )
        if metric.higher_is_better:
            axes.set_title("better \N{RIGHTWARDS ARROW}", fontsize=8, loc="right")
        else:
            axes.set_title("\N{LEFTWARDS ARROW} better", fontsize=8, loc="left")
        return save(drawing, stem, _data(analysis))


def _limits(analysis: Analysis) -> tuple[float, float]:
    """An axis for the arms that trained: neither a diverged arm nor an interval over two runs may dwarf them."""
    diverged = {one.arm for one in analysis.primary.descriptions if one.diverged}
    means = [answer.patients.effect.mean for answer in analysis.answers if answer.arm not in diverged]
    ends = [end for mean in means for end in (mean.value, mean.low, mean.high) if math.isfinite(end)]
    margin = analysis.plan.margin
    low, high = min([-2 * margin, *ends]), max([2 * margin, *ends])
    room = 0.15 * (high - low)
    return low - room, high + room


def _row(axes: Axes, answer: Answer, y: float, limits: tuple[float, float]) -> None:
    mean, narrow = answer.patients.effect.mean, answer.patients.equivalence
    _interval(axes, (mean.low, mean.high), y, limits, color=INK, lw=0.9)
    _interval(axes, (narrow.low, narrow.high), y, limits, color=INK, lw=2.6)
    face = "white" if answer.verdict == Verdict.INCONCLUSIVE else ACCENT
    axes.plot(mean.value, y, MARKS[answer.verdict], ms=6, mec=INK, mfc=face, mew=0.9, zorder=4)
    if answer.runs is not None:
        over_runs = answer.runs.test.estimate
        _interval(axes, (over_runs.low, over_runs.high), y + 0.55, limits, color=ACCENT, lw=1.0, ls=(0, (3, 1.5)))
        axes.plot(over_runs.value, y + 0.55, "|", color=ACCENT, ms=6, mew=1.2, zorder=4)


def _interval(axes: Axes, ends: tuple[float, float], y: float, limits: tuple[float, float], **style: Any) -> None:
    """A line from end to end; where it leaves the axis, an arrow head at the edge says so."""
    if not math.isfinite(ends[0]) or not math.isfinite(ends[1]):
        return
    low, high = max(ends[0], limits[0]), min(ends[1], limits[1])
    if low < high:
        axes.plot([low, high], [y, y], solid_capstyle="butt", zorder=3, **style)
    if ends[0] < limits[0]:
        axes.plot(limits[0], y, "<", ms=4, color=style["color"], clip_on=False, zorder=3)
    if ends[1] > limits[1]:
        axes.plot(limits[1], y, ">", ms=4, color=style["color"], clip_on=False, zorder=3)


def _numbers(axes: Axes, answer: Answer, y: float, digits: int) -> None:
    mean = answer.patients.effect.mean
    text = f"{number(mean.value, digits, sign=True)}  [{span(mean.low, mean.high, digits)}]"
    beside = axes.get_yaxis_transform()
    axes.text(1.03, y, text, transform=beside, va="center", fontsize=7.5)
    axes.text(1.03, y + 0.75, str(answer.verdict), transform=beside, va="center", fontsize=7.5, fontweight="bold")


def _data(analysis: Analysis) -> pd.DataFrame:
    rows = []
    for answer in analysis.answers:
        effect, narrow = answer.patients.effect, answer.patients.equivalence
        over_runs = answer.runs.test.estimate if answer.runs is not None else None
        rows.append(
            {
                "arm": answer.arm,
                "n": effect.n,
                "difference": effect.mean.value,
                f"low_{percent(effect.mean.level)}": effect.mean.low,
                f"high_{percent(effect.mean.level)}": effect.mean.high,
                "low_tost": narrow.low,
                "high_tost": narrow.high,
                "low_runs_random": over_runs.low if over_runs else None,
                "high_runs_random": over_runs.high if over_runs else None,
                "verdict": str(answer.verdict),
            }
        )
    return pd.DataFrame(rows)
