"""Volumes in the formats of ITK, NRRD and MetaImage, read by SimpleITK (``medsweep[sitk]``) as NIfTI files are.

ITK's axes grow to the left, to the back and upwards; here they are turned to the right and to the front. Files that say
nothing of their orientation are refused. ITK does not compare the check sums of packed voxels, so that is done here.
"""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from medsweep.data.content import CHUNK, FETCH
from medsweep.data.header import Grid, refuse_shape, refuse_unusable
from medsweep.data.itk_head import ItkHead, kind_of, read_head
from medsweep.errors import UserError

ANY_WRAPPER: Final = zlib.MAX_WBITS | 32
"""For ``zlib``: a gzip or a zlib stream, whichever it is."""

WHERE_IN_ITK: Final = re.compile(r".*ERROR:|\w+\(0x[0-9a-f]+\):", re.DOTALL)
"""Beginnings of ITK's messages that differ from run to run."""

MOST_AXES: Final = 7
"""As in NIfTI files; MetaImage heads that state more than ITK has room for end the whole process."""

LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
INTEGER: Final = re.compile(r"-?\d+$")
MILLIMETRES: Final = {"mm", "millimeter", "millimeters", "millimetre", "millimetres"}


def read_grid(path: Path, modalities: int = 1, channel: int | None = None) -> Grid:
    """Geometry and type from the head; channels are a fourth axis, as in NIfTI files.

    A format without codes counts as a scanner's space, code 1.

    Raises:
        UserError: no such file, without orientation, on a sheared grid, or a wrong number of axes.
    """
    head = read_head(path)
    _refuse_many_axes(path, head)
    _refuse_unknown_space(path, head)
    reader = _reader(path)
    _itk(path, reader.ReadImageInformation)
    axes = reader.GetDimension()
    spatial = min(axes, 3)
    direction = np.array(reader.GetDirection(), np.float64).reshape(axes, axes)[:spatial, :spatial]
    affine = np.eye(4)
    affine[:spatial, :spatial] = direction * np.array(reader.GetSpacing()[:spatial])
    affine[:spatial, 3] = reader.GetOrigin()[:spatial]
    affine = LPS_TO_RAS @ affine
    components = reader.GetNumberOfComponents()
    shape = (*map(int, reader.GetSize()), *([components] if components > 1 else []))
    refuse_shape(shape, path, modalities, channel)
    refuse_unusable(affine, path, "millimetres")
    return Grid(shape, affine, sform_code=1, qform_code=1, dtype=_dtype(path, reader).name, scaling=None)


def read_voxels(path: Path, modalities: int = 1, channel: int | None = None) -> tuple[NDArray[Any], Grid]:
    """The stored voxels in the order of the grid's axes.

    Raises:
        UserError: as ``read_grid``, or damaged.
    """
    import SimpleITK

    grid = read_grid(path, modalities, channel)
    _refuse_damaged(path, int(np.prod(grid.shape, dtype=object)) * np.dtype(grid.dtype).itemsize)
    image = _itk(path, _reader(path).Execute)
    array: NDArray[Any] = SimpleITK.GetArrayFromImage(image)
    several = image.GetNumberOfComponentsPerPixel() > 1
    # ITK's arrays have the last axis first, and the channels of a pixel last.
    return (np.moveaxis(array.T, 0, -1) if several else array.T), grid


def _reader(path: Path) -> Any:
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("MetaImageIO" if kind_of(path) == "MetaImage" else "NrrdImageIO")
    return reader


def _itk(path: Path, work: Any) -> Any:
    """What ``work`` returns; what ITK raises becomes one clause."""
    try:
        return work()
    except RuntimeError as error:
        reason = " ".join(WHERE_IN_ITK.sub("", str(error)).split())
        raise UserError(f"{path} cannot be read by ITK ({reason[:200]}); {FETCH}") from None


def _dtype(path: Path, reader: Any) -> np.dtype[Any]:
    import SimpleITK

    pixel = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID()).removeprefix("vector of ")
    match = re.fullmatch(r"(8|16|32|64)-bit (unsigned integer|signed integer|float)", pixel)
    if match is None:
        raise UserError(f"{path} holds voxels of type {pixel}; expected whole or real numbers")
    kind = {"unsigned integer": "uint", "signed integer": "int", "float": "float"}[match[2]]
    return np.dtype(f"{kind}{match[1]}")


def _refuse_many_axes(path: Path, head: ItkHead) -> None:
    axes = head.fields.get("ndims", "3")
    if not (axes.isdecimal() and 1 <= int(axes) <= MOST_AXES):
        raise UserError(f"{path} has a damaged header, it states {axes} axes; fetch the file again")


def _refuse_unknown_space(path: Path, head: ItkHead) -> None:
    """Files that do not say which way their axes go are refused, like a NIfTI file without sform and qform."""
    if kind_of(path) == "NRRD":
        known = {"space", "space directions", "space origin"} <= head.fields.keys()
        lacking = "space, space directions and space origin"
        units = set(re.findall(r'"([^"]*)"', head.fields.get("space units", ""))) - MILLIMETRES - {""}
        if units:
            raise UserError(f"{path} is measured in {', '.join(sorted(units))}; write it in millimetres")
    else:
        known = not head.fields.keys().isdisjoint({"transformmatrix", "rotation", "orientation"})
        lacking = "a TransformMatrix"
    if not known:
        raise UserError(f"{path} does not have {lacking}, so its orientation is unknown; write it with its geometry")


def _refuse_damaged(path: Path, needed: int) -> None:
    """Read the voxels to their end: enough bytes, and where they are packed, the check sum that ITK leaves out."""
    head = read_head(path)
    if not head.data.is_file():
        raise UserError(f"{path} names the file {head.data.name} with its voxels, which is not there; bring it")
    skipped = head.fields.get("byte skip", "0")
    # ITK itself looks for the end of what lies behind skipped lines.
    if head.packing not in ("raw", "packed") or head.fields.get("line skip", "0") != "0" or not INTEGER.match(skipped):
        return
    held = head.data.stat().st_size - head.offset if head.packing == "raw" else sum(map(len, _unpacked(head)))
    held -= max(0, int(skipped))
    if held < needed:
        raise UserError(
            f"{head.data} ends too early: its header calls for {needed:,} bytes of voxels, it has {held:,}; {FETCH}"
        )


def _unpacked(head: ItkHead) -> Iterator[bytes]:
    """The voxels of a packed file, piece by piece, to the end of the stream."""
    inflater = zlib.decompressobj(ANY_WRAPPER)
    try:
        with head.data.open("rb") as stream:
            stream.seek(head.offset)
            while not inflater.eof and (packed := stream.read(CHUNK)):
                piece = inflater.decompress(packed, CHUNK)
                while piece:
                    yield piece
                    piece = inflater.decompress(inflater.unconsumed_tail, CHUNK)
    except zlib.error as error:
        reason = str(error).rpartition(": ")[2]
        raise UserError(
            f"{head.data} is damaged, its packed data do not pass their own check ({reason}); {FETCH}"
        ) from None
    if not inflater.eof:
        raise UserError(f"{head.data} ends in the middle of its packed data; {FETCH}")
