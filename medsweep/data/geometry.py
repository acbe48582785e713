"""Cutting a canonical volume into planes and fitting each plane into a square of R pixels; both can be undone."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

T = TypeVar("T", bound=np.generic)
Triple = tuple[int, int, int]
LAST_THREE = (-3, -2, -1)


def to_planes(volume_XYZ: NDArray[T], slice_axis: int) -> NDArray[T]:
    """Canonical (..., X, Y, Z) to planes (..., Z, H, W): the slice axis first, the other two in descending order.

    For axial slices, rows run along Y and columns along X.
    """
    return np.moveaxis(volume_XYZ, [axis - 3 for axis in plane_axes(slice_axis)], LAST_THREE)


def from_planes(planes_ZHW: NDArray[T], slice_axis: int) -> NDArray[T]:
    """Undo ``to_planes``: planes (..., Z, H, W) back to the canonical (..., X, Y, Z)."""
    return np.moveaxis(planes_ZHW, LAST_THREE, [axis - 3 for axis in plane_axes(slice_axis)])


def plane_axes(slice_axis: int) -> Triple:
    """Canonical axes of (slices, rows, columns)."""
    rows, columns = sorted({0, 1, 2} - {slice_axis}, reverse=True)
    return slice_axis, rows, columns


def as_in_memory(volume: NDArray[T]) -> NDArray[T]:
    """The same voxels in the order in which they lie in memory, in which they are read fastest; no copy."""
    turned = volume.transpose(np.argsort([-abs(stride) for stride in volume.strides], kind="stable"))
    return turned[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in turned.strides)]


@dataclass(frozen=True)
class Resize:
    """Scale (height, width) to (scaled_height, scaled_width), then pad to (side, side) around the centre.

    A plane that fits is only padded, so its labels stay exact; a larger one is shrunk with its aspect ratio kept.
    """

    height: int
    width: int
    scaled_height: int
    scaled_width: int
    side: int

    @classmethod
    def of(cls, height: int, width: int, side: int) -> "Resize":
        """How a (height, width) plane fits into a square of ``side`` pixels."""
        scale = min(1.0, side / max(height, width))
        return cls(height, width, max(1, round(height * scale)), max(1, round(width * scale)), side)

    @property
    def covered(self) -> int:
        """Pixels of the square that are no padding."""
        return self.scaled_height * self.scaled_width

    @property
    def top_left(self) -> tuple[int, int]:
        """First row and column of the square that the plane covers."""
        return (self.side - self.scaled_height) // 2, (self.side - self.scaled_width) // 2

    def image(self, planes_ZHW: NDArray[np.float32], outside: float = 0.0) -> NDArray[np.float32]:
        """(Z, H, W) to (Z, R, R): linear interpolation after a Gaussian low-pass where it shrinks, then padding."""
        scaled = _resize(planes_ZHW.astype(np.float32, copy=False), self.scaled_height, self.scaled_width, order=1)
        return self._pad(scaled, outside)

    def labels(self, planes_ZHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(Z, H, W) to (Z, R, R) by nearest neighbour; padding is background."""
        scaled = _resize(planes_ZHW, self.scaled_height, self.scaled_width, order=0)
        return self._pad(scaled, 0)

    def undo(self, planes_ZRR: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., R, R) to (..., H, W): crop the padding, then linear interpolation back to the original grid."""
        top, left = self.top_left
        inner = planes_ZRR[..., top : top + self.scaled_height, left : left + self.scaled_width]
        flat = inner.reshape(-1, self.scaled_height, self.scaled_width)
        return _resize(flat, self.height, self.width, order=1).reshape(*inner.shape[:-2], self.height, self.width)

    def _pad(self, planes: NDArray[T], outside: float) -> NDArray[T]:
        if planes.shape[1:] == (self.side, self.side):
            return planes
        top, left = self.top_left
        square = np.full((len(planes), self.side, self.side), outside, planes.dtype)
        square[:, top : top + self.scaled_height, left : left + self.scaled_width] = planes
        return square


def _resize(planes_ZHW: NDArray[T], height: int, width: int, *, order: int) -> NDArray[T]:
    """(Z, H, W) to (Z, height, width), one axis after the other; ``order`` 0 is nearest neighbour, 1 is linear."""
    resized = planes_ZHW
    for axis, size in ((1, height), (2, width)):
        if resized.shape[axis] != size:
            resized = (_nearest if order == 0 else _linear)(resized, axis, size)
    return resized


def _nearest(planes: NDArray[T], axis: int, size: int) -> NDArray[T]:
    """Take the source pixel under each target pixel's centre, floor((i + 1/2) n / size), in whole numbers."""
    source = (2 * np.arange(size) + 1) * planes.shape[axis] // (2 * size)
    nearest: NDArray[T] = planes.take(source, axis=axis)
    return nearest


def _linear(planes: NDArray[T], axis: int, size: int) -> NDArray[T]:
    """Interpolate between source pixel centres at (i + 1/2) n / size - 1/2; edges are extended.

    Shrinking by a factor f first blurs with a Gaussian of SD (f - 1) / 2 source pixels against aliasing.
    """
    factor = planes.shape[axis] / size
    if factor > 1:
        planes = gaussian_filter1d(planes, (factor - 1) / 2, axis=axis, mode="nearest")
    below, above, share_S = interpolation(planes.shape[axis], size)
    share: Any = np.moveaxis(share_S.reshape(-1, 1, 1), 0, axis).astype(planes.dtype)
    lower: NDArray[Any] = planes.take(below, axis=axis)
    upper: NDArray[Any] = planes.take(above, axis=axis)
    between: NDArray[T] = lower + share * (upper - lower)
    return between


def interpolation(pixels: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Source pixels on either side of each of ``size`` target pixels, and the share of the second in it, (size,) each.

    Pixel centres lie at (i + 1/2) pixels / size - 1/2; edges are extended.
    """
    position = np.clip((np.arange(size) + 0.5) * (pixels / size) - 0.5, 0, pixels - 1)
    below = np.floor(position).astype(np.int64)
    return below, np.minimum(below + 1, pixels - 1), position - below
