"""The run-variance strip: one mark per trained network, so that everyone sees what retraining alone moves."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from medsweep.analysis.figures.style import ACCENT, INK, Drawn, figure, lines, look, save, wrapped
from medsweep.analysis.stats.method_tests import RunMean
from medsweep.analysis.study.analyse import Analysis
from medsweep.analysis.study.wording import arm_label
from medsweep.metric_record import Metric

SHAPES = "osD^v<>pPX"


def draw_runs(analysis: Analysis, stem: Path) -> Drawn:
    """Run means of the primary metric by arm; shape, and line inside the row, by fold.

    The bar is the mean over runs that did not diverge; the others are counted under the name of their arm.
    """
    arms = [arm.name for arm in analysis.arms]
    labels = [_label(analysis, name) for name in arms]
    folds = sorted({run.fold for run in analysis.runs})
    with look():
        height = 0.9 + len(arms) * max(0.34 if len(folds) > 1 else 0.3, 0.16 * max(map(lines, labels)))
        drawing = figure(height)
        axes = drawing.subplots()
        drawing.subplots_adjust(left=0.3, right=0.98, bottom=0.5 / height, top=1 - 0.4 / height)
        for y, name in enumerate(arms):
            _row(axes, [run for run in analysis.runs if run.arm == name], y, analysis.primary.metric, folds)
        axes.set(ylim=(len(arms) - 0.5, -0.5), yticks=range(len(arms)), yticklabels=labels)
        axes.grid(axis="y", lw=0.4, color="#dddddd", zorder=0)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        metric = analysis.primary.metric
        axes.set_xlabel(f"mean {metric.in_unit} of one run over its test patients")
        if len(folds) > 1:
            marks = [axes.plot([], [], shape, mfc="none", mec=ACCENT, ls="")[0] for shape in SHAPES[: len(folds)]]
            names = [f"fold {fold}" for fold in folds[: len(SHAPES)]]
            axes.legend(marks, names, ncols=5, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
        return save(drawing, stem, pd.DataFrame([vars(run) for run in analysis.runs]))


def _label(analysis: Analysis, arm: str) -> str:
    label = wrapped(arm_label(arm, control=arm == analysis.control), 34)
    runs = [run for run in analysis.runs if run.arm == arm]
    lost = len(runs) - len(_sound(runs, analysis.primary.metric))
    return f"{label}\n\N{MULTIPLICATION X} {lost} of {len(runs)} runs diverged" if lost else label


def _sound(runs: Sequence[RunMean], metric: Metric) -> list[RunMean]:
    return [run for run in runs if math.isfinite(run.value) and run.value != metric.worst]


def _row(axes: Axes, runs: Sequence[RunMean], y: int, metric: Metric, folds: Sequence[int]) -> None:
    sound = _sound(runs, metric)
    few = 1 < len(folds) <= len(SHAPES)
    for run in sound:
        place = folds.index(run.fold)
        # folds differ by their patients: on lines of their own, the spread along each is what retraining moves
        lift = 0.56 * (place / (len(folds) - 1) - 0.5) if few else 0.0
        size = 3.4 if few else 5
        axes.plot(run.value, y + lift, SHAPES[place % len(SHAPES)], ms=size, mfc="none", mec=ACCENT, mew=0.9, zorder=2)
    if sound:
        mean = float(np.mean([run.value for run in sound]))
        axes.plot([mean, mean], [y - 0.32, y + 0.32], color=INK, lw=1.6, zorder=3)
