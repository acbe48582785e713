"""Finding the same voxels under two names, whatever the header, the type or the packing around them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsweep.data.geometry import as_in_memory

ODD = {4: np.uint32(0x9E3779B1), 8: np.uint64(0x9E3779B97F4A7C15)}
"""Odd numbers with mixed bits by their size in bytes: 2**32 and 2**64 over the golden ratio (Knuth, The Art of Computer
Programming 3, 6.4)."""

ALONG = 8
"""Voxels of a sketch along each axis."""

TELLING = 64
"""Voxels of a sketch that must differ from the most frequent value, such as that of air."""


def sketch(volume: NDArray[Any]) -> tuple[float, ...]:
    """An even grid of voxels, less their mean and over their SD: the same on any scale, nearly so after rounding.

    Empty where too few of them differ to tell volumes apart. ``volume`` is (X, Y, Z).
    """
    places = [np.unique(np.linspace(0, size - 1, ALONG + 2)[1:-1].round().astype(int)) for size in volume.shape]
    values = volume[np.ix_(*places)].astype(np.float64).ravel()
    if values.size - np.unique(values, return_counts=True)[1].max() < TELLING:
        return ()
    return tuple(((values - values.mean()) / values.std()).round(4).tolist())


def voxel_hash(volume: NDArray[Any]) -> str:
    """A text that is equal for volumes of equal values, also if turned or mirrored; empty for a constant one.

    Each value is mixed by itself (xorshift and multiply). The sums of all planes along each axis, modulo 2**64, are
    mixed and added again. So the order and the direction of the axes, which a changed header changes, have no part in
    it, and two volumes with one histogram differ. ``volume`` is (X, Y, Z), float32, float64 or uint8.
    """
    volume = as_in_memory(volume)
    first = volume[0, 0, 0]
    if (volume[:, 0, 0] == first).all() and (volume == first).all():
        return ""
    sums = [np.zeros(size, np.uint64) for size in volume.shape]
    real = volume.dtype.kind == "f"
    whole: Any = np.uint64 if volume.dtype.itemsize == 8 else np.uint32
    for number, plane in enumerate(volume):
        # -0 becomes 0.
        bits = (plane + plane.dtype.type(0)).view(whole) if real else plane.astype(whole)
        mixed = _mixed(bits)
        sums[1] += mixed.sum(axis=1, dtype=np.uint64)
        of_columns = mixed.sum(axis=0, dtype=np.uint64)
        sums[2] += of_columns
        sums[0][number] = of_columns.sum(dtype=np.uint64)
    return "-".join(sorted(f"{len(planes)}.{int(_mixed(planes).sum(dtype=np.uint64)):016x}" for planes in sums))


def _mixed(values: NDArray[Any]) -> NDArray[Any]:
    """The values, each a whole number of 32 or 64 bits, mixed in place."""
    values *= ODD[values.itemsize]
    values ^= values >> values.dtype.type(values.itemsize * 4 - 3)
    return values
