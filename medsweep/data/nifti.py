"""Reading and writing NIfTI volumes on the canonical (RAS) grid, refusing whatever would be read wrongly.

Scaling slope and intercept are applied; a slope of 0 means no scaling. The affine is the sform where its code is set,
else the qform. Trailing axes of length 1 are dropped; repeated measurements and vector fields are refused.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medsweep.errors import UserError

T = TypeVar("T", bound=np.generic)

ABSURD = 1e30
"""Voxels beyond this are fill values (such as 3.4e38), not measurements."""

WHOLE = 1e-4
"""A label this close to a whole number is one: stored scaling factors leave such rounding errors."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume on the canonical grid, whose axes grow to the right, to the front and upwards."""

    path: Path
    array: NDArray[Any]
    """Image: float32 (C, X, Y, Z). Labels: uint8 (X, Y, Z)."""
    affine: NDArray[np.float64]
    """4x4 matrix from canonical voxel (x, y, z) to world coordinates in mm."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along X, Y and Z."""
        x, y, z = self.array.shape[-3:]
        return x, y, z

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along X, Y and Z, to the nanometre: headers hold 32-bit numbers."""
        x, y, z = voxel_sizes(self.affine)
        return round(float(x), 6), round(float(y), 6), round(float(z), 6)


def read_image(path: Path, modalities: int = 1) -> Scan:
    """Read an image of ``modalities`` channels; in a file with several, they are the fourth axis.

    Raises:
        UserError: unreadable or not NIfTI, wrong number of axes or channels, voxels that are not finite or absurd.
    """
    array, affine = _voxels(path, modalities)
    bad = int(np.count_nonzero(~(np.abs(array) <= ABSURD))) if array.dtype.kind == "f" else 0
    if bad:
        raise UserError(
            f"{bad} of {array.size} voxels of {path} are not finite or beyond {ABSURD:g}; repair or leave out this file"
        )
    channels = array[None] if modalities == 1 else np.moveaxis(array, 3, 0)
    return Scan(path, np.ascontiguousarray(channels, dtype=np.float32), affine)


def read_labels(path: Path, classes: Sequence[str]) -> Scan:
    """Read a label volume of any numeric type whose values are indices into ``classes``.

    Raises:
        UserError: unreadable or not NIfTI, not 3D, a value that is not whole or not an index into ``classes``.
    """
    array, affine = _voxels(path, 1)
    declared = {index: name for index, name in enumerate(classes)}
    for value in np.unique(array).tolist():
        whole = np.isfinite(value) and abs(value - round(value)) <= WHOLE
        if not whole or round(value) not in declared:
            what = "undeclared" if whole else "fractional"
            raise UserError(f"{what} label value {value:g} in {path}; dataset.json declares {declared}")
    return Scan(path, np.ascontiguousarray(np.rint(array), dtype=np.uint8), affine)


def read_shape(path: Path, modalities: int = 1) -> tuple[int, int, int]:
    """Canonical shape (X, Y, Z) of a volume from its header alone.

    Raises:
        UserError: as ``read_image``, but for the voxel values, which are not looked at.
    """
    image = _open(path, modalities)
    towards = nib.io_orientation(image.affine)[:, 0].astype(int)
    sizes = {int(axis): int(size) for axis, size in zip(towards, image.shape[:3], strict=True)}
    return sizes[0], sizes[1], sizes[2]


def check_pair(image: Scan, label: Scan) -> None:
    """Refuse an image and a label volume that do not lie on one grid.

    Raises:
        UserError: shapes differ, or affines differ by more than 1e-3 of an entry (or of a voxel, for entries near 0).
    """
    if image.shape != label.shape:
        raise UserError(
            f"image and label differ in shape: {image.path} is {image.shape}, {label.path} is {label.shape}"
        )
    tolerance = 1e-3 * min(image.spacing_mm)
    if not np.allclose(image.affine, label.affine, rtol=1e-3, atol=tolerance):
        apart = float(np.abs(image.affine - label.affine).max())
        raise UserError(
            f"image and label lie on different grids: the affines of {image.path} and {label.path} differ by {apart:g}"
        )


def to_planes(volume_XYZ: NDArray[T], slice_axis: int) -> NDArray[T]:
    """Canonical (..., X, Y, Z) to planes (..., Z, H, W): the slice axis first, the other two in descending order.

    Along axis 2 rows run along Y and columns along X.
    """
    return _permute(volume_XYZ, _plane_axes(slice_axis))


def from_planes(planes_ZHW: NDArray[T], slice_axis: int) -> NDArray[T]:
    """Undo ``to_planes``: planes (..., Z, H, W) back to the canonical (..., X, Y, Z)."""
    order = _plane_axes(slice_axis)
    return _permute(planes_ZHW, (order.index(0), order.index(1), order.index(2)))


def write_labels(path: Path, planes_ZHW: NDArray[np.uint8], affine: Sequence[Sequence[float]], slice_axis: int) -> None:
    """Write restacked label planes as a NIfTI file on the canonical grid that ``affine`` describes."""
    volume = np.ascontiguousarray(from_planes(planes_ZHW, slice_axis))
    image = nib.Nifti1Image(volume, np.asarray(affine, dtype=np.float64))
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def _plane_axes(slice_axis: int) -> tuple[int, int, int]:
    rows, columns = sorted({0, 1, 2} - {slice_axis}, reverse=True)
    return slice_axis, rows, columns


def _permute(array: NDArray[T], order: tuple[int, int, int]) -> NDArray[T]:
    lead = array.ndim - 3
    return array.transpose(*range(lead), *(lead + axis for axis in order))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what nibabel and gzip raise on absent, foreign or truncated files into an error for the user."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None
    except (ImageFileError, HeaderDataError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"cannot read {path} as NIfTI ({error}); fetch the file again") from error


def _voxels(path: Path, modalities: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Scaled voxels in canonical axes, in the file's own type or float64, and the canonical affine."""
    image = _open(path, modalities)
    with _readable(path):
        canonical = nib.as_closest_canonical(image)
        array = np.asanyarray(canonical.dataobj)
    return array.reshape(_trimmed(array.shape)), canonical.affine


def _open(path: Path, modalities: int) -> Any:
    """The file's lazily read image, with the axes that ``modalities`` calls for."""
    with _readable(path):
        image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise UserError(f"{path} is of type {type(image).__name__}; convert it to a single .nii or .nii.gz file")
    _check_axes(path, _trimmed(image.shape), modalities)
    if image.get_data_dtype().kind not in "biuf":
        raise UserError(f"{path} holds voxels of type {image.get_data_dtype()}; expected whole or real numbers")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine)) < 1e-12:
        raise UserError(f"{path} has no usable affine: {image.affine.tolist()}; repair its sform or qform")
    return image


def _trimmed(shape: Sequence[int]) -> tuple[int, ...]:
    """``shape`` without the trailing axes of length 1 beyond the third."""
    axes = len(shape)
    while axes > 3 and shape[axes - 1] == 1:
        axes -= 1
    return tuple(int(size) for size in shape[:axes])


def _check_axes(path: Path, shape: tuple[int, ...], modalities: int) -> None:
    if modalities == 1 and len(shape) != 3:
        raise UserError(f"{path} has {len(shape)} axes, shape {shape}; expected a 3D volume")
    if modalities > 1 and (len(shape) != 4 or shape[3] != modalities):
        raise UserError(f"{path} has shape {shape}; dataset.json declares {modalities} modalities as a fourth axis")
