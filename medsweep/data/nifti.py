"""Reading NIfTI volumes on the canonical (RAS) grid, refusing whatever would be read wrongly, and writing labels.

Scaling slope and intercept are applied; a slope of 0 means no scaling. The affine is the sform where its code is set,
else the qform; a file with neither has no known orientation. Trailing axes of length 1 are dropped; repeated
measurements and vector fields are refused.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medsweep.data.dataset import SliceAxis
from medsweep.data.geometry import Triple, from_planes
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError

ABSURD = 1e30
"""Voxels beyond this are fill values (such as 3.4e38), not measurements."""

WHOLE = 1e-4
"""A label this close to a whole number is one: stored scaling factors leave such rounding errors."""

UNKNOWN = 255
"""Stands for a label value that is not declared, until it is refused; so there are at most 255 classes."""

ANATOMICAL = {"sagittal": 0, "coronal": 1, "axial": 2}
STORED = {"first": 0, "second": 1, "third": 2}


@dataclass(frozen=True, eq=False)
class Grid:
    """Geometry of a file as it is stored."""

    shape: tuple[int, ...]
    """As stored, trailing axes of length 1 included."""
    affine: NDArray[np.float64]
    """4x4 matrix from stored voxel (i, j, k) to world coordinates in mm."""
    sform_code: int
    qform_code: int
    dtype: str
    scaling: tuple[float, float] | None
    """Slope and intercept where they change the stored numbers."""

    @property
    def axes(self) -> str:
        """Directions towards which the stored axes grow, such as ``IPL``."""
        return "".join(str(code) for code in nib.aff2axcodes(self.affine))

    @property
    def orientation(self) -> NDArray[np.float64]:
        """nibabel's (3, 2) orientation: per stored axis the canonical axis and whether it is flipped."""
        orientation: NDArray[np.float64] = io_orientation(self.affine)
        return orientation

    @property
    def canonical_shape(self) -> Triple:
        """Voxels along X, Y and Z after reorientation."""
        sizes = {int(axis): size for axis, size in zip(self.orientation[:, 0], self.shape[:3], strict=True)}
        return sizes[0], sizes[1], sizes[2]

    @property
    def canonical_affine(self) -> NDArray[np.float64]:
        """4x4 matrix from canonical voxel (x, y, z) to world coordinates in mm."""
        back: NDArray[np.float64] = self.affine @ inv_ornt_aff(self.orientation, self.shape[:3])
        return back

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along X, Y and Z, to the nanometre: headers hold 32-bit numbers."""
        x, y, z = voxel_sizes(self.canonical_affine)
        return round(float(x), 6), round(float(y), 6), round(float(z), 6)

    def canonical_axis(self, slice_axis: SliceAxis) -> int:
        """The canonical axis (0 X, 1 Y, 2 Z) along which slices are cut."""
        if slice_axis in ANATOMICAL:
            return ANATOMICAL[slice_axis]
        return int(self.orientation[STORED[slice_axis], 0])


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume on the canonical grid, whose axes grow to the right, to the front and upwards."""

    path: Path
    array: NDArray[Any]
    """Image: float32 (C, X, Y, Z). Labels: uint8 (X, Y, Z), class indices."""
    grid: Grid


def read_grid(path: Path) -> Grid:
    """Geometry of a file with one channel, from its header alone.

    Raises:
        UserError: unreadable or not NIfTI, wrong number of axes or channels, no usable affine.
    """
    return _grid(_open(path, 1))


def read_image(path: Path, modalities: int = 1) -> Scan:
    """Read an image of ``modalities`` channels; in a file with several, they are the fourth axis.

    Raises:
        UserError: as ``read_grid``, or voxels that are not finite or absurd.
    """
    image = _open(path, modalities)
    with _readable(path):
        array = np.asarray(image.dataobj, dtype=np.float32)
    # Written so that NaN fails too; the voxels are counted only once it is known that some are bad.
    if not (array.min() >= -ABSURD and array.max() <= ABSURD):
        bad = int(np.count_nonzero(~(np.abs(array) <= ABSURD)))
        raise UserError(
            f"{bad} of {array.size} voxels of {path} are not finite or beyond {ABSURD:g}; repair or leave out this file"
        )
    grid = _grid(image)
    volume = _canonical(array, grid)
    return Scan(path, volume[None] if modalities == 1 else np.moveaxis(volume, 3, 0), grid)


def read_labels(
    path: Path, values: Mapping[int, int], classes: Sequence[str], *, others_are_background: bool = False
) -> Scan:
    """Read a label volume of any numeric type; ``values`` has the class index of each stored value.

    Whole values that are not among ``values`` are refused, unless ``others_are_background``.

    Raises:
        UserError: as ``read_grid``, or a value that is not whole or not among ``values``.
    """
    image = _open(path, 1)
    with _readable(path):
        array = np.asanyarray(image.dataobj)
    numbered = np.full_like(array, UNKNOWN, dtype=np.uint8, subok=False)
    for value, index in values.items():
        numbered[np.abs(array - value) <= WHOLE if array.dtype.kind == "f" else array == value] = index
    others = array[numbered == UNKNOWN]
    whole = np.abs(others - np.rint(others)) <= WHOLE
    refused = np.flatnonzero(~whole) if others_are_background else np.arange(len(others))
    if len(refused):
        what = "undeclared" if whole[refused[0]] else "fractional"
        declared = {value: classes[index] for value, index in sorted(values.items())}
        raise UserError(f"{what} label value {float(others[refused[0]]):g} in {path}; declared are {declared}")
    numbered[numbered == UNKNOWN] = 0
    grid = _grid(image)
    return Scan(path, _canonical(numbered, grid), grid)


def check_pair(first: Scan, second: Scan) -> None:
    """Refuse two volumes of one case that do not lie on one grid.

    Raises:
        UserError: shapes differ, or affines differ by more than 1e-3 of an entry (or of a voxel, for entries near 0).
    """
    if first.grid.canonical_shape != second.grid.canonical_shape:
        raise UserError(
            f"{first.path} and {second.path} belong together and differ in shape: "
            f"{first.grid.shape} ({first.grid.axes}) and {second.grid.shape} ({second.grid.axes})"
        )
    affine, other = first.grid.canonical_affine, second.grid.canonical_affine
    if not np.allclose(affine, other, rtol=1e-3, atol=1e-3 * min(first.grid.spacing_mm)):
        difference = float(np.abs(affine - other).max())
        raise UserError(
            f"{first.path} and {second.path} belong together and lie on different grids: their affines differ by "
            f"{difference:g}"
        )


def write_prediction(path: Path, labels_ZHW: NDArray[np.uint8], data: SliceSet, patient: str) -> None:
    """Write class indices on the original grid, (Z, H, W), as a NIfTI file that overlays the patient's own files.

    Axes, shape (trailing axes of length 1 included), affine and codes are those of the label file; class indices become
    its stored label values, the lowest where several count as one class.
    """
    volume = data.volumes[patient]
    table = np.zeros(len(data.classes), np.min_scalar_type(max(data.values)))
    for value in sorted(data.values, reverse=True):
        table[data.values[value]] = value
    canonical = from_planes(table[labels_ZHW], volume.slice_axis)
    affine = np.asarray(volume.stored.affine)
    turned = apply_orientation(canonical, ornt_transform(axcodes2ornt("RAS"), io_orientation(affine)))
    image = nib.Nifti1Image(np.asarray(turned).reshape(volume.stored.shape), affine)
    image.set_qform(affine, volume.stored.qform_code)
    image.set_sform(affine, volume.stored.sform_code)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def _canonical(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """The stored array on canonical axes, without trailing axes of length 1."""
    turned: NDArray[Any] = apply_orientation(array.reshape(_trimmed(array.shape)), grid.orientation)
    return turned


def _grid(image: Any) -> Grid:
    header, scaling = image.header, (float(image.dataobj.slope), float(image.dataobj.inter))
    return Grid(
        shape=tuple(int(size) for size in image.shape),
        affine=np.asarray(image.affine, dtype=np.float64),
        sform_code=int(header["sform_code"]),
        qform_code=int(header["qform_code"]),
        dtype=str(header.get_data_dtype().name),
        scaling=None if scaling == (1.0, 0.0) else scaling,
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what nibabel and gzip raise on absent, foreign or truncated files into an error for the user."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None
    except (ImageFileError, HeaderDataError, EOFError, OSError, ValueError, zlib.error) as error:
        raise UserError(f"cannot read {path} as NIfTI ({error}); fetch the file again") from error


def _open(path: Path, modalities: int) -> Any:
    """The file's lazily read image, with the axes that ``modalities`` calls for."""
    with _readable(path):
        image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise UserError(f"{path} is of type {type(image).__name__}; convert it to a single .nii or .nii.gz file")
    shape = _trimmed(image.shape)
    if modalities == 1 and len(shape) != 3:
        raise UserError(f"{path} has {len(shape)} axes, shape {shape}; expected a 3D volume")
    if modalities > 1 and (len(shape) != 4 or shape[3] != modalities):
        raise UserError(f"{path} has shape {shape}; {modalities} modalities are expected as a fourth axis")
    if image.get_data_dtype().kind not in "biuf":
        raise UserError(f"{path} holds voxels of type {image.get_data_dtype()}; expected whole or real numbers")
    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        raise UserError(f"{path} has neither sform nor qform (codes 0), so its orientation is unknown; set one of them")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine)) < 1e-12:
        raise UserError(f"{path} has no usable affine: {image.affine.tolist()}; repair its sform or qform")
    return image


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without the trailing axes of length 1 beyond the third."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
