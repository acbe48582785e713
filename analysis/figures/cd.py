"""Critical-difference diagram after Demsar 2006, with what a reader needs to judge it printed in the picture.

The axis always runs from 1 to k. Bars join maximal groups without a significant pair; where the omnibus test does not
reject there is one bar over all arms, and the picture says so.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import INK, QUIET, Drawn, figure, lines, look, save, wrapped
from analysis.omnibus import Omnibus
from analysis.posthoc import Nemenyi
from analysis.study import Analysis
from analysis.wording import arm_label, p_text

LINE = 0.135
"""Height of one line of a label; one unit of the vertical axis is an inch."""
BAR = 0.13
LABEL_WIDTH = 30
MAX_TICK_LABELS = 15


@dataclass(frozen=True)
class Groups:
    """What the bars show: intervals of arm positions in rank order, and whether the omnibus test rejects."""

    order: tuple[int, ...]
    bars: tuple[tuple[int, int], ...]
    rejects: bool


def groups_of(omnibus: Omnibus, pairs: Nemenyi) -> Groups:
    """Arms by mean rank, best first, and the bars as (first, last) positions in that order."""
    order = tuple(sorted(range(omnibus.k), key=lambda i: (omnibus.mean_ranks[i], i)))
    if omnibus.p >= pairs.alpha:
        return Groups(order, ((0, omnibus.k - 1),), rejects=False)
    position = {omnibus.arms[arm]: place for place, arm in enumerate(order)}
    bars = tuple((position[clique[0]], position[clique[-1]]) for clique in pairs.cliques)
    return Groups(order, bars, rejects=True)


def draw_critical_difference(analysis: Analysis, stem: Path) -> Drawn:
    """Mean ranks of the primary metric, 1 is best, with the Nemenyi critical difference.

    Raises:
        ValueError: there is no omnibus test to draw (two arms, or one patient).
    """
    omnibus, pairs = analysis.primary.omnibus, analysis.primary.nemenyi
    if not isinstance(omnibus, Omnibus) or pairs is None:
        raise ValueError("no critical difference without an omnibus test")
    groups = groups_of(omnibus, pairs)
    labels = _labels(omnibus, groups, analysis.control)
    bottom = max(label.y for label in labels) + 0.35
    top = -0.95
    with look():
        drawing = figure(bottom + 0.2 - top)
        axes = drawing.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        pad = 0.55 * (omnibus.k - 1)
        axes.set_xlim(1 - pad, omnibus.k + pad)
        axes.set_ylim(bottom + 0.2, top)
        _axis(axes, omnibus, pairs)
        for level, (first, last) in enumerate(groups.bars):
            y = 0.16 + BAR * level
            ends = [omnibus.mean_ranks[groups.order[place]] for place in (first, last)]
            reach = 0.004 * (omnibus.k - 1)
            axes.plot([ends[0] - reach, ends[1] + reach], [y, y], color=INK, lw=3.2, solid_capstyle="butt", zorder=3)
        for label in labels:
            _elbow(axes, label, omnibus.k)
        axes.text(
            (1 + omnibus.k) / 2, bottom - 0.02, _caption(omnibus, pairs, groups), ha="center", va="top", fontsize=7.5
        )
        return save(drawing, stem, _data(omnibus, groups, pairs))


def _axis(axes: Axes, omnibus: Omnibus, pairs: Nemenyi) -> None:
    k = omnibus.k
    axes.plot([1, k], [0, 0], color=INK, lw=1.0)
    step = -(-k // MAX_TICK_LABELS)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, -0.07], color=INK, lw=0.9)
        if (rank - 1) % step == 0:
            axes.text(rank, -0.12, str(rank), ha="center", va="bottom")
    axes.text(1, -0.36, "best", ha="center", va="bottom", fontsize=7.5, style="italic")
    axes.text(k, -0.36, "worst", ha="center", va="bottom", fontsize=7.5, style="italic")
    end, y = 1 + min(pairs.critical_difference, k - 1), -0.64
    axes.plot([1, end], [y, y], color=INK, lw=1.3)
    for x in (1, end):
        axes.plot([x, x], [y - 0.05, y + 0.05], color=INK, lw=1.3)
    more = " (wider than the axis)" if pairs.critical_difference > k - 1 else ""
    text = f"CD = {pairs.critical_difference:.2f} at alpha = {pairs.alpha:g}{more}"
    axes.text(1, y - 0.09, text, ha="left", va="bottom")


@dataclass(frozen=True)
class Label:
    """Where one arm's elbow ends; ``y`` is the middle of its text."""

    text: str
    rank: float
    y: float
    on_left: bool
    bold: bool


def _labels(omnibus: Omnibus, groups: Groups, control: str) -> list[Label]:
    """The better half on the left, the rest on the right; the outermost rank ends highest, so that no two cross."""
    half = (omnibus.k + 1) // 2
    found = []
    for on_left, places in ((True, range(half)), (False, range(omnibus.k - 1, half - 1, -1))):
        y = 0.3 + BAR * len(groups.bars)
        for place in places:
            arm = groups.order[place]
            name, rank = omnibus.arms[arm], omnibus.mean_ranks[arm]
            shown = arm_label(name, control=name == control)
            text = wrapped(f"{shown}  {rank:.2f}" if on_left else f"{rank:.2f}  {shown}", LABEL_WIDTH)
            height = lines(text) * LINE + 0.11
            found.append(Label(text, rank, y + height / 2, on_left, name == control))
            y += height
    return found


def _elbow(axes: Axes, label: Label, k: int) -> None:
    reach, gap = 0.06 * (k - 1), 0.012 * (k - 1)
    edge = 1 - reach if label.on_left else k + reach
    axes.plot(
        [label.rank, label.rank, edge], [0, label.y, label.y], color=INK if label.bold else QUIET, lw=0.8, zorder=2
    )
    axes.text(
        edge - gap if label.on_left else edge + gap,
        label.y,
        label.text,
        ha="right" if label.on_left else "left",
        va="center",
        fontsize=7.5,
        linespacing=0.95,
        fontweight="bold" if label.bold else "normal",
    )


def _caption(omnibus: Omnibus, pairs: Nemenyi, groups: Groups) -> str:
    test = f"Friedman chi2 = {omnibus.chi2:.2f}, Iman-Davenport F({omnibus.df1}, {omnibus.df2}) = {omnibus.f:.2f}"
    design = f"n = {omnibus.n} patients (blocks), k = {omnibus.k} arms; {test}, {p_text(omnibus.p)}"
    if not groups.rejects:
        return f"{design}\nThe omnibus test does not reject at alpha = {pairs.alpha:g}: one bar over all arms."
    return f"{design}\nBars join arms that Nemenyi's test (all pairs, alpha = {pairs.alpha:g}) does not tell apart."


def _data(omnibus: Omnibus, groups: Groups, pairs: Nemenyi) -> pd.DataFrame:
    rows = []
    for place, arm in enumerate(groups.order):
        bars = [str(i + 1) for i, (first, last) in enumerate(groups.bars) if first <= place <= last]
        rows.append(
            {
                "arm": omnibus.arms[arm],
                "mean_rank": omnibus.mean_ranks[arm],
                "bars": " ".join(bars),
                "critical_difference": pairs.critical_difference,
                "p_friedman": omnibus.p,
            }
        )
    return pd.DataFrame(rows)
