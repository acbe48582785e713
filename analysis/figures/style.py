"""One look for all pictures, and files that come out the same byte for byte: SVG, PNG, and the data as CSV."""

import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from medsweep.analysis.records import Bounded, Estimate
from medsweep.metric_record import Metric

INK: Final = "#1a1a1a"
QUIET: Final = "#8c8c8c"
BAND: Final = "#e4e4e0"
ACCENT: Final = "#1f4e79"
WIDTH_IN: Final = 7.2
DPI: Final = 200
PAD_IN: Final = 0.05
Rows = Sequence[Mapping[str, object]]
"""Rows of a CSV by column."""
FEW_DF: Final = 2
"""Degrees of freedom below which an interval has no say in the axis."""
COLUMNS: Final = 3
"""Panels side by side at most."""

FONT: Final = "DejaVu Sans"
"""Ships with matplotlib, so that every machine draws the same."""
OTHER_SCRIPTS: Final = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAexGothic", "NanumGothic", "Droid Sans Fallback", "PingFang SC",
    "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari",
    "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Thai", "Nirmala UI", "Leelawadee UI", "Arial Unicode MS",
    "Unifont",
)  # fmt: skip
"""Fonts that are tried, where they are installed, for the characters that ``FONT`` lacks."""

_RC: Final[Any] = {
    "font.size": 8.5,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "medsweep",
}


@dataclass(frozen=True)
class Drawn:
    """The three files of one picture, and its width."""

    svg: Path
    png: Path
    csv: Path
    width_in: float


@cache
def families() -> tuple[str, ...]:
    """``FONT``, then the fonts of ``OTHER_SCRIPTS`` that this machine has."""
    installed = set(font_manager.get_font_names())
    return (FONT, *(name for name in OTHER_SCRIPTS if name in installed))


@cache
def _drawable() -> frozenset[int]:
    fonts = [font_manager.get_font(font_manager.findfont(name, fallback_to_default=False)) for name in families()]
    return frozenset(code for font in fonts for code in font.get_charmap())


def unshown(texts: Iterable[str]) -> str:
    """The characters of the texts that no font here can draw, each once."""
    return "".join(sign for sign in dict.fromkeys("".join(texts)) if sign > " " and ord(sign) not in _drawable())


@contextmanager
def look() -> Iterator[None]:
    """The shared style on top of matplotlib's defaults, whatever the user's own settings; undone afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_RC, "font.family": list(families())})
        yield


def figure(height_in: float) -> Figure:
    """An empty figure of page width that no window system knows of."""
    drawing = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI)
    FigureCanvasAgg(drawing)
    return drawing


def save(drawing: Figure, stem: Path, data: pd.DataFrame | Rows) -> Drawn:
    """Write ``stem``.svg, .png and, of the rows ``data``, .csv; the folder is made. Equal records give equal bytes.

    Where no font here has a character, the SVG holds text instead of outlines, for the fonts of whoever reads it.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    svg, png, csv = (stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png", "csv"))
    missing = unshown(text.get_text() for text in drawing.findobj(Text) if isinstance(text, Text))
    with warnings.catch_warnings(), mpl.rc_context({"svg.fonttype": "none"} if missing else {}):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # laid out and measured once for both files: this takes longer than drawing
        drawing.draw_without_rendering()
        drawing.set_layout_engine("none")
        box = drawing.get_tightbbox().padded(PAD_IN)
        drawing.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches=box)
        drawing.savefig(png, format="png", metadata={"Software": None}, bbox_inches=box)
    pd.DataFrame(data).to_csv(csv, index=False, lineterminator="\n", float_format="%.12g")
    return Drawn(svg, png, csv, float(box.width))


def ends(estimate: Bounded | None, of: str = "") -> dict[str, float | None]:
    """The two columns of an interval in the CSV, empty without an estimate."""
    low, high = (None, None) if estimate is None else (estimate.low, estimate.high)
    return {f"low{of}": low, f"high{of}": high}


def wrapped(label: str, width: int = 30) -> str:
    """A long arm name on several lines, broken between words; never shortened."""
    return "\n".join(textwrap.wrap(label, width, break_on_hyphens=False, break_long_words=False)) or label


def lines(label: str) -> int:
    """Lines of a wrapped label."""
    return label.count("\n") + 1


def margin_band(axes: Axes, margin: float, *, vertical: bool) -> None:
    """The band of differences that do not matter, edged so that it survives a photocopier, and the zero line."""
    span, line = (axes.axvspan, axes.axvline) if vertical else (axes.axhspan, axes.axhline)
    span(-margin, margin, color=BAND, zorder=0, lw=0)
    for edge in (-margin, margin):
        line(edge, color=QUIET, lw=0.6, ls=(0, (4, 3)), zorder=1)
    line(0, color=INK, lw=0.7, zorder=1)


def panels(
    titles: Sequence[str], ylabel: str, height_in: float, *, fontsize: float = 8.5, below_in: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """One panel per title on a shared vertical axis, named at the left of each row.

    ``height_in``: of a panel without its title; ``below_in``: room under all of them.
    """
    columns = min(COLUMNS, max(2, len(titles)))
    rows = math.ceil(len(titles) / columns)
    drawing = figure(rows * (height_in + 0.14 * max(map(lines, titles))) + below_in)
    drawing.set_layout_engine("constrained")
    places: list[Axes] = drawing.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
    for axes in places[::columns]:
        axes.set_ylabel(ylabel)
    for axes in places[len(titles) :]:
        axes.set_visible(False)
    for axes, title in zip(places, titles, strict=False):
        axes.set_title(title, fontsize=fontsize)
    return drawing, places[: len(titles)]


def with_room(values: Iterable[float], share: float) -> tuple[float, float]:
    """Limits of an axis that holds all finite values and, on either side, ``share`` of their range."""
    finite = [value for value in values if math.isfinite(value)]
    room = share * (max(finite) - min(finite))
    return min(finite) - room, max(finite) + room


def interval(axes: Axes, ends: tuple[float, float], y: float, limits: tuple[float, float], **style: Any) -> None:
    """A line from end to end; where it leaves the axis, an arrow head at the edge says so. Nothing if it has no end."""
    if not math.isfinite(ends[0]) or not math.isfinite(ends[1]):
        return
    low, high = max(ends[0], limits[0]), min(ends[1], limits[1])
    if low < high:
        axes.plot([low, high], [y, y], solid_capstyle="butt", zorder=3, **style)
    for outside, edge, mark in ((ends[0] < limits[0], limits[0], "<"), (ends[1] > limits[1], limits[1], ">")):
        if outside:
            axes.plot(edge, y, mark, ms=4, color=style["color"], clip_on=False, zorder=6)


REACH: Final = 4.0
"""Times the largest mean that intervals may stretch an axis; those that are longer end in an arrow head."""


def with_intervals(found: Iterable[Estimate], margin: float, share: float) -> tuple[float, float]:
    """Limits of an axis for all means, the margin twice, and the intervals as far as they do not dwarf both."""
    estimates = [one for one in found if math.isfinite(one.value)]
    means = [-2 * margin, 2 * margin, *(one.value for one in estimates)]
    far = REACH * max(map(abs, means))
    ends = [end for one in estimates if one.df >= FEW_DF for end in (one.low, one.high) if math.isfinite(end)]
    return with_room([*means, *(min(max(end, -far), far) for end in ends)], share)


def mark(axes: Axes, value: float, y: float, limits: tuple[float, float], shape: str, **style: Any) -> None:
    """A mark at ``value``; beyond the axis it stands at the edge, in the shape of an arrow head. Nothing for NaN."""
    if math.isnan(value):
        return
    shape = "<" if value < limits[0] else ">" if value > limits[1] else shape
    axes.plot(min(max(value, limits[0]), limits[1]), y, shape, clip_on=False, **style)


def better_side(axes: Axes, metric: Metric) -> None:
    """An arrow over the panel that points to the better side."""
    text = "better \N{RIGHTWARDS ARROW}" if metric.higher_is_better else "\N{LEFTWARDS ARROW} better"
    axes.set_title(text, fontsize=8, loc="right" if metric.higher_is_better else "left")
