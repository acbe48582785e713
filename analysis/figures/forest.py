"""Every arm against the control: mean difference, thick and thin interval, margin band, numbers and verdict."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medsweep.analysis.figures.style import (
    ACCENT,
    INK,
    Drawn,
    Rows,
    better_side,
    ends,
    figure,
    interval,
    lines,
    look,
    margin_band,
    save,
    with_room,
    wrapped,
)
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.answers import Answer
from medsweep.analysis.study.wording import number, percent, span

MARKS = {
    Verdict.SUPERIOR: "^",
    Verdict.INFERIOR: "v",
    Verdict.EQUIVALENT: "s",
    Verdict.NEGLIGIBLE: "D",
    Verdict.INCONCLUSIVE: "o",
}
"""Marker shape by verdict; inconclusive ones are hollow."""
FEW_DF = 2
"""Degrees of freedom below which an interval is too wide to set the axis."""


def draw_forest(analysis: Analysis, stem: Path) -> Drawn:
    """One row per arm in the sweep's order.

    Solid: the difference to be quoted, with runs taken as random where there are any; dashed below: patients alone,
    for these trained models.
    """
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
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.spines["left"].set_visible(False)
        metric = analysis.primary.metric
        axes.set_xlabel(f"difference in {metric.in_unit} from {analysis.control}, n = {analysis.primary.n} patients")
        better_side(axes, metric)
        return save(drawing, stem, _data(analysis))


def _limits(analysis: Analysis) -> tuple[float, float]:
    """An axis for the arms that trained: neither a diverged arm nor an interval over two runs may dwarf them."""
    diverged = {one.arm for one in analysis.primary.descriptions if one.diverged}
    means = [answer.estimate for answer in analysis.answers if answer.arm not in diverged]
    means += [answer.patients.effect.mean for answer in analysis.answers if answer.arm not in diverged]
    values = [end for mean in means for end in (mean.value, mean.low, mean.high)]
    if any(answer.runs is not None and answer.runs.test.estimate.df < FEW_DF for answer in analysis.answers):
        values = [end for mean in means for end in (mean.value, mean.value - 4 * mean.se, mean.value + 4 * mean.se)]
    return with_room([-2 * analysis.plan.margin, 2 * analysis.plan.margin, *values], 0.15)


def _row(axes: Axes, answer: Answer, y: float, limits: tuple[float, float]) -> None:
    quoted, alone = answer.estimate, answer.patients.effect.mean
    interval(axes, (quoted.low, quoted.high), y, limits, color=INK, lw=0.9)
    interval(axes, answer.narrow, y, limits, color=INK, lw=2.6)
    face = "white" if answer.verdict == Verdict.INCONCLUSIVE else ACCENT
    axes.plot(quoted.value, y, MARKS[answer.verdict], ms=6, mec=INK, mfc=face, mew=0.9, zorder=4)
    if answer.runs is not None:
        interval(axes, (alone.low, alone.high), y + 0.55, limits, color=ACCENT, lw=1.0, ls=(0, (3, 1.5)))
        axes.plot(alone.value, y + 0.55, "|", color=ACCENT, ms=6, mew=1.2, zorder=4)


def _numbers(axes: Axes, answer: Answer, y: float, digits: int) -> None:
    quoted = answer.estimate
    text = f"{number(quoted.value, digits, sign=True)}  [{span(quoted.low, quoted.high, digits)}]"
    beside = axes.get_yaxis_transform()
    axes.text(1.03, y, text, transform=beside, va="center", fontsize=7.5)
    axes.text(1.03, y + 0.75, str(answer.verdict), transform=beside, va="center", fontsize=7.5, fontweight="bold")


def _data(analysis: Analysis) -> Rows:
    return [
        {
            "arm": answer.arm,
            "n": answer.patients.effect.n,
            "level": "patients alone" if answer.runs is None else "runs random",
            "difference": answer.estimate.value,
            **ends(answer.estimate, f"_{percent(answer.estimate.level)}"),
            "low_tost": answer.narrow[0],
            "high_tost": answer.narrow[1],
            "difference_patients_alone": answer.patients.effect.mean.value,
            **ends(answer.patients.effect.mean, "_patients_alone"),
            "verdict": str(answer.verdict),
        }
        for answer in analysis.answers
    ]
