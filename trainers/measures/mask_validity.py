"""Whether label maps look like masks: components, holes and neighbours of each class, and explicit repairs.

N maps of R x R pixels, K classes with the background as class 0. A class hangs together over corners (8 neighbours),
what surrounds it over edges alone (4 neighbours), so that a diagonal line separates what lies on its two sides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from medsweep.errors import UserError

Labels = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.integer]

MEASURES = ("pixels", "components", "holes", "contained_share")
"""What ``valid_share`` compares with real masks."""

CHUNK = 64
"""Maps labelled at a time, which bounds the memory."""

# Neighbours within a map; the first axis counts maps, which are labelled together and never touch.
_CORNERS: Final = np.array([[[0] * 3] * 3, [[1] * 3] * 3, [[0] * 3] * 3], bool)
_EDGES: Final = _CORNERS & ndimage.generate_binary_structure(3, 1)


def validity(labels_NRR: Labels, classes: int) -> pd.DataFrame:
    """One row per map and foreground class, sorted by ``sample`` and ``class``.

    Columns: ``pixels``; ``components`` (8-connected); ``largest_share``, pixels of the largest component / pixels;
    ``holes``, 4-connected regions of anything else that the class cuts off from the border of the map (a lesion inside
    an organ is a hole of the organ); ``contained_in``, the class that most of the outer boundary touches, the smaller
    index in a tie; ``contained_share``, its share of the boundary; ``empty``. The outer boundary is that of the class
    with its holes filled, counted in pixel edges, without those on the border of the map. Where there is none,
    ``contained_in`` is -1 and ``contained_share`` NaN; ``largest_share`` of an empty class is NaN.

    Raises:
        UserError: the maps are not (N, R, R), N or K is too small, or a label is not below ``classes``.
    """
    _require_labels(labels_NRR, classes)
    tables = [
        _measure(labels_NRR[rows], rows.start, index, classes)
        for rows in _chunks(len(labels_NRR))
        for index in range(1, classes)
    ]
    return pd.concat(tables).sort_values(["sample", "class"], ignore_index=True)


def components(labels_NRR: Labels, classes: int) -> NDArray[np.int64]:
    """8-connected components of each foreground class of each map, (N, K - 1).

    Raises:
        UserError: as in ``validity``.
    """
    _require_labels(labels_NRR, classes)
    counts = [_components(labels_NRR[rows], classes) for rows in _chunks(len(labels_NRR))]
    return np.concatenate(counts)


def _components(labels: Labels, classes: int) -> NDArray[np.int64]:
    counts = np.zeros((len(labels), classes - 1), np.int64)
    for index in range(1, classes):
        pieces, count = ndimage.label(labels == index, _CORNERS)
        counts[:, index - 1] = np.bincount(_owners(pieces, count)[1:], minlength=len(labels))
    return counts


def summary(frame: pd.DataFrame, classes: int) -> dict[str, float]:
    """Per foreground class k of a ``validity`` table: ``class_k/empty``, the share of maps without it.

    Over the maps that show it: ``class_k/components`` (mean), ``class_k/holes`` (share with any) and
    ``class_k/largest_share`` (mean); they are NaN where no map does.
    """
    values: dict[str, float] = {}
    for index in range(1, classes):
        rows = frame[frame["class"] == index]
        shown = rows[~rows["empty"]]
        values[f"class_{index}/empty"] = float(rows["empty"].mean())
        values[f"class_{index}/components"] = float(shown["components"].mean())
        values[f"class_{index}/holes"] = float((shown["holes"] > 0).mean())
        values[f"class_{index}/largest_share"] = float(shown["largest_share"].mean())
    return values


def valid_share(frame: pd.DataFrame, reference: pd.DataFrame) -> float:
    """Share of the maps in which every class looks like the same class of real masks; both are tables of ``validity``.

    A class looks real if each of ``MEASURES`` lies in the range of the real masks that show it and ``contained_in`` is
    one of theirs. An absent class looks real if some real mask lacks it, an empty map if some real mask is empty. A
    further real mask leaves the range of n others at each end with probability 1 / (n + 1), so compare generated masks
    with held-out real ones.

    Raises:
        UserError: a table is empty, or the reference lacks a class of the other.
    """
    missing = sorted(set(frame["class"]) - set(reference["class"]))
    if frame.empty or missing:
        what = "there are no masks to judge" if frame.empty else f"the real masks were measured without class {missing}"
        raise UserError(f"{what}; measure generated and real masks with the same number of classes")
    by_class = [_in_range(rows, reference[reference["class"] == index]) for index, rows in frame.groupby("class")]
    valid = pd.concat(by_class, axis=1).all(axis=1)
    if not _blank(reference).any():
        valid &= ~_blank(frame)
    return float(valid.mean())


def postprocess(
    labels_NRR: Labels, steps: Sequence[str], classes: int, min_area_px: int
) -> tuple[Labels, dict[str, NDArray[np.int64]]]:
    """Repaired maps, and per step, in the given order, the pixels that it changed in each map, (N,).

    ``largest-component`` keeps the largest component of each class, the first in reading order in a tie; ``fill-holes``
    gives background that a single class encloses to the class it touches most, and leaves other classes inside alone;
    ``min-area`` removes components of fewer than ``min_area_px`` pixels. What is removed becomes the class that it
    touches along most pixel edges, the smaller index in a tie; classes are treated in ascending order.

    Raises:
        UserError: a step is named twice, or the labels are unfit.
    """
    _require_labels(labels_NRR, classes)
    if len(set(steps)) != len(steps):
        raise UserError(f"mask repairs {list(steps)} name a step twice; name each once")
    repaired_NRR = labels_NRR.copy()
    changed = {step: np.zeros(len(labels_NRR), np.int64) for step in steps}
    for rows in _chunks(len(labels_NRR)):
        for step in steps:
            after = STEPS[step](repaired_NRR[rows], classes, min_area_px)
            changed[step][rows] = (repaired_NRR[rows] != after).sum(axis=(1, 2))
            repaired_NRR[rows] = after
    return repaired_NRR, changed


def change_counts(pixels_N: NDArray[np.int64]) -> dict[str, int]:
    """How many ``samples`` a step of ``postprocess`` changed, and how many ``pixels`` in all."""
    return {"samples": int((pixels_N > 0).sum()), "pixels": int(pixels_N.sum())}


def _measure(labels: Labels, first: int, index: int, classes: int) -> pd.DataFrame:
    """The rows of one class; ``sample`` counts from ``first``."""
    N, inside = len(labels), labels == index
    pieces, count = ndimage.label(inside, _CORNERS)
    sizes, owners = _sizes(pieces, count), _owners(pieces, count)
    largest_N = np.zeros(N)
    np.maximum.at(largest_N, owners[1:], sizes[1:])
    holes, hole_owners = _holes(inside)
    solid = (inside | holes) * np.arange(1, N + 1)[:, None, None]
    edges_NK = _contacts(solid, N, labels, classes)[1:]
    pixels_N, border_N = inside.sum(axis=(1, 2)), edges_NK.sum(axis=1)
    return pd.DataFrame(
        {
            "sample": np.arange(first, first + N),
            "class": index,
            "pixels": pixels_N,
            "components": np.bincount(owners[1:], minlength=N),
            "largest_share": ratio(largest_N, pixels_N),
            "holes": np.bincount(hole_owners, minlength=N),
            "contained_in": np.where(border_N > 0, edges_NK.argmax(axis=1), -1),
            "contained_share": ratio(edges_NK.max(axis=1), border_N),
            "empty": pixels_N == 0,
        }
    )


def _blank(frame: pd.DataFrame) -> pd.Series:
    """By sample, whether the map shows no class."""
    return frame.groupby("sample")["empty"].all()


def _in_range(rows: pd.DataFrame, real: pd.DataFrame) -> pd.Series:
    """By sample, whether a class lies within the ranges of real masks."""
    shown = real[~real["empty"]]
    in_range = rows["contained_in"].isin(shown["contained_in"])
    for name in MEASURES:
        in_range &= rows[name].between(shown[name].min(), shown[name].max()) | rows[name].isna()
    return in_range.where(~rows["empty"], bool(real["empty"].any())).set_axis(rows["sample"])


def _largest_component(labels: Labels, classes: int, _min_area_px: int) -> Labels:
    for index in range(1, classes):
        pieces, count = ndimage.label(labels == index, _CORNERS)
        owners, sizes = _owners(pieces, count), _sizes(pieces, count)
        # a stable sort by map, then by falling size: the first of each map stays
        order = np.lexsort((-sizes[1:], owners[1:])) + 1
        _, first = np.unique(owners[order], return_index=True)
        keep = np.zeros(count + 1, bool)
        keep[order[first]] = True
        labels = _dissolve(labels, pieces, ~keep, classes)
    return labels


def _fill_holes(labels: Labels, classes: int, _min_area_px: int) -> Labels:
    enclosed = np.zeros(labels.shape, bool)
    for index in range(1, classes):
        enclosed |= _holes(labels == index)[0]
    pieces, count = ndimage.label(labels == 0, _EDGES)
    fill = np.zeros(count + 1, bool)
    fill[pieces[enclosed]] = True
    return _dissolve(labels, pieces, fill, classes)


def _min_area(labels: Labels, classes: int, min_area_px: int) -> Labels:
    for index in range(1, classes):
        pieces, count = ndimage.label(labels == index, _CORNERS)
        labels = _dissolve(labels, pieces, _sizes(pieces, count) < min_area_px, classes)
    return labels


STEPS: Final[Mapping[str, Callable[[Labels, int, int], Labels]]] = {
    "largest-component": _largest_component,
    "fill-holes": _fill_holes,
    "min-area": _min_area,
}
"""The repairs that ``postprocess`` knows, each a function of maps, classes and the smallest area in pixels."""


def _holes(inside: Flags) -> tuple[Flags, Numbers]:
    """Pixels of the regions that ``inside`` cuts off from the border of their map, and the map of each region."""
    pieces, count = ndimage.label(~inside, _EDGES)
    cut_off = np.ones(count + 1, bool)
    cut_off[0] = False
    for border in (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1]):
        cut_off[border] = False
    return cut_off[pieces], _owners(pieces, count)[cut_off]


def _dissolve(labels: Labels, pieces: Numbers, remove: Flags, classes: int) -> Labels:
    """Labels in which the pieces flagged in ``remove`` became the class they touch most, or background if none."""
    remove = remove.copy()
    remove[0] = False
    heirs = _contacts(pieces, len(remove) - 1, labels, classes).argmax(axis=1).astype(labels.dtype)
    return np.where(remove[pieces], heirs[pieces], labels)


def _contacts(pieces: Numbers, count: int, labels: Labels, classes: int) -> Numbers:
    """Pixel edges between each piece (0 to ``count``) and pixels of each class outside it, (count + 1, K)."""
    edges = np.zeros((count + 1) * classes, np.int64)
    lower, upper = slice(None, -1), slice(1, None)
    for here, there in ((lower, upper), (upper, lower)):
        for own, other in (((slice(None), here), (slice(None), there)), ((..., here), (..., there))):
            crossing = (pieces[own] > 0) & (pieces[own] != pieces[other])
            pairs = pieces[own][crossing].astype(np.int64) * classes + labels[other][crossing]
            edges += np.bincount(pairs, minlength=len(edges))
    return edges.reshape(-1, classes)


def _sizes(pieces: Numbers, count: int) -> Numbers:
    return np.bincount(pieces.ravel(), minlength=count + 1)


def _owners(pieces: Numbers, count: int) -> Numbers:
    """The map of each piece; that of piece 0, which is none, has no meaning."""
    # pieces are numbered from the first map on, so each map holds the numbers up to its largest
    largest_N = np.maximum.accumulate(pieces.max(axis=(1, 2), initial=0))
    return np.searchsorted(largest_N, np.arange(count + 1))


def ratio(part: NDArray[np.number[Any]], whole: NDArray[np.number[Any]]) -> NDArray[np.float64]:
    """part / whole of broadcast arrays, NaN where whole is 0."""
    quotient: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return quotient


def _chunks(total: int) -> Iterator[slice]:
    return (slice(first, min(first + CHUNK, total)) for first in range(0, total, CHUNK))


def _require_labels(labels_NRR: Labels, classes: int) -> None:
    if labels_NRR.ndim != 3 or labels_NRR.size == 0 or classes < 2:
        raise UserError(
            f"label maps have the shape {labels_NRR.shape} with {classes} classes; give (N, R, R) with N of at least 1 "
            "and at least one class beside the background"
        )
    if int(labels_NRR.max()) >= classes or int(labels_NRR.min()) < 0:
        raise UserError(
            f"label maps hold classes {labels_NRR.min()} to {labels_NRR.max()}, but there are {classes}; "
            "decode the masks with the classes of the data set"
        )
