"""Reading volumes on the canonical (RAS) grid, refusing whatever would be read wrongly, and writing labels as NIfTI.

Scaling slope and intercept are applied; a slope of 0 means no scaling. Trailing axes of length 1 are dropped; repeated
measurements and vector fields are refused. Files are read to their end (see ``medsweep.data.content``). NRRD and
MetaImage files are read by ``medsweep.data.itk`` under the same rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray

from medsweep.data import itk
from medsweep.data.content import all_bytes
from medsweep.data.geometry import from_planes
from medsweep.data.header import SAME_GRID, Grid, read_header, trimmed, voxels_apart
from medsweep.data.ignored import IGNORED
from medsweep.data.itk_head import is_itk
from medsweep.data.slices import SliceSet, StoredGeometry
from medsweep.errors import UserError

T = TypeVar("T", bound=np.generic)

ABSURD = 1e18
"""Voxels beyond this are fill values (such as 3.4e38), not measurements; their squares still are 32-bit numbers."""

WHOLE = 1e-4
"""A label this close to a whole number is one: stored scaling factors leave such rounding errors."""

OFF_BY_ONE = "one slice more or less comes of cropping or resampling: resample the mask to the grid of the image"
LISTED = 10
"""Refused label values that are named."""

MOST_LABELS = 256
"""Undeclared values of a mask above which it is taken for an image."""

FAR = 256
"""Voxels whose magnitude is more than this times their range stay 64-bit until the offset is taken off: of the 24 bits
of a 32-bit number fewer than 16 would be left for the range."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume on the canonical grid, whose axes grow to the right, to the front and upwards."""

    path: Path
    array: NDArray[Any]
    """Image: (C, X, Y, Z), float32, or float64 where float32 would lose grey values. Labels: uint8 (X, Y, Z), class
    indices and ``IGNORED``."""
    grid: Grid


def read_grid(path: Path, channel: int | None = None) -> Grid:
    """Geometry of a file with one channel, or of one channel of several, from its header alone.

    Raises:
        UserError: as ``medsweep.data.header.read_header``.
    """
    with _readable(path):
        grid = itk.read_grid(path, channel=channel) if is_itk(path) else read_header(path, channel=channel).grid
        return grid if channel is None else replace(grid, shape=grid.shape[:3])


def read_image(path: Path, modalities: int = 1, channel: int | None = None) -> Scan:
    """Read an image of ``modalities`` channels; in a file with several, they are the fourth axis.

    With ``channel``, counted from 0, only this one of a file with several.

    Raises:
        UserError: as ``read_grid``, or voxels that are not finite or absurd.
    """
    with _readable(path):
        array, grid = _voxels(path, modalities, channel)
        low, high = float(array.min()), float(array.max())
        # Written so that NaN fails too; the voxels are counted only once it is known that some are bad.
        if not (low >= -ABSURD and high <= ABSURD):
            bad = int(np.count_nonzero(~(np.abs(array) <= ABSURD)))
            raise UserError(
                f"{bad} of {array.size} voxels of {path} are not finite or beyond {ABSURD:g}; repair or leave out this "
                "file"
            )
        far = max(abs(low), abs(high)) > FAR * (high - low)
        volume = _canonical(array.astype(np.float64 if far and high > low else np.float32, copy=False), grid)
    return Scan(path, volume[None] if modalities == 1 else np.moveaxis(volume, 3, 0), grid)


def read_labels(
    path: Path,
    values: Mapping[int, int],
    classes: Sequence[str],
    *,
    others_are_background: bool = False,
    ignored: int | None = None,
) -> Scan:
    """Read a label volume of any numeric type; ``values`` has the class index of each stored value.

    Whole values that are not among ``values`` are refused, unless ``others_are_background``. Voxels of the value
    ``ignored`` become ``IGNORED``.

    Raises:
        UserError: as ``read_grid``, or a value that is not whole or not among ``values``.
    """
    with _readable(path):
        array, grid = _voxels(path, 1)
    known = values if ignored is None else {**values, ignored: IGNORED}
    numbered, undeclared = class_indices(array, known)
    others = np.unique(array[undeclared])
    with np.errstate(invalid="ignore"):  # infinite labels
        whole = np.abs(others - np.rint(others)) <= WHOLE
    refused = others[~whole] if others_are_background else others
    if len(refused):
        declared = {value: classes[index] for value, index in values.items()}
        declared |= {} if ignored is None else {ignored: "ignored"}
        raise UserError(_refusal(path, refused, bool(whole.all()), declared, grid))
    if len(others) > MOST_LABELS:
        remark = f"holds {len(others):,} values that no class has, as an image does; is this the mask?"
        grid = replace(grid, remarks=(*grid.remarks, ("warning", remark)))
    return Scan(path, _canonical(numbered, grid), grid)


def class_indices(array: NDArray[Any], values: Mapping[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The class index of each stored value, as ``values`` has it, and where there is none; 0 stands there."""
    dtype = np.uint8 if max(values.values()) < 255 else np.uint16
    unknown = np.iinfo(dtype).max
    numbered: NDArray[Any] = np.full_like(array, unknown, dtype=dtype, subok=False)
    for value, index in values.items():
        numbered[np.abs(array - value) <= WHOLE if array.dtype.kind == "f" else array == value] = index
    undeclared = numbered == unknown
    numbered[undeclared] = 0
    return numbered.astype(np.uint8, copy=False), undeclared


def _refusal(path: Path, refused: NDArray[Any], whole: bool, declared: Mapping[int, str], grid: Grid) -> str:
    """Which values of a label file are refused, what is declared, and where scaling is the cause, how to mend it."""
    shown = ", ".join(f"{float(value):g}" for value in refused[:LISTED])
    more = f" and {len(refused) - LISTED} more" if len(refused) > LISTED else ""
    what = "undeclared" if whole else "fractional"
    values = "value" if len(refused) == 1 else "values"
    many = f"{len(declared)} values from {min(declared)} to {max(declared)}"
    known = str(dict(sorted(declared.items()))) if len(declared) <= LISTED else many
    text = f"{what} label {values} {shown}{more} in {path}; declared are {known}"
    if whole and len(refused) > MOST_LABELS:
        return f"{text}; so many are those of an image, is this the mask?"
    if whole:
        return f"{text}; mend the mask, or declare the {values} (classes in medsweep.yaml, labels in dataset.json)"
    if not np.isfinite(refused).all():
        return f"{text}; write 0 where nothing is labelled"
    if grid.scaling is None:
        return f"{text}; masks hold whole numbers: resample them by nearest neighbour, and give no probabilities"
    return (
        f"{text}; scl_slope {grid.scaling[0]:g} makes them of whole numbers: write the mask as whole numbers unscaled"
    )


def check_pair(first: Scan, second: Scan) -> None:
    """Refuse two volumes of one case that do not lie on one grid.

    Raises:
        UserError: shapes differ, or a corner of the second lies more than ``SAME_GRID`` voxels off.
    """
    belong = f"{first.path} and {second.path} belong together and"
    if first.grid.canonical_shape != second.grid.canonical_shape:
        sizes = zip(first.grid.canonical_shape, second.grid.canonical_shape, strict=True)
        off_by_one = max(abs(one - other) for one, other in sizes) == 1
        advice = OFF_BY_ONE if off_by_one else "make the mask on the grid of the image"
        raise UserError(
            f"{belong} differ in shape: {first.grid.shape} ({first.grid.axes}) and {second.grid.shape} "
            f"({second.grid.axes}); {advice}"
        )
    shape = first.grid.canonical_shape
    apart = voxels_apart(first.grid.canonical_affine, second.grid.canonical_affine, shape)
    if apart > SAME_GRID:
        lost = [scan.path for scan in (first, second) if np.array_equal(np.abs(scan.grid.affine), np.eye(4))]
        cause = f" ({lost[0]} has the identity as affine, as files written without one)" if len(lost) == 1 else ""
        raise UserError(
            f"{belong} lie on different grids, {apart:.2f} voxels apart where {SAME_GRID:g} are allowed{cause}; copy "
            "the affine of the image if the mask was drawn on it, else resample the mask"
        )


def write_prediction(path: Path, labels_ZHW: NDArray[np.uint8], data: SliceSet, patient: str) -> None:
    """Write class indices on the original grid, (Z, H, W), as a NIfTI file that overlays the patient's own files.

    Axes, shape (trailing axes of length 1 included), affine and codes are those of the label file; class indices become
    its stored label values, the lowest where several count as one class.
    """
    volume = data.volumes[patient]
    write_volume(path, from_planes(stored_labels(labels_ZHW, data), volume.slice_axis), volume.stored)


def stored_labels(labels_ZHW: NDArray[np.uint8], data: SliceSet) -> NDArray[Any]:
    """The stored label value of each class index, the lowest where several count as one class."""
    least, most = (np.min_scalar_type(value) for value in (min(data.values), max(data.values)))
    table = np.zeros(len(data.classes), np.promote_types(least, most))
    for value in sorted(data.values, reverse=True):
        table[data.values[value]] = value
    stored: NDArray[Any] = table[labels_ZHW]
    return stored


def write_volume(path: Path, canonical_XYZ: NDArray[Any], stored: StoredGeometry) -> None:
    """Write a canonical volume as a NIfTI file with the axes, shape, affine and codes of ``stored``."""
    affine = np.asarray(stored.affine)
    image = nib.Nifti1Image(as_stored(canonical_XYZ, stored), affine)
    image.set_qform(affine, stored.qform_code)
    image.set_sform(affine, stored.sform_code)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


def as_stored(canonical_XYZ: NDArray[T], stored: StoredGeometry) -> NDArray[T]:
    """A canonical volume with its axes as a file has them; trailing axes of length 1 are the file's."""
    orientation = io_orientation(np.asarray(stored.affine))
    turned: NDArray[T] = apply_orientation(canonical_XYZ, ornt_transform(axcodes2ornt("RAS"), orientation))
    return np.ascontiguousarray(turned).reshape(tuple(stored.shape))


def _canonical(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """The stored array on canonical axes, without trailing axes of length 1."""
    turned: NDArray[Any] = apply_orientation(array.reshape(trimmed(array.shape)), grid.orientation)
    return turned


def read_structure(path: Path, channel: int | None = None) -> tuple[NDArray[np.bool_], Grid]:
    """Where the one structure of a mask is, (X, Y, Z); the file holds 0 and one other whole value, or 0 alone.

    Raises:
        UserError: as ``read_grid``, or other values.
    """
    with _readable(path):
        array, grid = _voxels(path, 1, channel)
    values = np.unique(array)
    marks = values[values != 0]
    if len(marks) > 1 or not (marks == np.rint(marks)).all():
        shown = ", ".join(f"{float(value):g}" for value in values[:LISTED])
        raise UserError(f"the mask of one structure {path} holds {shown}; expected are 0 and one other whole value")
    return _canonical(array != 0, grid), grid


def _voxels(path: Path, modalities: int, channel: int | None = None) -> tuple[NDArray[Any], Grid]:
    """Stored voxels with slope and intercept applied in 64 bits; in their own type where there is neither."""
    stored, grid = (itk.read_voxels if is_itk(path) else _stored)(path, modalities, channel)
    if channel is not None:
        stored, grid = stored[..., channel].reshape(grid.shape[:3]), replace(grid, shape=grid.shape[:3])
    if grid.scaling is None:
        return stored, grid
    slope, inter = grid.scaling
    return stored * np.float64(slope) + np.float64(inter), grid


def _stored(path: Path, modalities: int, channel: int | None) -> tuple[NDArray[Any], Grid]:
    """The voxels of a NIfTI file as they are stored."""
    header = read_header(path, modalities, channel)
    content, surplus = all_bytes(path, header.end)
    stored: NDArray[Any] = np.ndarray(header.grid.shape, header.dtype, content, header.offset, order="F")
    if not surplus:
        return stored, header.grid
    remark = f"{surplus:,} bytes come after the last voxel; are the dimensions of the header right?"
    return stored, replace(header.grid, remarks=(*header.grid.remarks, ("warning", remark)))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes numpy, nibabel or the system raise into an error that names the file."""
    try:
        yield
    except UserError:
        raise
    except PermissionError:
        raise UserError(f"{path} may not be read; mend its permissions") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory; give more, or leave out the case") from None
    except Exception as error:
        raise UserError(f"cannot read {path} ({type(error).__name__}: {error}); fetch the file again") from error
