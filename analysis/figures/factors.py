"""What the factors do: every effect with thick and thin intervals, and the mean response along numeric factors.

Along a numeric factor the picture shows how far the mean at each value lies from the patient's own mean.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from medsweep.analysis.factors.dependence import FactorTrend, PartialDependence
from medsweep.analysis.factors.effects import FactorEffect, FactorStudy
from medsweep.analysis.factors.terms import Term
from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, INK, QUIET, Drawn, Rows
from medsweep.analysis.study.wording import number, p_text, percent, span, with_span
from medsweep.metric_record import Metric

ROW_IN = 0.25
LINE_IN = 0.13


def draw_factors(study: FactorStudy, metric: Metric, margin: float, stem: Path) -> Drawn:
    """One block per effect, main effects first, largest first; one row per contrast of levels.

    Black: patients alone, thin at the study's level, thick the 1 - 2 alpha interval that equivalence goes by. Blue and
    dashed: runs taken as random, too. A filled mark says that every interval of the row leaves out 0.
    """
    blocks = sorted(study.effects, key=lambda effect: (effect.interaction, -_size(effect), effect.name))
    heads = [_head(effect) for effect in blocks]
    gaps = [0.16 + LINE_IN * style.lines(head) for head in heads]
    height = sum(gaps) + ROW_IN * sum(len(effect.terms) for effect in blocks) + 1.0
    with style.look():
        drawing = style.figure(height)
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.3, right=0.68, bottom=0.5 / height, top=1 - 0.5 / height)
        style.margin_band(axes, margin, vertical=True)
        limits = _limits(blocks, margin)
        y, ticks, names = 0.0, [], []
        for head, gap, effect in zip(heads, gaps, blocks, strict=True):
            y += gap
            beside = axes.get_yaxis_transform()
            text = axes.text(-0.78, y - 0.05, head, transform=beside, va="bottom", fontsize=7.5, fontweight="bold")
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
            for term in effect.terms:
                ticks.append(y + ROW_IN / 2)
                names.append(style.wrapped(term.label, 38))
                _row(axes, term, ticks[-1], limits, metric.digits + 1)
                y += ROW_IN
        axes.set(ylim=(y + 0.05, 0), xlim=limits)
        axes.set_yticks(ticks, names, fontsize=7)
        axes.tick_params(axis="y", length=0, pad=5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.spines["left"].set_visible(False)
        better = "\N{RIGHTWARDS ARROW} better" if metric.higher_is_better else "better \N{LEFTWARDS ARROW}"
        axes.set_xlabel(f"effect on {metric.in_unit}   ({better})")
        _key(drawing, study, 1 - 0.08 / height)
        return style.save(drawing, stem, _data(blocks))


def _size(effect: FactorEffect) -> float:
    return max(abs(term.patients.value) for term in effect.terms)


def _head(effect: FactorEffect) -> str:
    test = p_text(effect.p_holm, "Holm p")
    if effect.runs is not None:
        test += f"; over runs {p_text(effect.p_holm_runs)}"
    size = f"n = {effect.n}, {len(effect.arms)} arms".replace(" ", "\N{NO-BREAK SPACE}")
    text = f"{effect.name}: {test}; {size}"
    if effect.method != "matched cells":
        text += f", by {effect.method}" if effect.method == "least squares" else ", by a fitted curve"
    if effect.aliases:
        text += f"; not told apart from {', '.join(effect.aliases)}"
    return style.wrapped(text, 104)


def _limits(blocks: Sequence[FactorEffect], margin: float) -> tuple[float, float]:
    """An axis for all intervals over patients; those over few runs may leave it."""
    values = [-1.5 * margin, 1.5 * margin]
    for term in (term for effect in blocks for term in effect.terms):
        values += [term.patients.low, term.patients.high]
    return style.with_room(values, 0.08)


def _row(axes: Axes, term: Term, y: float, limits: tuple[float, float], digits: int) -> None:
    over = term.patients
    style.interval(axes, (over.low, over.high), y - 0.04, limits, color=INK, lw=0.9)
    style.interval(axes, over.interval(2 * over.level - 1), y - 0.04, limits, color=INK, lw=2.6)
    estimates = [over] if term.runs is None else [over, term.runs]
    face = ACCENT if all(estimate.low > 0 or estimate.high < 0 for estimate in estimates) else "white"
    axes.plot(over.value, y - 0.04, "o", ms=4.2, mec=INK, mfc=face, mew=0.9, zorder=4)
    if term.runs is not None:
        style.interval(axes, (term.runs.low, term.runs.high), y + 0.08, limits, color=ACCENT, lw=1.1, ls=(0, (3, 1.5)))
    text = f"{number(over.value, digits, sign=True)}  [{span(over.low, over.high, digits)}]"
    axes.text(1.03, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7)


def _key(drawing: Figure, study: FactorStudy, top: float) -> None:
    level = percent(study.level)
    handles = [
        Line2D([], [], color=INK, lw=0.9, label=f"{level} CI, patients alone"),
        Line2D([], [], color=INK, lw=2.6, label=f"{percent(2 * study.level - 1)} CI, the same"),
    ]
    if any(effect.runs is not None for effect in study.effects):
        handles.append(Line2D([], [], color=ACCENT, lw=1.1, ls=(0, (3, 1.5)), label=f"{level} CI, runs random too"))
    filled: Any = {"marker": "o", "ls": "", "mec": INK, "mfc": ACCENT, "ms": 5}
    handles.append(Line2D([], [], label="all leave out 0; unadjusted", **filled))
    drawing.legend(handles=handles, ncols=4, frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, top))


def _data(blocks: Sequence[FactorEffect]) -> Rows:
    return [
        {
            "effect": effect.name,
            "contrast": term.label,
            "n": effect.n,
            "arms": len(effect.arms),
            "method": effect.method,
        }
        | {"estimate": term.patients.value, **style.ends(term.patients), **style.ends(term.runs, "_runs_random")}
        | {"p_holm": effect.p_holm, "p_holm_runs_random": effect.p_holm_runs, "aliases": "; ".join(effect.aliases)}
        for effect in blocks
        for term in effect.terms
    ]


def draw_dependence(study: FactorStudy, metric: Metric, margin: float, stem: Path) -> Drawn:
    """One panel per numeric factor on a shared scale; bars are intervals over patients, dashed ones over runs too.

    The steps that are shown at every level of analysis are drawn thick.
    """
    trends = {curve.factor: curve for curve in study.ordered}
    with style.look():
        titles = [style.wrapped(f"{curve.factor}: {curve.course}", 32) for curve in study.dependence]
        better = "up" if metric.higher_is_better else "down"
        ylabel = f"{metric.in_unit} less its mean\nover the levels ({better} is better)"
        drawing, places = style.panels(titles, ylabel, 2.6)
        for axes, curve in zip(places, study.dependence, strict=True):
            style.margin_band(axes, margin, vertical=False)
            _panel(axes, curve, study.level)
            axes.set_xlabel(_trend(trends[curve.factor], metric), fontsize=7)
        return style.save(drawing, stem, _data_along(study))


def _panel(axes: Axes, curve: PartialDependence, level: float) -> None:
    xs = range(len(curve.points))
    values = [point.centred.patients.value for point in curve.points]
    for i, (p, step) in enumerate(zip(curve.p_steps, curve.steps, strict=True)):
        over_runs = curve.p_steps_runs[i] if curve.p_steps_runs else 0.0
        shown = max(p, over_runs) < 1 - level and step.patients.value != 0
        axes.plot(xs[i : i + 2], values[i : i + 2], color=INK if shown else QUIET, lw=2.2 if shown else 0.9, zorder=2)
    for x, point in zip(xs, curve.points, strict=True):
        over, runs = point.centred.patients, point.centred.runs
        if math.isfinite(over.low):
            axes.plot([x, x], [over.low, over.high], color=INK, lw=1.3, zorder=3)
        if runs is not None and math.isfinite(runs.low):
            axes.plot([x + 0.12] * 2, [runs.low, runs.high], color=ACCENT, lw=1.1, ls=(0, (3, 1.5)), zorder=3)
        axes.plot(x, over.value, "s", color=ACCENT, mec=INK, mew=0.6, ms=4, zorder=4)
    axes.set_xticks(xs, [point.label for point in curve.points])
    axes.set_xlim(-0.5, len(curve.points) - 0.5)


def _trend(trend: FactorTrend, metric: Metric) -> str:
    digits = metric.digits + 1
    terms = [("rise", trend.rise)] if trend.bend is None else [("rise", trend.rise), ("bend", trend.bend)]
    texts = []
    for name, term in terms:
        over = term.patients
        p = p_text(over.p) if term.runs is None else f"{p_text(over.p)}, over runs {p_text(term.runs.p)}"
        texts.append(f"{name} {with_span(over.value, over, digits)}\n{p}")
    kind = "by a fitted curve, " if trend.method == "polynomial" else ""
    axis = "log scale, " if trend.scale == "log2" else ""
    return "\n".join([f"{axis}{kind}n = {trend.n}", *texts])


def _data_along(study: FactorStudy) -> Rows:
    return [
        {
            "factor": curve.factor,
            "value": point.value,
            "n": curve.n,
            "mean": point.mean.patients.value,
            "centred": point.centred.patients.value,
            **style.ends(point.centred.patients),
            **style.ends(point.centred.runs, "_runs_random"),
            "p_holm_step_from_before": step,
            "course": str(curve.course),
        }
        for curve in study.dependence
        for point, step in zip(curve.points, (None, *curve.p_steps), strict=True)
    ]
