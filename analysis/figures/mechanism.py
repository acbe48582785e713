"""Waterfalls from new real slices down to the explained arm: the steps of the ladder, and the shares of the lattice."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, BAND, INK, QUIET, Drawn, Rows
from medsweep.analysis.records import Estimate
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.mechanisms.mechanism import MechanismStudy
from medsweep.analysis.study.wording import number

WHISKER = "#b8860b"
"""Seen on a filled bar and on an empty one."""


@dataclass(frozen=True)
class Waterfall:
    """Steps from the level of ``first`` to that of ``last``; ``steps`` are costs by their label."""

    title: str
    first: str
    last: str
    steps: tuple[tuple[str, Estimate], ...]


def waterfalls(study: MechanismStudy) -> tuple[Waterfall, ...]:
    """Those whose arms all have scores."""
    costs, arms, found = study.costs, study.arms, []
    if costs.ladder:
        steps = tuple((f"to {arm}", one) for arm, one in zip(arms.ladder[1:], costs.ladder.values(), strict=True))
        found.append(Waterfall("Ladder", arms.ladder[0], arms.explain, steps))
    if costs.shares and costs.unexplained is not None and arms.ceiling is not None:
        shares = [(str(cause), one) for cause, one in costs.shares.items()]
        steps = (*shares, ("not reproduced", costs.unexplained))
        found.append(Waterfall("Lattice, Shapley shares", arms.ceiling, arms.explain, steps))
    return tuple(found)


def draw_waterfalls(analysis: Analysis, study: MechanismStudy, stem: Path) -> Drawn:
    """One panel each on a shared axis; a bar hangs from where the one before ended, its whisker is of its own cost."""
    metric, falls = analysis.primary.metric, waterfalls(study)
    level = {one.arm: one.mean for one in analysis.primary.descriptions}
    sign = -1.0 if metric.higher_is_better else 1.0
    bars = [_bars(fall, level[fall.first], sign) for fall in falls]
    with style.look():
        drawing, places = style.panels([fall.title for fall in falls], f"mean {metric.in_unit}", 3.0)
        for axes, fall, some in zip(places, falls, bars, strict=True):
            _panel(axes, fall, level, some)
            for place, bar in enumerate(some, start=1):
                top = max(bar.start, bar.end, bar.high if math.isfinite(bar.high) else bar.end)
                text = number(sign * bar.cost.value, metric.digits + 1, sign=True)
                axes.annotate(text, (place, top), (0, 2), textcoords="offset points", fontsize=7, ha="center")
        ends = [end for some in bars for bar in some for end in (bar.start, bar.end, bar.low, bar.high)]
        places[0].set_ylim(*style.with_room([*ends, *(level[fall.last] for fall in falls)], 0.1))
        return style.save(drawing, stem, _data(falls, bars))


@dataclass(frozen=True)
class _Bar:
    """One step in units of the metric; ``low`` and ``high`` bound where it ends."""

    name: str
    cost: Estimate
    start: float
    end: float
    low: float
    high: float


def _bars(fall: Waterfall, start: float, sign: float) -> list[_Bar]:
    bars = []
    for name, cost in fall.steps:
        low, high = sorted((start + sign * cost.low, start + sign * cost.high))
        bars.append(_Bar(name, cost, start, start + sign * cost.value, low, high))
        start = bars[-1].end
    return bars


def _panel(axes: Axes, fall: Waterfall, level: Mapping[str, float], bars: Sequence[_Bar]) -> None:
    axes.plot([-0.35, 0.35], [level[fall.first]] * 2, color=INK, lw=2.2, zorder=4)
    for place, bar in enumerate(bars, start=1):
        axes.plot([place - 0.7, place + 0.3], [bar.start] * 2, color=QUIET, lw=0.6, zorder=1)
        colour = ACCENT if bar.cost.low > 0 or bar.cost.high < 0 else BAND
        axes.bar(place, bar.end - bar.start, 0.6, bar.start, color=colour, edgecolor=INK, lw=0.7, zorder=2)
        if math.isfinite(bar.low) and math.isfinite(bar.high):
            axes.plot([place] * 2, [bar.low, bar.high], color=WHISKER, lw=1.6, zorder=3)
    last = len(bars) + 1
    axes.plot([last - 0.7, last + 0.3], [bars[-1].end] * 2, color=QUIET, lw=0.6, zorder=1)
    axes.plot([last - 0.35, last + 0.35], [level[fall.last]] * 2, color=INK, lw=2.2, zorder=4)
    labels = [fall.first, *(bar.name for bar in bars), fall.last]
    axes.set_xticks(range(len(labels)), [style.wrapped(label, 11) for label in labels], fontsize=7)


def _data(falls: Sequence[Waterfall], bars: Sequence[Sequence[_Bar]]) -> Rows:
    return [
        {"panel": fall.title, "step": bar.name, "from": bar.start, "to": bar.end, "cost": bar.cost.value}
        | style.ends(bar.cost)
        for fall, some in zip(falls, bars, strict=True)
        for bar in some
    ]
