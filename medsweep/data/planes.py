"""Cutting a canonical volume into planes, and putting planes back together."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

Triple = tuple[int, int, int]


def to_planes(volume_XYZ: NDArray[T], slice_axis: int) -> NDArray[T]:
    """Canonical (..., X, Y, Z) to planes (..., Z, H, W): the slice axis first, the other two in descending order.

    Along axis 2 rows run along Y and columns along X.
    """
    return _permute(volume_XYZ, plane_axes(slice_axis))


def from_planes(planes_ZHW: NDArray[T], slice_axis: int) -> NDArray[T]:
    """Undo ``to_planes``: planes (..., Z, H, W) back to the canonical (..., X, Y, Z)."""
    order = plane_axes(slice_axis)
    return _permute(planes_ZHW, (order.index(0), order.index(1), order.index(2)))


def plane_axes(slice_axis: int) -> Triple:
    """Canonical axes of (slices, rows, columns)."""
    rows, columns = sorted({0, 1, 2} - {slice_axis}, reverse=True)
    return slice_axis, rows, columns


def _permute(array: NDArray[T], order: Triple) -> NDArray[T]:
    lead = array.ndim - 3
    return array.transpose(*range(lead), *(lead + axis for axis in order))
