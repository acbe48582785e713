"""All pairs as a matrix, after the multi-comparison matrix of Ismail-Fawaz et al. 2023: size, wins and p per cell.

Blue cells with a triangle up: the row's arm is better; orange with a triangle down: worse. Bold and framed: Holm's p
is below alpha. Up to nine arms a cell holds all three; beyond, size and p stand below the diagonal, wins above.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from medsweep.analysis.figures.style import INK, QUIET, WIDTH_IN, Drawn, Rows, ends, figure, lines, look, save, wrapped
from medsweep.analysis.stats.pairwise import PairComparison, Pairwise
from medsweep.analysis.study.wording import MINUS, arm_label, number
from medsweep.metric_record import Metric

WORSE_TO_BETTER: Final = LinearSegmentedColormap.from_list("worse to better", ["#ee9b3d", "#ffffff", "#6a9fcb"])
"""Orange and blue differ for every common colour vision, and stay light enough for black text."""
UP: Final = "\N{BLACK UP-POINTING TRIANGLE}"
DOWN: Final = "\N{BLACK DOWN-POINTING TRIANGLE}"
WHOLE_UP_TO: Final = 9
FULL_AT: Final = 2.0
"""Median sizes at which the colour is full, so that an arm that failed does not bleach the others."""


@dataclass(frozen=True)
class MatrixLayout:
    """Inches of the name column and of a cell; points of names and cells; characters of a name's line."""

    names: float
    width: float
    height: float
    name_font: float
    cell_font: float
    name_width: int
    split: bool


def layout_of(names: list[str], k: int) -> MatrixLayout:
    """Cells as wide as the page allows, as high as the longest name and three lines need."""
    split = k > WHOLE_UP_TO
    names_in, name_width, name_font = (1.6, 31, 5.4) if split else (1.75, 27, 7.0)
    width = min((WIDTH_IN - names_in - 0.1) / k, 1.3)
    cell_font = 6.6 if width > 0.6 else 5.8 if width > 0.45 else 4.5 if width > 0.26 else 4.5 * width / 0.26
    most = max(lines(wrapped(name, name_width)) for name in names)
    height = max(3.3 * cell_font / 72 + 0.06, most * 1.12 * name_font / 72 + 0.05)
    return MatrixLayout(names_in, width, height, name_font, cell_font, name_width, split)


def draw_pairwise(pairwise: Pairwise, metric: Metric, stem: Path, *, control: str | None = None) -> Drawn:
    """The matrix of two or more arms, best mean first; the numbers behind it, intervals too, go into the CSV."""
    arms = [pairwise.arms[i] for i in pairwise.order]
    names = [f"{place}  {arm_label(arm, control=arm == control)}" for place, arm in enumerate(arms, start=1)]
    layout = layout_of(names, pairwise.k)
    bottom = layout.height * pairwise.k
    with look():
        drawing = figure(bottom + 0.83)
        axes = drawing.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(-layout.names, WIDTH_IN - layout.names)
        axes.set_ylim(bottom + 0.58, -0.25)
        for place, (arm, name) in enumerate(zip(arms, names, strict=True)):
            axes.text((place + 0.5) * layout.width, -0.05, str(place + 1), ha="center", va="bottom", fontsize=7.5)
            axes.text(
                -0.07,
                (place + 0.5) * layout.height,
                wrapped(name, layout.name_width),
                ha="right",
                va="center",
                fontsize=layout.name_font,
                linespacing=0.95,
                fontweight="bold" if arm == control else "normal",
            )
        _cells(axes, pairwise, metric, layout)
        _legend(axes, pairwise, metric, layout)
        return save(drawing, stem, _data(pairwise, metric))


def _cells(axes: Axes, pairwise: Pairwise, metric: Metric, layout: MatrixLayout) -> None:
    pairs = {(pair.first, pair.second): pair for pair in pairwise.pairs}
    full = _full_colour(pairwise)
    arms = [pairwise.arms[i] for i in pairwise.order]
    for row, column in np.ndindex(pairwise.k, pairwise.k):
        x, y = column * layout.width, row * layout.height
        if row == column:
            axes.add_patch(Rectangle((x, y), layout.width, layout.height, fc="#ececec", ec="white", lw=0.6))
            continue
        pair = _seen_from(arms[row], arms[column], pairs)
        gain = pair.mean.value if metric.higher_is_better else -pair.mean.value
        shade = 0.0 if math.isnan(gain) else float(np.clip(gain / full, -1, 1))
        colour = WORSE_TO_BETTER(0.5 + shade / 2)
        axes.add_patch(Rectangle((x, y), layout.width, layout.height, fc=colour, ec="white", lw=0.6))
        shown = pair.p_holm < pairwise.alpha
        if shown:
            frame = Rectangle((x + 0.012, y + 0.012), layout.width - 0.024, layout.height - 0.024, fill=False)
            frame.set(ec=INK, lw=0.8, zorder=3)
            axes.add_patch(frame)
        axes.text(
            x + layout.width / 2,
            y + layout.height / 2,
            _text(pair, gain, metric, layout.split, below=row > column),
            ha="center",
            va="center",
            fontsize=layout.cell_font,
            fontweight="bold" if shown else "normal",
            linespacing=1.05,
            zorder=4,
        )


def _seen_from(row: str, column: str, pairs: Mapping[tuple[str, str], PairComparison]) -> PairComparison:
    """The pair with the row's arm first."""
    if (row, column) in pairs:
        return pairs[row, column]
    pair = pairs[column, row]
    mean = pair.mean
    turned = type(mean)(-mean.value, mean.se, mean.df, mean.p, -mean.high, -mean.low, mean.level)
    return PairComparison(row, column, pair.n_finite, turned, pair.losses, pair.ties, pair.wins, pair.p, pair.p_holm)


def _text(pair: PairComparison, gain: float, metric: Metric, split: bool, *, below: bool) -> str:
    mark = UP if gain > 0 else DOWN if gain < 0 else "="
    if not split:
        size = "no mean" if math.isnan(gain) else number(pair.mean.value, metric.digits, sign=True)
        wins = f"{pair.wins}/{pair.ties}/{pair.losses}"
        return f"{mark} {size}\n{wins}\n{_p(pair.p_holm)}"
    if below:
        size = "none" if math.isnan(gain) else number(pair.mean.value, metric.digits, sign=True)
        # without the zero before the point, which every cell would repeat
        size = size.replace("+0.", "+.").replace(f"{MINUS}0.", f"{MINUS}.")
        return f"{mark}\n{size}\n{_p(pair.p_holm)}"
    return f"{pair.wins}\n{pair.ties}\n{pair.losses}"


def _p(p: float) -> str:
    if p < 0.001:
        return "<.001"
    return ">.99" if p > 0.99 else f"{p:.3f}"[1:] if p < 0.1 else f"{p:.2f}"[1:]


def _full_colour(pairwise: Pairwise) -> float:
    sizes = [abs(pair.mean.value) for pair in pairwise.pairs if math.isfinite(pair.mean.value)]
    return max(min(FULL_AT * float(np.median(sizes)), max(sizes)), 1e-12) if sizes else 1.0


def _legend(axes: Axes, pairwise: Pairwise, metric: Metric, layout: MatrixLayout) -> None:
    size = f"mean difference of {metric.in_unit}, row minus column"
    cell = f"Cell: {size}; patients won / tied / lost by the row; Holm's p."
    if layout.split:
        cell = f"Below the diagonal: {size}; Holm's p. Above: patients won / tied / lost by the row."
    fewest = min(pair.n_finite for pair in pairwise.pairs)
    left_out = "" if fewest == pairwise.n else f" Means leave out infinite differences (fewest patients: {fewest})."
    full = number(_full_colour(pairwise), metric.digits)
    said = [
        cell,
        f"Blue, {UP}: the row's arm is better; orange, {DOWN}: worse; full colour from {full}. "
        f"Bold and framed: p < {pairwise.alpha:g},",
        f"two-sided signed-rank test, Holm over all {len(pairwise.pairs)} pairs. n = {pairwise.n} patients, "
        f"k = {pairwise.k} arms, best mean first.{left_out}",
    ]
    y, left = layout.height * pairwise.k + 0.07, -layout.names
    axes.plot([left, WIDTH_IN - layout.names - 0.1], [y, y], color=QUIET, lw=0.5)
    axes.text(left, y + 0.05, "\n".join(said), va="top", fontsize=7, linespacing=1.25)


def _data(pairwise: Pairwise, metric: Metric) -> Rows:
    return [
        {name: value for name, value in vars(pair).items() if name != "mean"}
        | {"metric": metric.name, "n": pairwise.n, "difference": pair.mean.value, **ends(pair.mean)}
        for pair in pairwise.pairs
    ]
