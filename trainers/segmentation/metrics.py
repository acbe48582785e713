"""Overlap and surface distance of one structure in one volume, and the declared rule for empty ones.

====================  ============  =======
status                Dice          HD95
====================  ============  =======
``ok``                value         value
``empty-both``        undefined     undefined
``empty-reference``   undefined     undefined
``missed``            0             infinite
====================  ============  =======

The counts are kept beside the values, so that any other rule can be applied afterwards.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Status = Literal["ok", "empty-both", "empty-reference", "missed"]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class StructureScore:
    """Scores of one class of one patient; undefined values are NaN."""

    status: Status
    dice: float
    hd95_mm: float
    n_ref: int
    """Voxels of the reference."""
    n_pred: int
    """Voxels of the prediction."""
    tp: int
    """Voxels of both."""


def score(reference_ZHW: NDArray[np.bool_], prediction_ZHW: NDArray[np.bool_], spacing_mm: Spacing) -> StructureScore:
    """Score one structure by the rule at the top of this file."""
    n_ref, n_pred = int(reference_ZHW.sum()), int(prediction_ZHW.sum())
    tp = int((reference_ZHW & prediction_ZHW).sum())
    if n_ref == 0:
        status: Status = "empty-both" if n_pred == 0 else "empty-reference"
        return StructureScore(status, math.nan, math.nan, n_ref, n_pred, tp)
    if n_pred == 0:
        return StructureScore("missed", 0.0, math.inf, n_ref, n_pred, tp)
    distance = hd95_mm(reference_ZHW, prediction_ZHW, spacing_mm)
    return StructureScore("ok", dice(tp, n_ref, n_pred), distance, n_ref, n_pred, tp)


def dice(tp: int, n_ref: int, n_pred: int) -> float:
    """2 |A and B| / (|A| + |B|) (Dice 1945).

    Raises:
        ZeroDivisionError: both structures are empty.
    """
    return 2 * tp / (n_ref + n_pred)


def hd95_mm(a_ZHW: NDArray[np.bool_], b_ZHW: NDArray[np.bool_], spacing_mm: Spacing) -> float:
    """Robust Hausdorff distance in mm: the larger of the two directed 95th percentiles of surface distances.

    A surface voxel is one with a face neighbour outside its structure; everything beyond the volume is outside.
    Percentiles are interpolated linearly.

    Raises:
        ValueError: one of the structures is empty.
    """
    if not (a_ZHW.any() and b_ZHW.any()):
        raise ValueError("the Hausdorff distance needs two structures that are not empty")
    box = ndimage.find_objects((a_ZHW | b_ZHW).astype(np.uint8))[0]
    a_surface, b_surface = _surface(a_ZHW[box]), _surface(b_ZHW[box])
    to_a = ndimage.distance_transform_edt(~a_surface, sampling=spacing_mm)
    to_b = ndimage.distance_transform_edt(~b_surface, sampling=spacing_mm)
    return float(max(np.percentile(to_b[a_surface], 95), np.percentile(to_a[b_surface], 95)))


def _surface(structure_ZHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    surface: NDArray[np.bool_] = structure_ZHW & ~ndimage.binary_erosion(structure_ZHW)
    return surface


def diagonal_mm(shape: tuple[int, ...], spacing_mm: Spacing) -> float:
    """Length of the diagonal of a volume: the worst distance possible, for means over missed structures."""
    return math.hypot(*(count * step for count, step in zip(shape, spacing_mm, strict=True)))
