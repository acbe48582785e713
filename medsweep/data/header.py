"""NIfTI headers: the geometry that a file states, what it contradicts itself in, and what cannot be read right.

The affine is the sform where its code is set, else the qform; a file with neither has no known orientation. It is
turned into millimetres where the header states another unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import inv_ornt_aff, io_orientation
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medsweep.data.content import HEADER_SIZES, first_bytes, refuse_foreign
from medsweep.data.dataset import Severity, SliceAxis
from medsweep.data.geometry import Triple
from medsweep.errors import UserError

ANATOMICAL = {"sagittal": 0, "coronal": 1, "axial": 2}
STORED = {"first": 0, "second": 1, "third": 2}

SAME_GRID = 0.1
"""Two grids are one where no voxel of the first lies further than this many voxels from its place in the second."""

SAME_SIZE = 0.01
"""Voxel sizes that ``pixdim`` and the sform state may differ by this share."""

SHEAR_DEGREES = 0.5
"""Grids whose axes miss the right angle by more are refused: millimetres along their axes are no distances."""

POSSIBLE_MM = (1e-3, 1e3)
"""Voxel sizes outside are refused: no such scanner exists."""

USUAL_MM = (0.02, 50.0)
"""Voxel sizes outside are warned of: the unit may be wrong."""

UNITS_MM = {0: ("unknown", 1.0), 1: ("metres", 1e3), 2: ("millimetres", 1.0), 3: ("micrometres", 1e-3)}
"""Name and length in mm of the spatial units of ``xyzt_units``."""

Remarks = tuple[tuple[Severity, str], ...]
Affine = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Geometry of a file as it is stored, in millimetres."""

    shape: tuple[int, ...]
    """As stored, trailing axes of length 1 included."""
    affine: Affine
    """4x4 matrix from stored voxel (i, j, k) to world coordinates in mm."""
    sform_code: int
    qform_code: int
    dtype: str
    scaling: tuple[float, float] | None
    """Slope and intercept where they change the stored numbers."""
    remarks: Remarks = ()
    """What a reader should know of the header, with its severity."""

    @property
    def axes(self) -> str:
        """Directions towards which the stored axes grow, such as ``IPL``."""
        return _axes(self.affine)

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
    def canonical_affine(self) -> Affine:
        """4x4 matrix from canonical voxel (x, y, z) to world coordinates in mm."""
        back: Affine = self.affine @ inv_ornt_aff(self.orientation, self.shape[:3])
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
class Header:
    """What is needed to read the voxels of a file."""

    grid: Grid
    dtype: np.dtype[Any]
    offset: int
    """Byte at which the voxels begin."""

    @property
    def end(self) -> int:
        """Byte after the last voxel."""
        voxels = 1
        for size in self.grid.shape:  # numpy's product would wrap around for damaged sizes.
            voxels *= size
        return self.offset + voxels * self.dtype.itemsize


def trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without the trailing axes of length 1 beyond the third."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def voxels_apart(first: Affine, second: Affine, shape: tuple[int, ...]) -> float:
    """How far the two affines put a corner of a grid of ``shape`` apart, in voxels of the first, along any axis."""
    corners = np.array([(*corner, 1) for corner in product(*((0, size - 1) for size in shape[:3]))], np.float64).T
    with np.errstate(all="ignore"):
        apart = np.abs((np.linalg.inv(first) @ second @ corners - corners)[:3]).max()
    return float(apart) if np.isfinite(apart) else np.inf


def read_header(path: Path, modalities: int = 1, channel: int | None = None) -> Header:
    """Geometry and type of a file with ``modalities`` channels; in a file with several, they are the fourth axis.

    With ``channel`` the fourth axis may have any length beyond it.

    Raises:
        UserError: not a single NIfTI file, wrong number of axes or channels, no usable affine, or a grid on which
            distances would be wrong.
    """
    raw = _parsed(path)
    shape = _shape(raw, path)
    refuse_shape(shape, path, modalities, channel)
    dtype = _dtype(raw, path)
    codes = int(raw["sform_code"]), int(raw["qform_code"])
    if codes == (0, 0):
        raise UserError(f"{path} has neither sform nor qform (codes 0), so its orientation is unknown; set one of them")
    sform, qform = raw.get_sform(coded=False), _qform(raw, path, needed=codes[0] == 0)
    stored = sform if codes[0] else qform
    unit, in_mm = UNITS_MM.get(int(raw["xyzt_units"]) & 7, ("", 1.0))
    affine = np.array(stored, np.float64)
    affine[:3] *= in_mm
    refuse_unusable(affine, path, unit)
    remarks = [*_units(raw, unit, affine), *_contradictions(raw, shape, sform, qform, in_mm)]
    grid = Grid(
        shape=shape,
        affine=affine,
        sform_code=codes[0],
        qform_code=codes[1],
        dtype=str(dtype.newbyteorder("=").name),
        scaling=_scaling(raw, path),
        remarks=tuple(remarks),
    )
    return Header(grid, dtype, _offset(raw, path))


def _parsed(path: Path) -> Any:
    head = first_bytes(path, HEADER_SIZES[1])
    for size, model, kind in zip(HEADER_SIZES, (nib.Nifti1Header, nib.Nifti2Header), ("1", "2"), strict=True):
        for order, name in (("<", "little"), (">", "big")):
            if len(head) >= size and int.from_bytes(head[:4], name) == size:  # type: ignore[arg-type]
                header = model(head[:size], endianness=order, check=False)
                magic = bytes(header["magic"].item())
                if magic[:3] == b"n+" + kind.encode():
                    return header
                named = "a header of a pair of files" if magic[:2] == b"ni" else "an Analyze header"
                raise UserError(f"{path} is {named}, .hdr and .img; convert it to a single .nii or .nii.gz file")
    refuse_foreign(path, head)
    raise UserError(f"{path} is no NIfTI file, it begins with {head[:8]!r}; fetch the file again")


def refuse_shape(whole: tuple[int, ...], path: Path, modalities: int, channel: int | None) -> None:
    """Refuse a stored shape that is not that of ``modalities`` channels, or has no ``channel``.

    Raises:
        UserError: no voxels, or a wrong number of axes or channels.
    """
    if min(whole) <= 0:
        raise UserError(f"{path} has no voxels, its shape is {whole}; leave out the case or make the file again")
    shape = trimmed(whole)
    if channel is not None:
        if len(shape) != 4 or channel >= shape[3]:
            raise UserError(
                f"{path} has shape {shape}; channel [{channel}] of a fourth axis is asked for, the first is [0]"
            )
        return
    if modalities == 1 and len(shape) != 3:
        choose = "; medsweep.yaml can choose a channel, as in {id}.nii.gz[0]" if len(shape) == 4 else ""
        raise UserError(f"{path} has {len(shape)} axes, shape {shape}; expected a 3D volume{choose}")
    if modalities > 1 and (len(shape) != 4 or shape[3] != modalities):
        raise UserError(f"{path} has shape {shape}; {modalities} modalities are expected as a fourth axis")


def _shape(raw: Any, path: Path) -> tuple[int, ...]:
    axes = int(raw["dim"][0])
    if not 1 <= axes <= 7:
        raise UserError(f"{path} has a damaged header, it states {axes} axes; fetch the file again")
    return tuple(int(size) for size in raw.get_data_shape())


def _dtype(raw: Any, path: Path) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(raw.get_data_dtype())
    except (KeyError, HeaderDataError):
        code = int(raw["datatype"])
        raise UserError(
            f"{path} has a damaged header, voxel type {code} does not exist; fetch the file again"
        ) from None
    if dtype.kind not in "biuf":
        raise UserError(f"{path} holds voxels of type {dtype}; expected whole or real numbers")
    return dtype


def _offset(raw: Any, path: Path) -> int:
    offset, least = float(raw["vox_offset"]), HEADER_SIZES[isinstance(raw, nib.Nifti2Header)] + 4
    if offset == 0:
        return least
    if not (np.isfinite(offset) and offset >= least and offset == int(offset)):
        raise UserError(f"{path} has a damaged header, voxels begin at byte {offset:g}; fetch the file again")
    return int(offset)


def _scaling(raw: Any, path: Path) -> tuple[float, float] | None:
    """Slope and intercept; a slope of 0 or NaN means none, as in nibabel."""
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or np.isnan(slope) or (slope, inter) == (1, 0):
        return None
    if not (np.isfinite(slope) and np.isfinite(inter)):
        raise UserError(f"{path} scales its voxels by {slope:g} and {inter:g}; repair scl_slope and scl_inter")
    return slope, inter


def _qform(raw: Any, path: Path, *, needed: bool) -> Affine | None:
    """The affine of the quaternion; None where it cannot be worked out and is not ``needed``."""
    header = raw.copy()
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # As the standard says of 0.
    try:
        affine: Affine = np.asarray(header.get_qform(coded=False), np.float64)
    except (ValueError, HeaderDataError) as error:
        if not needed:
            return None
        raise UserError(f"{path} has no sform and a qform that is no rotation ({error}); repair it") from None
    return affine


def refuse_unusable(affine: Affine, path: Path, unit: str) -> None:
    """Refuse an affine in mm, and ``unit``, the unit that the file is stored in.

    Raises:
        UserError: it is no map of a grid, its voxels are of an impossible size, or its axes are not at right angles.
    """
    with np.errstate(all="ignore"):
        sizes = voxel_sizes(affine)
        usable = np.isfinite(affine).all() and np.isfinite(sizes).all() and sizes.min() > 0
        angles = (affine[:3, :3] / sizes) if usable else np.zeros((3, 3))
    if not usable or abs(np.linalg.det(angles)) < 1e-6:
        raise UserError(f"{path} has no usable affine: {affine.tolist()}; repair its sform or qform")
    if sizes.min() < POSSIBLE_MM[0] or sizes.max() > POSSIBLE_MM[1]:
        voxel = " x ".join(f"{size:g}" for size in sizes)
        raise UserError(f"{path} has voxels of {voxel} mm (its unit: {unit}); repair its affine or xyzt_units")
    cosine = float(np.abs(np.triu(angles.T @ angles, 1)).max())
    if (shear := float(np.degrees(np.arcsin(min(1.0, cosine))))) > SHEAR_DEGREES:
        raise UserError(
            f"{path} lies on a sheared grid, its axes miss the right angle by {shear:.1f} degrees, so distances along "
            "them are wrong; resample image and mask to a grid with right angles"
        )


def _units(raw: Any, unit: str, affine: Affine) -> Iterator[tuple[Severity, str]]:
    code, sizes = int(raw["xyzt_units"]) & 7, voxel_sizes(affine)
    if not unit:
        yield "warning", f"the spatial unit {code} of the header does not exist; taken as millimetres"
    elif UNITS_MM[code][1] != 1:
        yield "note", f"stored in {unit}, converted to millimetres"
    if sizes.min() < USUAL_MM[0] or sizes.max() > USUAL_MM[1]:
        voxel = " x ".join(f"{size:g}" for size in sizes)
        yield "warning", f"voxels of {voxel} mm are unusual; is the unit of the header right?"


def _contradictions(
    raw: Any, shape: tuple[int, ...], sform: Affine, qform: Affine | None, in_mm: float
) -> Iterator[tuple[Severity, str]]:
    """Where sform, qform and pixdim state different geometries."""
    if int(raw["sform_code"]) == 0:
        return
    if int(raw["qform_code"]) != 0:
        if qform is None:
            yield "warning", "the qform is no rotation; the sform is used, ITK and its viewers may use the qform"
        elif (apart := voxels_apart(sform, qform, shape)) > SAME_GRID:
            turned = f" ({_axes(sform)} and {_axes(qform)})" if _axes(sform) != _axes(qform) else ""
            yield (
                "warning",
                f"sform and qform lie {apart:.2f} voxels apart{turned}; the sform is used, ITK and its viewers may use "
                "the qform",
            )
    stated = np.abs(np.asarray(raw["pixdim"][1:4], np.float64)) * in_mm
    sizes = voxel_sizes(sform) * in_mm
    if not (np.abs(stated - sizes) <= SAME_SIZE * sizes).all():
        ours, theirs = (" x ".join(f"{size:g}" for size in one) for one in (sizes, stated))
        yield "warning", f"pixdim states voxels of {theirs} mm, the sform {ours} mm; the sform is used"


def _axes(affine: Affine) -> str:
    return "".join(str(code or "?") for code in nib.aff2axcodes(affine))
