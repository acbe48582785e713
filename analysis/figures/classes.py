"""Every class by itself: the difference of each arm from the control, one line per class inside the arm's row."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, INK, Drawn, Rows
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.classes import ClassResult

SHAPES = "osD^v<>pPX"
LINE_IN = 0.17


def draw_classes(analysis: Analysis, stem: Path) -> Drawn:
    """Rows of arms in the sweep's order; shape by class, hollow where the interval holds 0."""
    names = list(dict.fromkeys(result.name for result in analysis.by_class))
    arms = [answer.arm for answer in analysis.answers]
    labels = [style.wrapped(arm, 34) for arm in arms]
    heights = [max(len(names) * LINE_IN, 0.15 * style.lines(label)) + 0.12 for label in labels]
    above = 0.35 + 0.2 * -(-len(names) // 4)
    height = sum(heights) + above + 0.6
    limits, metric = _limits(analysis), analysis.primary.metric
    with style.look():
        drawing = style.figure(height)
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.3, right=0.98, bottom=0.6 / height, top=1 - above / height)
        style.margin_band(axes, analysis.rules.margin, vertical=True)
        y, ticks = 0.0, []
        for arm, size in zip(arms, heights, strict=True):
            ticks.append(y + size / 2)
            own = [result for result in analysis.by_class if result.arm == arm]
            for place, result in enumerate(own):
                line = y + size / 2 + LINE_IN * (place - (len(own) - 1) / 2)
                _line(axes, result, line, limits, SHAPES[names.index(result.name) % len(SHAPES)])
            y += size
            axes.axhline(y, color="#dddddd", lw=0.5, zorder=0)
        axes.set(ylim=(y, 0), yticks=ticks, yticklabels=labels, xlim=limits)
        axes.tick_params(axis="y", length=0, pad=9)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"difference in {metric.in_unit} from {analysis.control}, by class")
        style.better_side(axes, metric)
        marks = [axes.plot([], [], SHAPES[i % len(SHAPES)], mfc=ACCENT, mec=INK, ls="")[0] for i in range(len(names))]
        drawing.legend(marks, names, ncols=4, frameon=False, loc="upper left", bbox_to_anchor=(0.28, 1))
        return style.save(drawing, stem, _data(analysis))


def _limits(analysis: Analysis) -> tuple[float, float]:
    """An axis for the arms that trained."""
    diverged = {arm.arm for arm in analysis.primary.descriptions if arm.diverged}
    found = [one.difference for one in analysis.by_class if one.difference is not None and one.arm not in diverged]
    return style.with_intervals(found, analysis.rules.margin, 0.1)


def _line(axes: Axes, result: ClassResult, y: float, limits: tuple[float, float], shape: str) -> None:
    one = result.difference
    if one is None:
        return
    style.interval(axes, (one.low, one.high), y, limits, color=INK, lw=1.1)
    face = ACCENT if one.low > 0 or one.high < 0 else "white"
    style.mark(axes, one.value, y, limits, shape, ms=5, mec=INK, mfc=face, mew=0.9, zorder=7)


def _data(analysis: Analysis) -> Rows:
    return [
        {
            "class": result.name,
            "arm": result.arm,
            "n": result.n,
            "mean": result.mean,
            "missed": result.missed,
            "difference": result.difference and result.difference.value,
            **style.ends(result.difference),
            "p": result.difference and result.difference.p,
        }
        for result in analysis.by_class
    ]
