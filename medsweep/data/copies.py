"""Finding the same voxels under two names, whatever the header, the type or the packing around them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ODD = np.uint64(0x9E3779B97F4A7C15)
"""An odd number with mixed bits: 2**64 over the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)."""

WHOLE = {4: np.uint32, 8: np.uint64}
"""The whole number of as many bytes as a real one has."""


def voxel_hash(volume: NDArray[Any]) -> str:
    """A text that is equal for volumes of equal values, also if turned or mirrored; empty for a constant one.

    Each value is mixed by itself (xorshift and multiply). The sums of all planes along each axis, modulo 2**64, are
    mixed and added again. So the order and the direction of the axes, which a changed header changes, have no part in
    it, and two volumes with one histogram differ. ``volume`` is (X, Y, Z), float32, float64 or uint8.
    """
    if volume.size == 0 or volume.min() == volume.max():
        return ""
    sums = [np.zeros(size, np.uint64) for size in volume.shape]
    for number, plane in enumerate(volume):
        # -0 becomes 0.
        whole = (plane + plane.dtype.type(0)).view(WHOLE[plane.itemsize]) if plane.dtype.kind == "f" else plane
        mixed = _mixed(whole.astype(np.uint64, order="C"))
        sums[1] += mixed.sum(axis=1, dtype=np.uint64)
        of_columns = mixed.sum(axis=0, dtype=np.uint64)
        sums[2] += of_columns
        sums[0][number] = of_columns.sum(dtype=np.uint64)
    return "-".join(sorted(f"{len(planes)}.{int(_mixed(planes).sum(dtype=np.uint64)):016x}" for planes in sums))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values * ODD
    values ^= values >> np.uint64(29)
    values *= ODD
    values ^= values >> np.uint64(32)
    return values
