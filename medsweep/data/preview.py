"""A contact sheet of what ``prepare`` makes: per patient the slice with most foreground, in every modality."""

import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medsweep.data import volumes
from medsweep.data.cohort import inside_of
from medsweep.data.colours import class_colours
from medsweep.data.dataset import Case, Finding, Intensity, Listing
from medsweep.data.ignored import IGNORED, as_background
from medsweep.data.intensity import fit, sample
from medsweep.data.prepare import prepare_case, recipes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OPACITY = 0.45
WHITE = (1.0, 1.0, 1.0)
SHOWN_SD = 3.0
"""z-scores from minus to plus this are drawn from black to white."""

LETTER_INCHES, LINE_INCHES = 0.07, 0.17
"""Mean width of a letter and height of a line in the legend."""

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
    """(R, R), class indices, and ``IGNORED`` where the dataset has an ignored value."""


def fullest_slices(listing: Listing, *, resolution: int, patients: int) -> tuple[list[Row], list[Finding]]:
    """The slice with most foreground pixels of the first ``patients`` cases that can be read, the first of equals.

    What keeps cases from being drawn comes second. What scaling takes from the cohort is taken from the patients drawn.
    """
    cases: list[Case] = []
    findings: list[Finding] = []
    zeros, samples = [], []
    for case in listing.cases:
        if len(cases) == patients:
            break
        try:
            loaded = volumes.load(case, listing)
        except Exception as error:
            findings.append(volumes.refusal(case, error))
            continue
        cases.append(case)
        zeros.append(loaded.zeros)
        samples.append([sample(volume, loaded.classes) for volume in loaded.image])
    recipes, constants = recipes_of(listing, inside_of(listing, zeros)), None
    if listing.intensity.scale == "cohort" and cases:
        by_modality = zip(listing.modalities, zip(*samples, strict=True), strict=True)
        constants = tuple(fit(of_patients, listing.intensity, name) for name, of_patients in by_modality)
    rows = []
    for case in cases:
        prepared = prepare_case(volumes.load(case, listing), resolution, recipes, constants)
        foreground = as_background(prepared.masks, ignores=listing.ignored_value is not None) > 0
        number = int(np.count_nonzero(foreground, axis=(1, 2)).argmax())
        rows.append(Row(case.id, number, len(prepared.masks), prepared.images[number], prepared.masks[number]))
    return rows, findings


def grey_range(recipe: Intensity) -> tuple[float, float]:
    """The values drawn black and white, the same in all pictures, so that a bad scale is seen."""
    return (-1.0, 1.0) if recipe.scale == "window" else (-SHOWN_SD, SHOWN_SD)


def overlay(mask: NDArray[np.uint8], *, ignores: bool = False) -> NDArray[np.float32]:
    """(R, R) class indices to (R, R, 4) translucent colours, background clear, ignored pixels white."""
    colours = np.zeros((1 + len(class_colours()), 4), np.float32)
    colours[1:, :3], colours[1:, 3] = class_colours() / np.float32(255), OPACITY
    if ignores:
        colours[IGNORED, :3] = WHITE
    painted: NDArray[np.float32] = colours[mask]
    return painted


def draw(rows: Sequence[Row], listing: Listing, out: Path, *, title: str, remarks: Sequence[str] = ()) -> None:
    """Write the sheet as a picture: a row per patient; its modalities, then the labels over the first modality.

    ``remarks`` are lines below the title that a reader of the picture alone must know.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(listing.modalities) + 1
    head = 0.35 + 0.2 * len(remarks)
    ignores = listing.ignored_value is not None
    colours = [*class_colours()[: len(listing.classes) - 1] / 255, *([WHITE] if ignores else [])]
    names, width = (*listing.classes[1:], *(["ignored"] if ignores else [])), INCHES * columns + 1.2
    beside = max(1, min(len(names), int(width / (0.6 + LETTER_INCHES * max(map(len, names))))))
    legend = 0.1 + LINE_INCHES * -(-len(names) // beside)
    height = INCHES * len(rows) + 0.3 + head + legend
    figure = Figure(figsize=(width, height), layout=None)
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    figure.subplots_adjust(
        left=1.15 / width, right=1 - 0.05 / width, bottom=legend / height, top=1 - (head + 0.3) / height,
        wspace=0.03, hspace=0.03,
    )  # fmt: skip
    for axes, row in zip(grid, rows, strict=True):
        _draw_row(axes, row, grey_range(listing.intensity), ignores=ignores)
    for axis, name in zip(grid[0], [*listing.modalities, "labels"], strict=True):
        axis.set_title(name, fontsize=9, pad=3, parse_math=False)
    figure.text(0.02, 1 - 0.2 / height, title, fontsize=10, fontweight="bold", va="center", parse_math=False)
    for number, remark in enumerate(remarks):
        figure.text(
            0.02, 1 - (0.42 + 0.2 * number) / height, remark, fontsize=8, va="center", color="#a00000", parse_math=False
        )
    _legend(figure, colours, names, beside)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # A letter that the font lacks is drawn as a box.
        figure.savefig(out, dpi=110)


def _legend(figure: "Figure", colours: Sequence[Any], names: Sequence[str], beside: int) -> None:
    """The names of the classes with their colours, ``beside`` each other in a row."""
    from matplotlib.patches import Patch

    patches = [
        Patch(facecolor=colour, edgecolor="black" if colour is WHITE else colour, label=str(number))
        for number, colour in enumerate(colours)
    ]
    shown = figure.legend(
        handles=patches, loc="lower center", ncols=beside, fontsize=8, frameon=False, labelspacing=0.3, borderpad=0.2,
    )  # fmt: skip
    # A label that begins with an underscore would be left out, so the names are put in afterwards.
    for text, name in zip(shown.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)


def _draw_row(axes: Sequence["Axes"], row: Row, grey: tuple[float, float], *, ignores: bool) -> None:
    for axis, image in zip(axes, [*row.images, row.images[0]], strict=True):
        # Planes grow upwards or to the front with their row number, so the first row belongs at the bottom.
        axis.imshow(image, cmap="gray", vmin=grey[0], vmax=grey[1], origin="lower", interpolation="nearest")
        axis.set(xticks=[], yticks=[])
    axes[-1].imshow(overlay(row.mask, ignores=ignores), origin="lower", interpolation="nearest")
    # A long id runs over several lines, cut after underscores where that is possible.
    patient = "\n".join(textwrap.wrap(row.patient.replace("_", "_ "), 15)).replace("_ ", "_")
    text = f"{patient}\nslice {row.slice + 1}\nof {row.slices}"
    axes[0].set_ylabel(text, fontsize=8, rotation=0, ha="right", va="center", labelpad=4, parse_math=False)
