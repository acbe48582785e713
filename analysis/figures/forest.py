"""Forest plots of differences from the control.

On one data set every arm has a row: difference, the interval of its verdict, margin band, numbers and verdict. Over
data sets every arm has a block: each data set's difference, and the random-effects mean as a diamond.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, INK, QUIET, Drawn, Rows
from medsweep.analysis.stats.equivalence import Verdict
from medsweep.analysis.stats.meta_analysis import Meta
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.answers import Answer
from medsweep.analysis.study.wording import counted, number, p_text, percent, span, with_span
from medsweep.metric_record import Metric

MARKS = {
    Verdict.SUPERIOR: "^",
    Verdict.INFERIOR: "v",
    Verdict.EQUIVALENT: "s",
    Verdict.NEGLIGIBLE: "D",
    Verdict.INCONCLUSIVE: "o",
}
"""Marker shape by verdict; inconclusive ones are hollow."""
ROW_IN = 0.19
HEAD = 40
"""Characters of a line in the head of a block."""


def draw_forest(analysis: Analysis, stem: Path) -> Drawn:
    """One row per arm in the sweep's order, with the interval for all arms at once that the verdict uses."""
    labels = [style.wrapped(answer.arm, 34) for answer in analysis.answers]
    heights = [max(style.lines(label), 2) for label in labels]
    metric = analysis.primary.metric
    with style.look():
        drawing = style.figure(0.9 + 0.19 * sum(heights) + 0.08 * len(heights))
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.3, right=0.6)
        style.margin_band(axes, analysis.rules.margin, vertical=True)
        limits = _limits(analysis)
        y, ticks = 0.0, []
        for answer, height in zip(analysis.answers, heights, strict=True):
            ticks.append(y + height / 2)
            _row(axes, answer, y + height / 2, limits, metric.digits + 1)
            y += height + 0.4
        axes.set(ylim=(y, -0.4), yticks=ticks, yticklabels=labels, xlim=limits)
        axes.tick_params(axis="y", length=0, pad=9)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"difference in {metric.in_unit} from {analysis.control}, n = {analysis.primary.n} patients")
        style.better_side(axes, metric)
        return style.save(drawing, stem, _data(analysis))


def _limits(analysis: Analysis) -> tuple[float, float]:
    """An axis for the arms that trained."""
    diverged = {arm.arm for arm in analysis.primary.descriptions if arm.diverged}
    found = [answer.estimate for answer in analysis.answers if answer.arm not in diverged]
    return style.with_intervals(found, analysis.rules.margin, 0.15)


def _row(axes: Axes, answer: Answer, y: float, limits: tuple[float, float], digits: int) -> None:
    quoted = answer.estimate
    style.interval(axes, (quoted.low, quoted.high), y, limits, color=INK, lw=1.4)
    face = "white" if answer.verdict == Verdict.INCONCLUSIVE else ACCENT
    style.mark(axes, quoted.value, y, limits, MARKS[answer.verdict], ms=6, mec=INK, mfc=face, mew=0.9, zorder=7)
    text = f"{number(quoted.value, digits, sign=True)}  [{span(quoted.low, quoted.high, digits)}]"
    beside = axes.get_yaxis_transform()
    axes.text(1.06, y, text, transform=beside, va="center", fontsize=7.5)
    axes.text(1.06, y + 0.75, str(answer.verdict), transform=beside, va="center", fontsize=7.5, fontweight="bold")


def _data(analysis: Analysis) -> Rows:
    return [
        {
            "arm": answer.arm,
            "n": answer.effect.n,
            "random": "" if answer.test is None else answer.test.kind,
            "difference": answer.estimate.value,
            **style.ends(answer.estimate, f"_{percent(answer.estimate.level)}"),
            "low_tost": answer.narrow[0],
            "high_tost": answer.narrow[1],
            "verdict": str(answer.verdict),
        }
        for answer in analysis.answers
    ]


def draw_meta(metas: Sequence[Meta], metric: Metric, margin: float, stem: Path) -> Drawn:
    """One block per label: its data sets (square by weight), then diamond and, thin and dashed, prediction interval.

    The diamond spans the Hartung-Knapp interval. An interval that leaves the axis ends in an arrow head.
    """
    notes = [style.wrapped(note, 125) for note in dict.fromkeys(meta.note for meta in metas if meta.note)]
    rows = sum(0.75 * style.lines(style.wrapped(meta.label, HEAD)) + meta.k + 2.65 for meta in metas)
    with style.look():
        below = 0.55 + 0.14 * sum(map(style.lines, notes))
        height = ROW_IN * rows + 0.35 + below
        drawing = style.figure(height)
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.27, right=0.65, bottom=below / height, top=1 - 0.35 / height)
        style.margin_band(axes, margin, vertical=True)
        limits = _limits_across(metas, margin)
        y = 0.0
        for meta in metas:
            y = _block(axes, meta, y, limits, metric)
        axes.set(ylim=(y - 0.3, -0.6), yticks=[], xlim=limits)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"mean difference in {metric.in_unit} from the control")
        style.better_side(axes, metric)
        head, beside = f"difference [{percent(metas[0].level)} CI], weight", axes.get_yaxis_transform()
        axes.text(1.02, axes.get_ylim()[1], head, transform=beside, fontsize=7.5, va="bottom")
        if notes:
            drawing.text(0.01, 0.005, "\n".join(notes), fontsize=7, va="bottom", ha="left")
        return style.save(drawing, stem, _data_across(metas))


def _limits_across(metas: Sequence[Meta], margin: float) -> tuple[float, float]:
    """An axis for all means and the data sets' own intervals; wide intervals over few data sets must not dwarf them."""
    values = [-2 * margin, 2 * margin]
    for meta in metas:
        values += [end for study in meta.studies for end in (study.low, study.high)] + [meta.estimate.value]
    return style.with_room(values, 0.12)


def _block(axes: Axes, meta: Meta, y: float, limits: tuple[float, float], metric: Metric) -> float:
    """Draw one label from ``y`` downwards; returns where the next begins."""
    beside, digits, head = axes.get_yaxis_transform(), metric.digits + 1, style.wrapped(meta.label, HEAD)
    axes.text(-0.68, y - 0.4, head, transform=beside, fontsize=8, fontweight="bold", va="top")
    y += 0.75 * style.lines(head) + 0.25
    most = max(weighted.weight for weighted in meta.studies)
    for weighted in meta.studies:
        style.interval(axes, (weighted.low, weighted.high), y, limits, color=INK, lw=0.9)
        side = 2.5 + 4.5 * math.sqrt(weighted.weight / most)
        axes.plot(weighted.study.effect, y, "s", ms=side, color=QUIET, mec=INK, mew=0.7, zorder=4)
        name = style.wrapped(f"{weighted.study.dataset} (n = {weighted.study.n})", 200)
        axes.text(-0.03, y, name, transform=beside, fontsize=7.5, va="center", ha="right")
        text = f"{with_span(weighted.study.effect, weighted, digits)}  {percent(round(weighted.weight, 2))}"
        axes.text(1.02, y, text, transform=beside, fontsize=7.5, va="center")
        y += 1
    _diamond(axes, meta, y, limits)
    estimate = meta.estimate
    axes.text(-0.03, y, counted(meta.k, "data set"), transform=beside, fontsize=7.5, va="center", ha="right")
    text = f"{with_span(estimate.value, estimate, digits)}  {p_text(estimate.p)}"
    axes.text(1.02, y, text, transform=beside, fontsize=7.5, va="center", fontweight="bold")
    y += 0.85
    style.interval(axes, (meta.prediction_low, meta.prediction_high), y, limits, color=ACCENT, lw=0.9, ls=(0, (3, 1.5)))
    axes.text(-0.03, y, "prediction interval", transform=beside, fontsize=7, va="center", ha="right")
    axes.text(1.02, y, _spread_text(meta, digits), transform=beside, fontsize=7, va="center")
    return y + 1.55


def _spread_text(meta: Meta, digits: int) -> str:
    prediction = f"[{span(meta.prediction_low, meta.prediction_high, digits)}]"
    if math.isnan(meta.prediction_low):
        prediction = "none"
    if meta.k == 1:
        return prediction
    between = number(math.sqrt(meta.tau2), digits)
    return f"{prediction}  I\N{SUPERSCRIPT TWO} {percent(round(meta.i2, 2))}; SD between {between}"


def _diamond(axes: Axes, meta: Meta, y: float, limits: tuple[float, float]) -> None:
    """Mean and Hartung-Knapp interval; a bare mark where one data set leaves no interval, cut off at the axis."""
    estimate = meta.estimate
    if math.isnan(estimate.low):
        axes.plot(estimate.value, y, "D", ms=6, color=ACCENT, mec=INK, mew=0.8, zorder=5)
        return
    style.interval(axes, (estimate.low, estimate.high), y, limits, color=INK, lw=0.0)
    xs = [max(estimate.low, limits[0]), estimate.value, min(estimate.high, limits[1]), estimate.value]
    axes.fill(xs, [y, y - 0.32, y, y + 0.32], facecolor=ACCENT, edgecolor=INK, lw=0.8, zorder=5)


def _data_across(metas: Sequence[Meta]) -> Rows:
    rows: list[dict[str, object]] = []
    for meta in metas:
        for weighted in meta.studies:
            row = {
                "label": meta.label,
                "row": weighted.study.dataset,
                "n": weighted.study.n,
                "difference": weighted.study.effect,
            }
            rows.append({**row, **style.ends(weighted), "weight": weighted.weight})
        mean = {"row": "random-effects mean, Hartung-Knapp", "difference": meta.estimate.value}
        names = ("label", "n", "prediction_low", "prediction_high", "q", "i2", "tau2")
        facts = {name: getattr(meta, name) for name in names}
        rows.append({**mean, **style.ends(meta.estimate), "weight": 1.0, "p": meta.estimate.p, **facts})
    return rows
