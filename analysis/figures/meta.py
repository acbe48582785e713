"""Data sets side by side: every data set's difference, and per label the random-effects mean as a diamond."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from medsweep.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
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
from medsweep.analysis.stats.meta_analysis import Meta, WeightedStudy
from medsweep.analysis.study.wording import counted, number, p_text, percent, span, with_span
from medsweep.metrics import Metric

ROW_IN = 0.19
HEAD = 40


def draw_meta(metas: Sequence[Meta], metric: Metric, margin: float, stem: Path) -> Drawn:
    """One block per label: its data sets (square by weight), then diamond and, thin and dashed, prediction interval.

    The diamond spans the Hartung-Knapp interval. An interval that leaves the axis ends in an arrow head.

    Raises:
        ValueError: nothing to draw.
    """
    if not metas:
        raise ValueError("no label was combined over data sets; there is nothing to draw")
    notes = [wrapped(note, 125) for note in dict.fromkeys(meta.note for meta in metas if meta.note)]
    rows = sum(0.75 * lines(wrapped(meta.label, HEAD)) + meta.k + 2.65 for meta in metas)
    with look():
        below = 0.55 + 0.14 * sum(map(lines, notes))
        height = ROW_IN * rows + 0.35 + below
        drawing = figure(height)
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.27, right=0.65, bottom=below / height, top=1 - 0.35 / height)
        margin_band(axes, margin, vertical=True)
        limits = _limits(metas, margin)
        y = 0.0
        for meta in metas:
            y = _block(axes, meta, y, limits, metric)
        axes.set(ylim=(y - 0.3, -0.6), yticks=[], xlim=limits)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"mean difference in {metric.in_unit} from the control")
        _heads(axes, metas[0].level, metric)
        if notes:
            drawing.text(0.01, 0.005, "\n".join(notes), fontsize=7, va="bottom", ha="left")
        return save(drawing, stem, _data(metas))


def _limits(metas: Sequence[Meta], margin: float) -> tuple[float, float]:
    """An axis for all means and the data sets' own intervals; wide intervals over few data sets must not dwarf them."""
    values = [-2 * margin, 2 * margin]
    for meta in metas:
        values += [end for one in meta.studies for end in (one.low, one.high)] + [meta.estimate.value]
    return with_room(values, 0.12)


def _heads(axes: Axes, level: float, metric: Metric) -> None:
    better_side(axes, metric)
    beside, top = axes.get_yaxis_transform(), axes.get_ylim()[1]
    axes.text(1.02, top, f"difference [{percent(level)} CI], weight", transform=beside, fontsize=7.5, va="bottom")


def _block(axes: Axes, meta: Meta, y: float, limits: tuple[float, float], metric: Metric) -> float:
    """Draw one label from ``y`` downwards; returns where the next begins."""
    beside, digits, head = axes.get_yaxis_transform(), metric.digits + 1, wrapped(meta.label, HEAD)
    axes.text(-0.68, y - 0.4, head, transform=beside, fontsize=8, fontweight="bold", va="top")
    y += 0.75 * lines(head) + 0.25
    most = max(one.weight for one in meta.studies)
    for one in meta.studies:
        _study(axes, one, y, limits, most)
        name = wrapped(f"{one.study.dataset} (n = {one.study.n})", 200)
        axes.text(-0.03, y, name, transform=beside, fontsize=7.5, va="center", ha="right")
        text = f"{with_span(one.study.effect, one, digits)}  {percent(round(one.weight, 2))}"
        axes.text(1.02, y, text, transform=beside, fontsize=7.5, va="center")
        y += 1
    _diamond(axes, meta, y, limits)
    estimate = meta.estimate
    axes.text(-0.03, y, counted(meta.k, "data set"), transform=beside, fontsize=7.5, va="center", ha="right")
    text = f"{with_span(estimate.value, estimate, digits)}  {p_text(estimate.p)}"
    axes.text(1.02, y, text, transform=beside, fontsize=7.5, va="center", fontweight="bold")
    y += 0.85
    interval(axes, (meta.prediction_low, meta.prediction_high), y, limits, color=ACCENT, lw=0.9, ls=(0, (3, 1.5)))
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


def _study(axes: Axes, one: WeightedStudy, y: float, limits: tuple[float, float], most: float) -> None:
    interval(axes, (one.low, one.high), y, limits, color=INK, lw=0.9)
    side = 2.5 + 4.5 * math.sqrt(one.weight / most)
    axes.plot(one.study.effect, y, "s", ms=side, color=QUIET, mec=INK, mew=0.7, zorder=4)


def _diamond(axes: Axes, meta: Meta, y: float, limits: tuple[float, float]) -> None:
    """Mean and Hartung-Knapp interval; a bare mark where one data set leaves no interval, cut off at the axis."""
    estimate = meta.estimate
    if math.isnan(estimate.low):
        axes.plot(estimate.value, y, "D", ms=6, color=ACCENT, mec=INK, mew=0.8, zorder=5)
        return
    interval(axes, (estimate.low, estimate.high), y, limits, color=INK, lw=0.0)
    xs = [max(estimate.low, limits[0]), estimate.value, min(estimate.high, limits[1]), estimate.value]
    axes.fill(xs, [y, y - 0.32, y, y + 0.32], facecolor=ACCENT, edgecolor=INK, lw=0.8, zorder=5)


def _data(metas: Sequence[Meta]) -> Rows:
    rows: list[dict[str, object]] = []
    for meta in metas:
        for one in meta.studies:
            row = {"label": meta.label, "row": one.study.dataset, "n": one.study.n, "difference": one.study.effect}
            rows.append({**row, **ends(one), "weight": one.weight})
        mean = {"row": "random-effects mean, Hartung-Knapp", "difference": meta.estimate.value, **ends(meta.estimate)}
        names = ("label", "n", "prediction_low", "prediction_high", "q", "i2", "tau2")
        facts = {name: getattr(meta, name) for name in names}
        rows.append({**mean, "weight": 1.0, "p": meta.estimate.p, **facts})
    return rows
