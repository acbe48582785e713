"""Raw scores: a dot per patient and a box per arm, so that nobody has to take a mean on trust."""

import math
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from medsweep.analysis.figures import style
from medsweep.analysis.figures.style import ACCENT, INK, QUIET, Drawn, Rows
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.cases import RawScores
from medsweep.analysis.study.wording import arm_label

DOTS: Final = 400
"""Patients drawn for each arm at most, evenly spread by rank; the box is over all of them."""
LANES: Final = 5
"""Lines inside a row on which neighbours in value stand."""


def draw_scores(analysis: Analysis, stem: Path) -> Drawn:
    """Arms in the sweep's order; box of quartiles with the median, whiskers to the last score within 1.5 of its length.

    Scores without a bound, as of missed structures, are counted under the name of their arm.
    """
    labels = [_label(scores, control=scores.arm == analysis.control) for scores in analysis.scores]
    most = max(map(style.lines, labels))
    height = 0.85 + len(labels) * max(0.36, 0.15 * most)
    metric = analysis.primary.metric
    with style.look():
        drawing = style.figure(height)
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.3, right=0.98, bottom=0.5 / height, top=1 - 0.3 / height)
        for y, scores in enumerate(analysis.scores):
            _row(axes, np.array([value for value in scores.values if math.isfinite(value)]), y)
        axes.set(ylim=(len(labels) - 0.5, -0.5), yticks=range(len(labels)), yticklabels=labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{metric.in_unit} of one patient, mean over classes and runs")
        style.better_side(axes, metric)
        return style.save(drawing, stem, _data(analysis))


def _label(scores: RawScores, *, control: bool) -> str:
    infinite = sum(math.isinf(value) for value in scores.values)
    label = style.wrapped(arm_label(scores.arm, control=control), 34)
    return f"{label}\n\N{MULTIPLICATION X} {infinite} of {len(scores.values)} infinite" if infinite else label


def _row(axes: Axes, values: np.ndarray, y: int) -> None:
    if not len(values):
        return
    ordered = np.sort(values)
    if len(ordered) > DOTS:
        ordered = ordered[np.linspace(0, len(ordered) - 1, DOTS).round().astype(int)]
    lanes = y + 0.1 + 0.055 * (np.arange(len(ordered)) % LANES)
    axes.plot(ordered, lanes, "o", ms=3, mfc="none", mec=ACCENT, mew=0.7, zorder=2)
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    inside = values[(values >= q1 - 1.5 * (q3 - q1)) & (values <= q3 + 1.5 * (q3 - q1))]
    axes.plot([inside.min(), inside.max()], [y - 0.14] * 2, color=QUIET, lw=0.9, zorder=1)
    axes.fill_between([q1, q3], y - 0.24, y - 0.04, facecolor="#dfe6ee", edgecolor=INK, lw=0.7, zorder=2)
    axes.plot([median] * 2, [y - 0.24, y - 0.04], color=INK, lw=1.6, zorder=3)


def _data(analysis: Analysis) -> Rows:
    """Patients are numbered, not named: the page that carries these data may leave the house."""
    return [
        {"arm": scores.arm, "patient": patient, "value": value}
        for scores in analysis.scores
        for patient, value in enumerate(scores.values, start=1)
    ]
