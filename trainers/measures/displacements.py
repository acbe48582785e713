"""How far the boundaries of masks lie from those of other masks of the same structures, and which components differ.

Shapes: n samples, R resolution in pixels, P and P' contour pixels.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from medsweep.trainers.measures.structures import signed_shifts_mm, surface, surface_distances

Masks = NDArray[np.integer]
Array = NDArray[np.float64]

PIXELS: Final = (1.0, 1.0)
REACH: Final = 1 / 8
"""Share of the side beyond which a displacement counts no more: it is no boundary's, but that of another structure."""
MIN_AREA: Final = 5
"""Pixels of the smallest component that counts; less is noise of a boundary."""


class Displacements(NamedTuple):
    """Of the boundary of all foreground, from one mask to another, in pixels, above 0 outwards."""

    shifts: Array
    """At the contour pixels of both, (P,)."""
    places: NDArray[np.int64]
    """Contour pixels of the other mask, in its box, (P', 2)."""
    at_places: Array
    """Their displacements, which are among ``shifts``, (P',)."""


def displacements(from_RR: Masks, to_RR: Masks) -> Displacements | None:
    """Those up to ``REACH`` of the side; None where the foregrounds do not overlap."""
    before, after = from_RR > 0, to_RR > 0
    if not (before & after).any():
        return None
    of_before, of_after = signed_shifts_mm(surface_distances(before, after, PIXELS))
    reach = REACH * len(from_RR)
    near, shifts = np.abs(of_after) <= reach, np.concatenate([of_before, of_after])
    return Displacements(shifts[np.abs(shifts) <= reach], np.argwhere(surface(after))[near], of_after[near])


def mean_and_sd(from_nRR: Masks, to_nRR: Masks) -> tuple[float, float] | None:
    """Mean and SD of ``displacements`` over all boundary pixels; None without any."""
    found = [displacements(one, other) for one, other in zip(from_nRR, to_nRR, strict=True)]
    shifts = np.concatenate([np.empty(0), *(each.shifts for each in found if each is not None)])
    return (float(shifts.mean()), float(shifts.std())) if len(shifts) else None


def components(mask_RR: Masks) -> list[tuple[int, NDArray[np.bool_]]]:
    """Class and pixels (R, R) of every component (8 neighbours) of ``MIN_AREA`` or more."""
    found = []
    for index in np.unique(mask_RR[mask_RR > 0]):
        pieces, count = label(mask_RR == index, np.ones((3, 3)))
        areas = np.bincount(pieces.ravel(), minlength=count + 1)
        found += [(int(index), pieces == piece) for piece in range(1, count + 1) if areas[piece] >= MIN_AREA]
    return found
