"""Headers: units, contradictions between sform, qform and pixdim, shear, and what is damaged."""

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medsweep.data import nifti
from medsweep.data.header import voxels_apart
from medsweep.errors import UserError

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
VOXELS = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)


def write(
    path: Path, affine: Any = AFFINE, qform: Any = None, unit: str = "mm", codes: tuple[int, int] = (1, 1)
) -> Path:
    """A file whose qform is ``qform`` where one is given; ``codes`` are of qform and sform."""
    image = nib.Nifti1Image(VOXELS, affine)
    image.set_sform(affine, codes[1])
    image.set_qform(affine if qform is None else qform, codes[0], strip_shears=True)
    image.header.set_xyzt_units(unit)
    image.to_filename(path)
    return path


def patched(path: Path, offset: int, content: bytes) -> Path:
    """The same file with other bytes at ``offset`` of the header."""
    data = bytearray(path.read_bytes())
    data[offset : offset + len(content)] = content
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1000.0), ("meter", 0.001), ("mm", 1.0), ("unknown", 1.0)])
def test_units_are_converted_to_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    affine = AFFINE.copy()
    affine[:3, 3] = (-10, 20, 30)
    affine[:3] *= factor
    grid = nifti.read_grid(write(tmp_path / "x.nii", affine, unit=unit))
    assert grid.spacing_mm == pytest.approx((1, 1, 3))
    assert grid.affine[:3, 3] == pytest.approx((-10, 20, 30))
    converted = [what for level, what in grid.remarks if level == "note" and "converted to millimetres" in what]
    assert len(converted) == len(grid.remarks) == (factor != 1)


def test_a_unit_that_makes_impossible_or_odd_voxels_is_refused_or_warned_of(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x.nii has voxels of 1000 x 1000 x 3000 mm \(its unit: metres\)"):
        nifti.read_grid(write(tmp_path / "x.nii", unit="meter"))
    (remark,) = nifti.read_grid(write(tmp_path / "y.nii", AFFINE * [[0.01], [0.01], [0.01], [1]])).remarks
    assert remark == ("warning", "voxels of 0.01 x 0.01 x 0.03 mm are unusual; is the unit of the header right?")
    (remark,) = nifti.read_grid(patched(write(tmp_path / "z.nii"), 123, b"\x05")).remarks
    assert remark == ("warning", "the spatial unit 5 of the header does not exist; taken as millimetres")


def test_sform_against_qform_is_told_in_voxels_and_directions(tmp_path: Path) -> None:
    mirrored = np.diag([-1.0, 1, 3, 1])
    mirrored[0, 3] = 5
    (remark,) = nifti.read_grid(write(tmp_path / "x.nii", qform=mirrored)).remarks
    assert remark[0] == "warning"
    assert remark[1].startswith("sform and qform lie 5.00 voxels apart (RAS and LAS); the sform is used")
    near = AFFINE.copy()
    near[0, 3] = 0.09
    assert nifti.read_grid(write(tmp_path / "y.nii", qform=near)).remarks == ()
    assert nifti.read_grid(write(tmp_path / "z.nii", qform=mirrored, codes=(0, 1))).remarks == ()


def test_pixdim_against_sform_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nii", np.diag([0.5, 0.5, 3, 1]), qform=np.diag([0.5, 0.5, 3, 1]), codes=(0, 1))
    (remark,) = nifti.read_grid(patched(path, 80, struct.pack("<3f", 1, 1, 3))).remarks
    assert remark == ("warning", "pixdim states voxels of 1 x 1 x 3 mm, the sform 0.5 x 0.5 x 3 mm; the sform is used")


@pytest.mark.parametrize(("degrees", "refused"), [(25, True), (0.9, True), (0.3, False)])
def test_sheared_grids_are_refused_and_tilted_ones_are_not(tmp_path: Path, degrees: float, refused: bool) -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = 3 * np.tan(np.radians(degrees))
    path = write(tmp_path / "x.nii", sheared, codes=(0, 1))
    if refused:
        with pytest.raises(UserError, match=rf"x.nii lies on a sheared grid, .* by {degrees:.1f} degrees"):
            nifti.read_grid(path)
    else:
        nifti.read_grid(path)
    angle = np.radians(degrees)
    tilt = np.array([[1, 0, 0, 0], [0, np.cos(angle), -np.sin(angle), 0], [0, np.sin(angle), np.cos(angle), 0]])
    assert nifti.read_grid(write(tmp_path / "t.nii", np.vstack([tilt, [0, 0, 0, 1]]) @ AFFINE)).remarks == ()


@pytest.mark.parametrize("origin", [0.0, 5000.0])
def test_the_tolerance_of_grids_does_not_depend_on_the_origin(origin: float) -> None:
    first = np.diag([1.0, 1.0, 5.0, 1.0])
    first[:3, 3] = origin
    for shift, voxels in ((0.4, 0.08), (5.0, 1.0)):
        second = first.copy()
        second[2, 3] += shift
        assert voxels_apart(first, second, (30, 30, 20)) == pytest.approx(voxels)


@pytest.mark.parametrize(
    ("offset", "content", "what"),
    [
        (40, struct.pack("<h", 9), "has a damaged header, it states 9 axes"),
        (42, struct.pack("<h", 0), r"has no voxels, its shape is \(0, 5, 4\)"),
        (42, struct.pack("<h", -3), "has no voxels"),
        (70, struct.pack("<h", 77), "has a damaged header, voxel type 77 does not exist"),
        (70, struct.pack("<h", 32), "holds voxels of type complex64"),
        (108, struct.pack("<f", 200), "has a damaged header, voxels begin at byte 200"),
        (108, struct.pack("<f", np.nan), "has a damaged header, voxels begin at byte nan"),
        (112, struct.pack("<f", np.inf), "scales its voxels by inf"),
        (112, struct.pack("<2f", 1, np.nan), "scales its voxels by 1 and nan"),
        (280, struct.pack("<f", np.nan), "has no usable affine"),
        (280, struct.pack("<f", 1e38), "has voxels of 1e"),
        (344, b"ni1\x00", "is a header of a pair of files"),
        (344, bytes(4), "is an Analyze header"),
    ],
)
def test_damaged_headers_are_named(tmp_path: Path, offset: int, content: bytes, what: str) -> None:
    path = patched(write(tmp_path / "x.nii"), offset, content)
    with pytest.raises(UserError, match=f"x.nii {what}"):
        nifti.read_image(path)


@pytest.mark.parametrize("pixdim0", [0.0, -1.0, 1.0])
def test_a_qform_alone_is_read_as_nibabel_reads_it(tmp_path: Path, pixdim0: float) -> None:
    path = patched(write(tmp_path / "x.nii", codes=(1, 0)), 76, struct.pack("<f", pixdim0))
    assert np.allclose(nifti.read_grid(path).affine, nib.load(path).affine)


@pytest.mark.parametrize("model", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_byte_orders_are_read(tmp_path: Path, model: Any, order: str) -> None:
    header = model.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    image = model(VOXELS, AFFINE, header)
    image.to_filename(tmp_path / "x.nii.gz")
    scan = nifti.read_image(tmp_path / "x.nii.gz")
    assert np.array_equal(scan.array[0], VOXELS)
    assert scan.grid.dtype == "int16"


def test_bytes_after_the_last_voxel_are_told(tmp_path: Path) -> None:
    content = write(tmp_path / "x.nii").read_bytes()
    for name, written in (("a.nii", content + bytes(9)), ("a.nii.gz", gzip.compress(content + bytes(9)))):
        (tmp_path / name).write_bytes(written)
        (remark,) = nifti.read_image(tmp_path / name).grid.remarks
        assert remark == ("warning", "9 bytes come after the last voxel; are the dimensions of the header right?")


def test_grey_values_on_a_large_offset_are_kept(tmp_path: Path) -> None:
    stored = (2**30 + VOXELS.astype(np.int64)).astype(np.int32)
    nib.Nifti1Image(stored, AFFINE).to_filename(tmp_path / "x.nii")
    scan = nifti.read_image(tmp_path / "x.nii")
    assert scan.array.dtype == np.float64
    assert len(np.unique(scan.array)) == VOXELS.size
    assert nifti.read_image(write(tmp_path / "y.nii")).array.dtype == np.float32
