"""How firm is the ranking: for every arm the share of bootstrap samples in which it takes each rank.

A podium shows one rank per arm; this shows how often another draw of patients would have moved it.
"""

from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from medsweep.analysis.figures.style import INK, WIDTH_IN, Drawn, Rows, ends, figure, lines, look, save, wrapped
from medsweep.analysis.stats.rank_stability import Ranking, RankStability
from medsweep.analysis.study.wording import arm_label, number, percent

SHARE: Final = LinearSegmentedColormap.from_list("share", ["#ffffff", "#9dbcd8", "#1f4e79"])
LABELS_IN: Final = 1.9
RANGE_IN: Final = 0.62
LABEL_WIDTH: Final = 28
DARK: Final = 0.6
"""Share above which the number is white."""


def draw_rank_map(ranking: Ranking, stem: Path, *, control: str | None = None) -> Drawn:
    """Rows: arms, best first; columns: ranks; a frame marks the rank on all patients, the text its interval."""
    arms = sorted(ranking.arms, key=lambda arm: (arm.rank, arm.mean_rank))
    k = len(arms)
    labels = [wrapped(arm_label(arm.arm, control=arm.arm == control), LABEL_WIDTH) for arm in arms]
    cell_in = min((WIDTH_IN - LABELS_IN - RANGE_IN - 0.1) / k, 0.7)
    heights = [max(0.115 * lines(label) + 0.07, min(cell_in, 0.3)) for label in labels]
    with look():
        drawing = figure(sum(heights) + 0.85)
        axes = drawing.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(-LABELS_IN, WIDTH_IN - LABELS_IN)
        axes.set_ylim(sum(heights) + 0.45, -0.4)
        for rank in range(1, k + 1):
            axes.text((rank - 0.5) * cell_in, -0.05, str(rank), ha="center", va="bottom", fontsize=7.5)
        axes.text(k * cell_in + 0.08, -0.05, f"{percent(ranking.level)} range", va="bottom", fontsize=7)
        axes.text(k * cell_in / 2, -0.2, "rank, 1 is best", ha="center", va="bottom", fontsize=7.5, style="italic")
        top = 0.0
        for arm, label, height in zip(arms, labels, heights, strict=True):
            weight = "bold" if arm.arm == control else "normal"
            style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 7.2, "linespacing": 0.95}
            axes.text(-0.08, top + height / 2, label, fontweight=weight, **style)
            _row(axes, arm, top, (cell_in, height))
            top += height
        axes.text(-LABELS_IN, top + 0.1, _caption(ranking), va="top", fontsize=7, linespacing=1.25)
        return save(drawing, stem, _data(arms))


def _row(axes: Axes, arm: RankStability, top: float, size: tuple[float, float]) -> None:
    for place, share in enumerate(arm.shares):
        x = place * size[0]
        axes.add_patch(Rectangle((x, top), *size, fc=SHARE(share), ec="#dddddd", lw=0.4))
        if round(100 * share) >= 1:
            colour = "white" if share > DARK else INK
            font = 6.8 if size[0] > 0.28 else 5.6
            middle = (x + size[0] / 2, top + size[1] / 2)
            axes.text(*middle, f"{100 * share:.0f}", ha="center", va="center", fontsize=font, color=colour)
    half = arm.rank % 1 > 0
    first, width = (arm.rank - (1.5 if half else 1)) * size[0], (2 if half else 1) * size[0]
    axes.add_patch(Rectangle((first, top + 0.012), width, size[1] - 0.024, fill=False, ec=INK, lw=1.1, zorder=3))
    text = number(arm.low, 0) if arm.low == arm.high else f"{arm.low:g} to {arm.high:g}"
    axes.text(len(arm.shares) * size[0] + 0.08, top + size[1] / 2, text, va="center", fontsize=7)


def _caption(ranking: Ranking) -> str:
    tau = f"{number(ranking.tau, 2)} ({number(ranking.tau_low, 2)} to {number(ranking.tau_high, 2)})"
    return (
        f"Percent of {ranking.resamples:,} bootstrap samples of n = {ranking.n} patients in which an arm takes the "
        "rank by mean; empty: below 0.5.\nFramed: the rank on all patients. Kendall's tau with that ranking: "
        f"{tau}. Retraining is not resampled."
    )


def _data(arms: list[RankStability]) -> Rows:
    return [
        {"arm": arm.arm, "rank": arm.rank, "mean_rank": arm.mean_rank, **ends(arm)}
        | {f"rank_{place}": share for place, share in enumerate(arm.shares, start=1)}
        for arm in arms
    ]
