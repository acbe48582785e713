"""Critical-difference diagram after Demsar 2006, with what a reader needs to judge it printed in the picture.

The axis always runs from 1 to k. Bars join maximal groups without a significant pair; where the omnibus test does not
reject there is one bar over all arms, and the picture says so. The shaded band around the control is Bonferroni and
Dunn's critical difference for the comparisons with it alone. No bar says how large a
difference is: the forest plot does.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from medsweep.analysis.figures.style import BAND, INK, QUIET, Drawn, Rows, figure, lines, look, save, wrapped
from medsweep.analysis.stats.mean_ranks import BonferroniDunn, Nemenyi
from medsweep.analysis.stats.omnibus import Omnibus
from medsweep.analysis.study.wording import PLUS_MINUS, arm_label, number, p_text

LINE = 0.135
"""Height of one line of a label; one unit of the vertical axis is an inch."""
BAR = 0.13
LABEL_WIDTH = 25
MAX_TICK_LABELS = 20


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


def draw_critical_difference(omnibus: Omnibus, pairs: Nemenyi, dunn: BonferroniDunn, stem: Path) -> Drawn:
    """Mean ranks, 1 is best, with the Nemenyi critical difference, and the band of ``dunn`` around its control."""
    groups = groups_of(omnibus, pairs)
    levels = _levels(omnibus, groups)
    labels = _labels(omnibus, groups, dunn.control, 0.3 + BAR * (max(levels, default=0) + 1))
    bottom = max(label.y for label in labels) + 0.35
    top = -0.95
    with look():
        drawing = figure(bottom + 0.2 - top)
        axes = drawing.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        pad = 0.55 * (omnibus.k - 1)
        axes.set_xlim(1 - pad, omnibus.k + pad)
        axes.set_ylim(bottom + 0.2, top)
        _control_band(axes, omnibus, dunn, 0.16 + BAR * (max(levels, default=0) + 1))
        _axis(axes, omnibus, pairs)
        for level, (first, last) in zip(levels, groups.bars, strict=True):
            y = 0.16 + BAR * level
            span = [omnibus.mean_ranks[groups.order[place]] for place in (first, last)]
            reach = 0.004 * (omnibus.k - 1)
            axes.plot([span[0] - reach, span[1] + reach], [y, y], color=INK, lw=3.2, solid_capstyle="butt", zorder=3)
        for label in labels:
            _elbow(axes, label, omnibus.k)
        text = _caption(omnibus, pairs, groups, dunn)
        axes.text((1 + omnibus.k) / 2, bottom - 0.02, text, ha="center", va="top", fontsize=7.5)
        return save(drawing, stem, _data(omnibus, groups, pairs, dunn))


def _axis(axes: Axes, omnibus: Omnibus, pairs: Nemenyi) -> None:
    k = omnibus.k
    axes.plot([1, k], [0, 0], color=INK, lw=1.0)
    step = -(-k // MAX_TICK_LABELS)
    for rank in range(1, k + 1):
        axes.plot([rank, rank], [0, -0.07], color=INK, lw=0.9)
        if rank == k or ((rank - 1) % step == 0 and k - rank >= step):
            axes.text(rank, -0.12, str(rank), ha="center", va="bottom", fontsize=8.5 if k <= 12 else 7.5)
    axes.text(1, -0.36, "best", ha="center", va="bottom", fontsize=7.5, style="italic")
    axes.text(k, -0.36, "worst", ha="center", va="bottom", fontsize=7.5, style="italic")
    end, y = 1 + min(pairs.critical_difference, k - 1), -0.64
    axes.plot([1, end], [y, y], color=INK, lw=1.3)
    for x in (1, end):
        axes.plot([x, x], [y - 0.05, y + 0.05], color=INK, lw=1.3)
    more = " (wider than the axis)" if pairs.critical_difference > k - 1 else ""
    text = f"CD = {pairs.critical_difference:.2f} at alpha = {pairs.alpha:g}{more}"
    axes.text(1, y - 0.09, text, ha="left", va="bottom")


def _control_band(axes: Axes, omnibus: Omnibus, dunn: BonferroniDunn, depth: float) -> None:
    """+-CD around the control, behind axis and bars, cut where the axis ends; edged for a photocopier."""
    centre = omnibus.mean_ranks[omnibus.arms.index(dunn.control)]
    edges = [centre - dunn.critical_difference, centre + dunn.critical_difference]
    low, high = max(edges[0], 1.0), min(edges[1], float(omnibus.k))
    axes.fill_betweenx([0, depth], low, high, color=BAND, lw=0, zorder=0)
    for end in edges:
        if 1 < end < omnibus.k:
            axes.plot([end, end], [0, depth], color=QUIET, lw=0.7, ls=(0, (4, 3)), zorder=1)


@dataclass(frozen=True)
class Label:
    """Where one arm's elbow ends; ``y`` is the middle of its name, the rank stands between both."""

    text: str
    rank: float
    y: float
    on_left: bool
    bold: bool


def _levels(omnibus: Omnibus, groups: Groups) -> tuple[int, ...]:
    """Line of each bar: the topmost where a gap parts it from the bar before, so that no two bars touch."""
    reached: list[float] = []
    levels = []
    for first, last in groups.bars:
        start, end = (omnibus.mean_ranks[groups.order[place]] for place in (first, last))
        free = (level for level, taken in enumerate(reached) if taken + 0.05 * (omnibus.k - 1) < start)
        level = next(free, len(reached))
        reached[level : level + 1] = [end]
        levels.append(level)
    return tuple(levels)


def _labels(omnibus: Omnibus, groups: Groups, control: str, top: float) -> list[Label]:
    """The better half on the left, the rest on the right; the outermost rank ends highest, so that no two cross."""
    half = (omnibus.k + 1) // 2
    labels = []
    for on_left, places in ((True, range(half)), (False, range(omnibus.k - 1, half - 1, -1))):
        y = top
        for place in places:
            arm = groups.order[place]
            name, rank = omnibus.arms[arm], omnibus.mean_ranks[arm]
            text = wrapped(arm_label(name, control=name == control), LABEL_WIDTH)
            height = lines(text) * LINE + 0.11
            labels.append(Label(text, rank, y + height / 2, on_left, name == control))
            y += height
    return labels


def _elbow(axes: Axes, label: Label, k: int) -> None:
    reach, gap = 0.06 * (k - 1), 0.012 * (k - 1)
    edge = 1 - reach if label.on_left else k + reach
    axes.plot(
        [label.rank, label.rank, edge], [0, label.y, label.y], color=INK if label.bold else QUIET, lw=0.8, zorder=2
    )
    # the name stands clear of the widest rank
    toward, clear = -1 if label.on_left else 1, (0.09 if k < 10 else 0.115) * (k - 1)
    side, weight = "right" if label.on_left else "left", "bold" if label.bold else "normal"
    for x, text in ((edge + toward * gap, f"{label.rank:.2f}"), (edge + toward * (gap + clear), label.text)):
        axes.text(x, label.y, text, ha=side, va="center", fontsize=7.5, linespacing=0.95, fontweight=weight)


def _caption(omnibus: Omnibus, pairs: Nemenyi, groups: Groups, dunn: BonferroniDunn) -> str:
    f = "infinite" if math.isinf(omnibus.f) else number(omnibus.f, 2)
    test = f"Friedman chi2 = {omnibus.chi2:.2f} (tie-corrected), Iman-Davenport F({omnibus.df1}, {omnibus.df2}) = {f}"
    said = [f"n = {omnibus.n} patients (blocks), k = {omnibus.k} arms; {test}, {p_text(omnibus.p)}"]
    if not groups.rejects:
        said.append(f"The omnibus test does not reject at alpha = {pairs.alpha:g}: one bar over all arms.")
    elif groups.bars:
        said.append(f"Bars join arms that Nemenyi's test (all pairs, alpha = {pairs.alpha:g}) does not tell apart.")
    else:
        said.append(f"No bars: Nemenyi's test (all pairs, alpha = {pairs.alpha:g}) tells every pair apart.")
    size = f"{PLUS_MINUS}{dunn.critical_difference:.2f}"
    tests = f"Bonferroni-Dunn ({len(dunn.arms)} comparisons, alpha = {dunn.alpha:g})"
    said.append(f"Shaded: {size} around the control; inside it {tests} shows no difference from it.")
    return "\n".join(said)


def _data(omnibus: Omnibus, groups: Groups, pairs: Nemenyi, dunn: BonferroniDunn) -> Rows:
    against_control = dict(zip(dunn.arms, dunn.p_bonferroni, strict=True))
    return [
        {
            "arm": omnibus.arms[arm],
            "mean_rank": omnibus.mean_ranks[arm],
            "bars": " ".join(str(i) for i, (first, last) in enumerate(groups.bars, start=1) if first <= place <= last),
            "critical_difference": pairs.critical_difference,
            "p_friedman": omnibus.p,
            "control_critical_difference": dunn.critical_difference,
            "p_bonferroni_dunn": against_control.get(omnibus.arms[arm]),
        }
        for place, arm in enumerate(groups.order)
    ]
