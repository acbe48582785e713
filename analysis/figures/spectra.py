"""Radial power spectra of synthetic over real images: a blurred pool falls off to the right, a noisy one rises."""

import itertools
import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from medsweep.analysis.figures.style import ACCENT, INK, Drawn, figure, look, save

COLUMNS = 3
HIGH = 0.25
"""Share of the Nyquist frequency above which the spectral metrics look."""
FACTORS = (1.01, 1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 5.0, 10.0, 100.0, 1000.0, 10_000.0)
"""What the axis of ratios may mark, and the same below 1; powers of ten alone would often mark nothing but 1."""
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
SHADES = (ACCENT, "#b35806", "#5b8c2a", "#7b3294")
"""With ``DASHES`` and the marks each kind differs in three ways, so that none depends on colour."""
MARKS = "osD^v<>P"


def draw_spectra(curves: pd.DataFrame, stem: Path) -> Drawn:
    """Power of synthetic over real images by frequency, one panel per modality, one line per kind of pool.

    Args:
        curves: columns kind, modality, cycles (per image, 0 is left out), real and synthetic (power).
        stem: path of the files without their endings.
    """
    shown = curves[curves["cycles"] > 0]
    modalities, kinds = list(shown["modality"].unique()), list(shown["kind"].unique())
    columns = min(COLUMNS, len(modalities))
    rows = math.ceil(len(modalities) / columns)
    with look():
        drawing = figure(2.7 * rows + 0.22 * math.ceil(len(kinds) / 3))
        drawing.set_layout_engine("constrained")
        grid = drawing.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, modality in itertools.zip_longest(grid.flat, modalities):
            if modality is None:
                axes.set_visible(False)
                continue
            _panel(axes, shown[shown["modality"] == modality], kinds)
            axes.set_title(str(modality), fontsize=8.5)
        grid[0, 0].yaxis.set_major_locator(FixedLocator(_marks(shown["synthetic"] / shown["real"])))
        for row in grid:
            row[0].set_ylabel("power, synthetic / real")
        for axes in grid[-1]:
            axes.set_xlabel("cycles per image")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        drawing.legend(handles, labels, ncols=3, frameon=False, fontsize=7.5, loc="outside lower center")
        return save(drawing, stem, curves)


def _panel(axes: Axes, rows: pd.DataFrame, kinds: list[str]) -> None:
    axes.axhline(1, color=INK, lw=1.0, label="real")
    top = rows["cycles"].max()
    axes.axvspan(HIGH * top, top, color="#f0f0ee", zorder=0, lw=0)
    for number, kind in enumerate(kinds):
        curve = rows[rows["kind"] == kind].sort_values("cycles")
        style: dict[str, Any] = {"ls": DASHES[number % 4], "color": SHADES[number % 4], "marker": MARKS[number % 8]}
        axes.plot(
            curve["cycles"], curve["synthetic"] / curve["real"], lw=1.2, ms=3.5, mfc="white", mew=0.8,
            markevery=max(1, len(curve) // 8), label=kind, **style,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _marks(ratios: pd.Series) -> list[float]:
    """1, and on either side of it the two furthest of ``FACTORS`` that the ratios reach."""
    reach = max(ratios.max(), 1 / ratios.min())
    reached = [factor for factor in FACTORS if factor <= reach][-2:]
    return sorted({1.0, *reached, *(1 / factor for factor in reached)})
