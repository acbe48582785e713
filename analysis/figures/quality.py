"""Measures of pools against the benefit of the arms that use them: one panel per measure, one mark per generator."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from medsweep.analysis.figures.style import ACCENT, INK, Drawn, Rows, ends, figure, look, save, wrapped
from medsweep.analysis.questions.quality import QualityStudy
from medsweep.analysis.questions.utility import GeneratorPoint, MetricUtility
from medsweep.analysis.study.wording import p_text, with_span

SHAPES = "osD^v<>pPX"
COLUMNS = 4
PANELS = 12


def draw_quality(study: QualityStudy, stem: Path) -> Drawn:
    """Small multiples, mark shape by data set: the 12 measures of largest abs(rho).

    One data set is drawn in the measures' own units. Several are drawn as ranks inside each, as rho sees them.
    """
    chosen = sorted(study.metrics, key=lambda measure: (-abs(measure.rho), measure.metric))[:PANELS]
    columns = min(COLUMNS, max(2, len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    with look():
        height = rows * 1.95 + 0.75
        drawing = figure(height)
        grid = drawing.subplots(rows, columns, squeeze=False)
        drawing.subplots_adjust(0.085, 0.6 / height, 0.99, 1 - 0.62 / height, wspace=0.12, hspace=0.85)
        for axes, measure in zip(grid.flat, chosen, strict=False):
            _panel(axes, measure, study)
        for axes in grid.flat[len(chosen) :]:
            axes.set_visible(False)
        for row in grid:
            for axes in row[1:]:
                axes.set_yticklabels([])
        kind = "rank of benefit in its data set" if len(study.datasets) > 1 else "benefit over the control"
        drawing.supylabel(f"{kind} (higher is better)", fontsize=8, x=0.0)
        if len(study.datasets) > 1:
            marks = [grid[0][0].plot([], [], s, mfc="none", mec=ACCENT, ls="")[0] for s in SHAPES]
            names = [f"{name} ({n})" for name, n in study.datasets[: len(SHAPES)]]
            drawing.legend(
                marks[: len(names)], names, ncols=5, frameon=False, loc="lower center", fontsize=7.5, columnspacing=1.2
            )
        note = study.note
        if len(chosen) < len(study.metrics):
            rho = "\N{GREEK SMALL LETTER RHO}"
            note = f"{note[:-1]}; {len(chosen)} of {len(study.metrics)} measures shown, largest {rho} first."
        drawing.text(0.01, 1 - 0.02 / height, wrapped(note, 120), fontsize=7.5, va="top")
        return save(drawing, stem, _data(study))


def _panel(axes: Axes, measure: MetricUtility, study: QualityStudy) -> None:
    points = [point for point in study.generators if measure.metric in point.measures]
    datasets = [name for name, _ in study.datasets]
    ranked = len(datasets) > 1
    for i, dataset in enumerate(datasets):
        inside = [point for point in points if point.dataset == dataset]
        if len(inside) < 2:
            continue
        x, y = _coordinates(inside, measure.metric, ranked=ranked)
        axes.plot(x, y, SHAPES[i % len(SHAPES)], ms=4, mfc="none", mec=ACCENT, mew=0.9, clip_on=False)
    if not ranked:
        axes.axhline(0, color=INK, lw=0.7, zorder=0)
    else:
        axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    aim = {"lower": "lower is better", "higher": "higher is better", "middle": "best inside its range"}.get(
        measure.better
    )
    title = f"{measure.metric}\n\N{GREEK SMALL LETTER RHO} {with_span(measure.rho, measure, 2)}"
    axes.set_title(f"{title}\n{p_text(measure.p_holm, 'p, Holm')}, n = {measure.n}", fontsize=7, loc="left")
    where = "rank" if ranked else "value"
    axes.set_xlabel(f"{where} ({aim})" if aim else where, fontsize=7)
    axes.tick_params(labelsize=7)


def _coordinates(points: Sequence[GeneratorPoint], metric: str, *, ranked: bool) -> tuple[list[float], list[float]]:
    """Values, or ranks from 0 to 1 with ties at the mean."""
    x = pd.Series([point.measures[metric] for point in points])
    y = pd.Series([point.benefit for point in points])
    if ranked:
        x, y = (x.rank() - 1) / (len(x) - 1), (y.rank() - 1) / (len(y) - 1)
    return x.tolist(), y.tolist()


def _data(study: QualityStudy) -> Rows:
    """One row per generator and judged measure, in the study's order."""
    return [
        {"metric": measure.metric}
        | {name: value for name, value in vars(point).items() if name != "measures"}
        | {"value": point.measures[measure.metric], "rho": measure.rho, **ends(measure), "p_holm": measure.p_holm}
        for measure in study.metrics
        for point in study.generators
        if measure.metric in point.measures
    ]
