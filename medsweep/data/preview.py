"""A contact sheet of what ``prepare`` makes: per patient the slice with most foreground, in every modality."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsweep.data import volumes
from medsweep.data.dataset import Listing
from medsweep.data.prepare import prepare_case

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""By class index from 1 on, then again from the first: Okabe and Ito's, told apart by colour-blind readers."""

OPACITY = 0.45
INCHES = 2.2
"""Side of one picture."""


@dataclass(frozen=True, eq=False)
class Row:
    """One patient of the sheet."""

    patient: str
    slice: int
    """Number of the slice, from 0."""
    slices: int
    """Slices that the patient has."""
    images: NDArray[np.float32]
    """(C, R, R), as networks see them."""
    mask: NDArray[np.uint8]
    """(R, R), class indices."""


def fullest_slices(listing: Listing, *, resolution: int, patients: int) -> list[Row]:
    """The slice with most foreground pixels of the first ``patients`` cases, the first of equals.

    Raises:
        UserError: a case cannot be read.
    """
    rows = []
    for case in listing.cases[:patients]:
        prepared = prepare_case(volumes.load(case, listing), resolution, listing.intensity)
        number = int(np.count_nonzero(prepared.masks, axis=(1, 2)).argmax())
        rows.append(Row(case.id, number, len(prepared.masks), prepared.images[number], prepared.masks[number]))
    return rows


def overlay(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(R, R) class indices to (R, R, 4) translucent colours, background clear."""
    from matplotlib.colors import to_rgba

    colours = [to_rgba(colour, OPACITY) for colour in islice(cycle(COLOURS), int(mask.max(initial=0)))]
    painted: NDArray[np.float32] = np.array([(0.0, 0.0, 0.0, 0.0), *colours], np.float32)[mask]
    return painted


def draw(rows: Sequence[Row], listing: Listing, out: Path, *, title: str, remarks: Sequence[str] = ()) -> None:
    """Write the sheet as a picture: a row per patient; its modalities, then the labels over the first modality.

    ``remarks`` are lines below the title that a reader of the picture alone must know.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = len(listing.modalities) + 1
    head = 0.35 + 0.2 * len(remarks)
    legend = 0.25 * (1 + (len(listing.classes) - 2) // max(1, 2 * columns))
    width, height = INCHES * columns + 1.2, INCHES * len(rows) + 0.3 + head + legend
    figure = Figure(figsize=(width, height), layout=None)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    figure.subplots_adjust(
        left=1.15 / width, right=1 - 0.05 / width, bottom=legend / height, top=1 - (head + 0.3) / height,
        wspace=0.03, hspace=0.03,
    )  # fmt: skip
    for axes, row in zip(grid, rows, strict=True):
        _draw_row(axes, row)
    for axis, name in zip(grid[0], [*listing.modalities, "labels"], strict=True):
        axis.set_title(name, fontsize=9, pad=3)
    figure.text(0.02, 1 - 0.2 / height, title, fontsize=10, fontweight="bold", va="center")
    for number, remark in enumerate(remarks):
        figure.text(0.02, 1 - (0.42 + 0.2 * number) / height, remark, fontsize=8, va="center", color="#a00000")
    patches = [
        Patch(color=colour, label=name) for name, colour in zip(listing.classes[1:], cycle(COLOURS), strict=False)
    ]
    figure.legend(handles=patches, loc="lower center", ncols=min(2 * columns, len(patches)), fontsize=8, frameon=False)
    figure.savefig(out, dpi=110)


def _draw_row(axes: Sequence["Axes"], row: Row) -> None:
    for axis, image in zip(axes, [*row.images, row.images[0]], strict=True):
        low, high = np.percentile(image, (0.5, 99.5))
        # Planes grow upwards or to the front with their row number, so the first row belongs at the bottom.
        axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), origin="lower", interpolation="nearest")
        axis.set(xticks=[], yticks=[])
    axes[-1].imshow(overlay(row.mask), origin="lower", interpolation="nearest")
    # A long id runs over several lines, cut after underscores where that is possible.
    patient = "\n".join(textwrap.wrap(row.patient.replace("_", "_ "), 15)).replace("_ ", "_")
    text = f"{patient}\nslice {row.slice + 1}\nof {row.slices}"
    axes[0].set_ylabel(text, fontsize=8, rotation=0, ha="right", va="center", labelpad=4)
