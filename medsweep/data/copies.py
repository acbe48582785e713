"""Finding the same voxels under two names, whatever the header, the type or the packing around them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 2**17
"""Voxels that are hashed at a time, so that they stay in the processor's cache."""

ODD = np.uint64(0x9E3779B97F4A7C15)
"""An odd number with mixed bits: 2**64 over the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)."""


def voxel_hash(volume: NDArray[Any]) -> str:
    """A text that is equal for volumes of equal shape and values, also if turned or mirrored; empty for a constant one.

    Each value is mixed by itself (xorshift and multiply) and the results are added modulo 2**64, twice. So the order of
    the axes, which a changed header changes, has no part in it. ``volume`` is float32, float64 or uint8, of any shape.
    """
    flat = np.ravel(volume, order="K")
    if flat.size == 0 or flat.min() == flat.max():
        return ""
    whole = {4: np.uint32, 8: np.uint64}
    sums = [0, 0]
    for start in range(0, len(flat), PIECE):
        piece = flat[start : start + PIECE]
        if piece.dtype.kind == "f":
            piece = (piece + piece.dtype.type(0)).view(whole[piece.itemsize])  # -0 is 0.
        mixed = piece.astype(np.uint64) * ODD
        mixed ^= mixed >> np.uint64(29)
        mixed *= ODD
        sums[0] += int(mixed.sum(dtype=np.uint64))
        mixed ^= mixed >> np.uint64(32)
        sums[1] += int(mixed.sum(dtype=np.uint64))
    shape = "x".join(map(str, sorted(volume.shape)))
    return f"{shape}-{sums[0] % 2**64:016x}{sums[1] % 2**64:016x}"
