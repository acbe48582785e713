"""What pools look like beside real slices: intensities along edges, and how varied they are against what they cost."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from medsweep.analysis.figures import style
from medsweep.analysis.figures.networks import line_style
from medsweep.analysis.figures.style import ACCENT, BAND, INK, QUIET, Drawn

TICKS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
NAME_HEIGHT = 0.05
"""Of a panel."""
SHOWN_PX = 5
"""Pixels on either side of the boundary."""


def draw_edges(edges: pd.DataFrame, explain: str, stem: Path) -> Drawn:
    """One panel per modality: mean intensity by distance from the mask's boundary, real slices and pools.

    Args:
        edges: columns arm, fold, seed, modality, distance_px, real and pool.
        explain: the arm that is drawn as the first.
        stem: path of the files without their endings.
    """
    near = edges[edges["distance_px"].abs() < SHOWN_PX]
    modalities = list(near["modality"].unique())
    arms = sorted(near["arm"].unique(), key=lambda arm: (arm != explain,))
    rows: list[dict[str, object]] = []
    with style.look():
        columns = min(style.COLUMNS, len(modalities))
        lines = math.ceil(len(modalities) / columns)
        drawing = style.figure(2.8 * lines + 0.22 * math.ceil((len(arms) + 1) / 3))
        drawing.set_layout_engine("constrained")
        grid = drawing.subplots(lines, columns, squeeze=False, sharex=True)
        for axes, modality in itertools.zip_longest(grid.flat, modalities):
            if modality is None:
                axes.set_visible(False)
                continue
            of = near[near["modality"] == modality]
            real = of.groupby("distance_px")["real"].agg(["mean", "min", "max"])
            axes.axvline(0, color=QUIET, lw=0.6, ls=(0, (1, 2)))
            axes.fill_between(real.index, real["min"], real["max"], color=BAND, lw=0, zorder=0)
            axes.plot(real.index, real["mean"], color=INK, lw=2.4, alpha=0.45, label="real slices in use", zorder=2)
            rows += _told(modality, "real", real["mean"])
            for place, arm in enumerate(arms):
                pool = of[of["arm"] == arm].groupby("distance_px")["pool"].mean()
                axes.plot(pool.index, pool, label=style.wrapped(arm, 24), **line_style(place))
                rows += _told(modality, arm, pool)
            axes.set_xlabel("px from the boundary, inside to the right")
            axes.set_title(str(modality), fontsize=8.5)
        for row in grid:
            row[0].set_ylabel("mean intensity, as prepared")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        drawing.legend(handles, labels, ncols=3, frameon=False, fontsize=7, loc="outside lower center")
        return style.save(drawing, stem, rows)


def _told(modality: str, source: str, values: "pd.Series[float]") -> list[dict[str, object]]:
    return [
        {"modality": modality, "source": source, "distance_px": at, "intensity": value} for at, value in values.items()
    ]


class Placed(NamedTuple):
    """An arm by how varied its pool is and what it costs."""

    arm: str
    patients: float
    """Patients left out whose slices are as varied."""
    cost: float
    """Below new real slices, above 0 where something is lost."""
    vendi: float = math.nan
    """Vendi score of its pool on the scale of the curve."""


def draw_variety(curve: pd.DataFrame | None, placed: Sequence[Placed], explain: str, stem: Path, *, cost: str) -> Drawn:
    """The Vendi score of real slices of few patients to many with pools on it, and what arms cost by that number.

    Args:
        curve: columns arm, fold, seed, source (real or pool), patients, draw and vendi; None where none was made.
        placed: arms with the number of patients that they are as varied as.
        explain: the arm that stands out.
        stem: path of the files without their endings.
        cost: what the axis of costs is called.
    """
    rows: list[dict[str, object]] = []
    with style.look():
        drawing = style.figure(3.1)
        drawing.set_layout_engine("constrained")
        panels = drawing.subplots(1, 1 if curve is None else 2, squeeze=False)[0]
        if curve is not None:
            rows += _curve(panels[0], curve, placed, explain)
        rows += _costs(panels[-1], placed, explain, cost)
        shown = [[(one.arm, one.patients, one.vendi) for one in placed]] if curve is not None else []
        shown += [[(one.arm, one.patients, one.cost) for one in placed]]
        for axes, points in zip(panels, shown, strict=True):
            _in_patients(axes)
            # there is room to the left of a curve that rises
            middle = 0.2 if curve is not None and axes is panels[0] else 0.55
            _name(axes, [point for point in points if math.isfinite(point[2])], explain, middle)
        return style.save(drawing, stem, rows)


def _in_patients(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.margins(0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_xlim()
    if sum(low <= tick <= high for tick in TICKS) < 2:
        # arms that are as varied as each other would have an axis without numbers
        low = min(low, 0.95 * max((tick for tick in TICKS if tick < low), default=low))
        high = max(high, 1.05 * min((tick for tick in TICKS if tick > high), default=high))
    axes.set_xticks([tick for tick in TICKS if low <= tick <= high])
    axes.set_xlim(low, high)
    axes.set_xlabel("as varied as so many patients left out")


def _curve(axes: Axes, curve: pd.DataFrame, placed: Sequence[Placed], explain: str) -> list[dict[str, object]]:
    real = curve[curve["source"] == "real"].groupby("patients")["vendi"].agg(["mean", "min", "max"])
    axes.fill_between(real.index, real["min"], real["max"], color=BAND, lw=0, zorder=0)
    axes.plot(real.index, real["mean"], color=INK, lw=1.2, marker=".", label="real slices")
    rows: list[dict[str, object]] = [
        {
            "panel": "curve",
            "arm": "real",
            "patients": patients,
            "vendi": one["mean"],
            "low": one["min"],
            "high": one["max"],
        }
        for patients, one in real.iterrows()
    ]
    for one in placed:
        if math.isfinite(one.vendi):
            _point(axes, one.arm, (one.patients, one.vendi), explain)
            rows.append({"panel": "curve", "arm": one.arm, "patients": one.patients, "vendi": one.vendi})
    axes.set_ylabel("Vendi score")
    axes.set_title("How varied slices of so few patients are", fontsize=8.5)
    return rows


def _costs(axes: Axes, placed: Sequence[Placed], explain: str, cost: str) -> list[dict[str, object]]:
    axes.axhline(0, color=INK, lw=0.7, ls=(0, (1, 2)))
    for one in placed:
        _point(axes, one.arm, (one.patients, one.cost), explain)
    axes.set_ylabel(cost)
    axes.set_title("What arms cost by how varied their pools are", fontsize=8.5)
    return [{"panel": "cost", "arm": one.arm, "patients": one.patients, "cost": one.cost} for one in placed]


def _point(axes: Axes, arm: str, at: tuple[float, float], explain: str) -> None:
    stands_out = arm == explain
    axes.plot(
        *at, "o", ms=6 if stands_out else 4, color=ACCENT if stands_out else INK, mfc=ACCENT if stands_out else "w"
    )


def _name(axes: Axes, points: Sequence[tuple[str, float, float]], explain: str, middle: float) -> None:
    """Names beside their points, on the left of those beyond the ``middle`` of the panel, and none over another."""
    to_panel = axes.transData + axes.transAxes.inverted()
    places = sorted((float(y), float(x), arm) for arm, *at in points for x, y in [to_panel.transform(at)])
    for on_right in (False, True):
        height = -1.0
        for y, x, arm in places:
            if (x > middle) != on_right:
                continue
            height = max(y, height + NAME_HEIGHT)
            axes.annotate(
                arm, (x, y), (x + (-0.03 if on_right else 0.03), height), xycoords="axes fraction", fontsize=6.5,
                ha="right" if on_right else "left", va="center", color=ACCENT if arm == explain else INK,
                bbox={"fc": "w", "ec": "none", "pad": 0.4, "alpha": 0.7},
            )  # fmt: skip
