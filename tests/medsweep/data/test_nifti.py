"""NIfTI reading: canonical axes, scaling, and the refusal of what would be read wrongly."""

import nibabel as nib
import numpy as np
import pytest
from decathlon_folder import save

from medsweep.data import nifti
from medsweep.errors import UserError

CLASSES = ("background", "a", "b")
PSR = np.array([[0, 0, 2.0, -7], [-1.0, 0, 0, 30], [0, 3.0, 0, 5], [0, 0, 0, 1]])


def _volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 50, shape).astype(np.float32)


def test_axes_are_turned_and_world_positions_kept(tmp_path):
    array = _volume(6, 7, 8)
    scan = nifti.read_image(save(tmp_path / "x.nii.gz", array, PSR))
    assert scan.shape == (8, 6, 7) == nifti.read_shape(scan.path)
    assert scan.spacing_mm == (2.0, 1.0, 3.0)
    assert nib.aff2axcodes(scan.affine) == ("R", "A", "S")
    world = PSR @ [1, 2, 3, 1]
    x, y, z, _ = np.rint(np.linalg.inv(scan.affine) @ world).astype(int)
    assert scan.array[0, x, y, z] == array[1, 2, 3]


def test_negative_values_are_kept(tmp_path):
    array = _volume(4, 5, 6)
    assert np.array_equal(nifti.read_image(save(tmp_path / "x.nii", array)).array[0], array)


@pytest.mark.parametrize("shape", [(4, 5, 6, 1), (4, 5, 6, 1, 1), (4, 5, 1)])
def test_trailing_axes_of_length_one_are_dropped(tmp_path, shape):
    path = save(tmp_path / "x.nii.gz", _volume(*shape))
    assert nifti.read_image(path).array.shape == (1, *shape[:3])
    assert nifti.read_shape(path) == shape[:3]


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (4, 5, 6, 1, 3), (4, 5)])
def test_other_numbers_of_axes_are_refused_with_the_shape(tmp_path, shape):
    path = save(tmp_path / "x.nii.gz", _volume(*shape))
    with pytest.raises(UserError, match=f"x.nii.gz has {len(shape)} axes, shape \\({', '.join(map(str, shape))}\\)"):
        nifti.read_image(path)


def test_modalities_become_the_first_axis(tmp_path):
    array = _volume(4, 5, 6, 2)
    path = save(tmp_path / "x.nii.gz", array, np.diag([-1.0, 1, 1, 1]))
    assert np.array_equal(nifti.read_image(path, 2).array, np.moveaxis(array[::-1], 3, 0))
    with pytest.raises(UserError, match=r"shape \(4, 5, 6, 2\); dataset.json declares 3 modalities"):
        nifti.read_image(path, 3)


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 3.4e38])
def test_voxels_that_measure_nothing_are_refused_with_their_count(tmp_path, bad):
    array = _volume(4, 5, 6)
    array[0, 0, :3] = bad
    with pytest.raises(UserError, match=r"3 of 120 voxels of .*x\.nii"):
        nifti.read_image(save(tmp_path / "x.nii", array))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64])
def test_labels_of_any_numeric_type(tmp_path, dtype):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    scan = nifti.read_labels(save(tmp_path / "y.nii.gz", labels.astype(dtype)), CLASSES)
    assert scan.array.dtype == np.uint8
    assert np.array_equal(scan.array, labels)


@pytest.mark.parametrize(("value", "kind"), [(3, "undeclared"), (-1, "undeclared"), (1.5, "fractional")])
def test_label_values_outside_the_declared_set_are_refused(tmp_path, value, kind):
    labels = np.zeros((4, 5, 6), np.float32)
    labels[1, 1, 1] = value
    with pytest.raises(
        UserError, match=rf"{kind} label value {value} in .*y\.nii.*\{{0: 'background', 1: 'a', 2: 'b'\}}"
    ):
        nifti.read_labels(save(tmp_path / "y.nii", labels), CLASSES)


def test_labels_that_are_not_a_number_are_refused(tmp_path):
    with pytest.raises(UserError, match="fractional label value nan"):
        nifti.read_labels(save(tmp_path / "y.nii", np.full((4, 5, 6), np.nan, np.float32)), CLASSES)


def test_slope_and_intercept_are_applied(tmp_path):
    path = save(tmp_path / "x.nii", np.full((4, 5, 6), 7, np.int16))
    with path.open("r+b") as file:
        file.seek(112)  # scl_slope and scl_inter of NIfTI-1, float32 each
        file.write(np.float32([0.5, 10]).tobytes())
    assert (nifti.read_image(path).array == 13.5).all()


def test_pairs_on_different_grids_are_refused_naming_both(tmp_path):
    image = nifti.read_image(save(tmp_path / "i.nii", _volume(4, 5, 6)))
    small = nifti.read_labels(save(tmp_path / "s.nii", np.zeros((4, 5, 5), np.uint8)), CLASSES)
    with pytest.raises(UserError, match=r"i\.nii is \(4, 5, 6\), .*s\.nii is \(4, 5, 5\)"):
        nifti.check_pair(image, small)
    for affine in (np.diag([1, 1, 1.01, 1.0]), np.array([*np.eye(4)[:3] + [[0, 0, 0, 2]] * 3, [0, 0, 0, 1]])):
        moved = nifti.read_labels(save(tmp_path / "m.nii", np.zeros((4, 5, 6), np.uint8), affine), CLASSES)
        with pytest.raises(UserError, match=r"affines of .*i\.nii and .*m\.nii differ"):
            nifti.check_pair(image, moved)
    close = nifti.read_labels(
        save(tmp_path / "c.nii", np.zeros((4, 5, 6), np.uint8), np.diag([1, 1, 1.0005, 1])), CLASSES
    )
    nifti.check_pair(image, close)


def test_same_affine_under_other_codes_is_a_pair(tmp_path):
    array = _volume(4, 5, 6)
    image = nib.Nifti1Image(array, None)
    image.set_qform(PSR, 1)
    image.set_sform(None, 0)
    image.to_filename(tmp_path / "q.nii")
    qform_only = nifti.read_image(tmp_path / "q.nii")
    sform = nifti.read_labels(save(tmp_path / "s.nii", np.zeros((4, 5, 6), np.uint8), PSR), CLASSES)
    nifti.check_pair(qform_only, sform)
    assert qform_only.spacing_mm == pytest.approx((2, 1, 3))


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x1f\x8b\x08\x00broken"])
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_files_that_are_not_nifti_are_named(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"cannot read .*{name} as NIfTI"):
        nifti.read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_truncated_voxels_are_named(tmp_path, name):
    path = save(tmp_path / name, _volume(20, 20, 20))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(UserError, match=rf"cannot read .*{name} as NIfTI"):
        nifti.read_image(path)


def test_absent_files_and_analyze_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no file .*gone\.nii"):
        nifti.read_image(tmp_path / "gone.nii")
    nib.AnalyzeImage(_volume(4, 5, 6), np.eye(4)).to_filename(tmp_path / "old.hdr")
    with pytest.raises(UserError, match=r"old\.hdr is of type \w+; convert it"):
        nifti.read_image(tmp_path / "old.hdr")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_go_back_to_the_grid_they_came_from(tmp_path, axis):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6), dtype=np.uint8)
    scan = nifti.read_labels(save(tmp_path / "y.nii.gz", labels, np.diag([2.0, 3, 4, 1])), CLASSES)
    planes = nifti.to_planes(scan.array, axis)
    assert planes.shape == {0: (4, 6, 5), 1: (5, 6, 4), 2: (6, 5, 4)}[axis]
    nifti.write_labels(tmp_path / "back.nii.gz", planes, scan.affine.tolist(), axis)
    back = nib.load(tmp_path / "back.nii.gz")
    assert np.array_equal(np.asanyarray(back.dataobj), labels)
    assert np.array_equal(back.affine, scan.affine)


def test_header_zoo(real):
    zoo = real("header_zoo")
    image = nifti.read_image(zoo / "t2.nii.gz")
    assert image.shape == (52, 60, 55)
    cord = nifti.read_labels(zoo / "t2_seg-manual.nii.gz", ("background", "cord"))
    nifti.check_pair(image, cord)
    assert np.count_nonzero(cord.array) == 4275
    points = nifti.read_labels(zoo / "t2_labels.nii.gz", tuple("abcdef"))  # scl_slope 0
    assert sorted(points.array[points.array > 0].tolist()) == [3, 5]
    with pytest.raises(UserError, match="undeclared label value 5"):
        nifti.read_labels(zoo / "t2_labels.nii.gz", tuple("abcde"))
    scaled = nifti.read_image(zoo / "mt_t1w.nii.gz").array
    assert (scaled.min(), scaled.max()) == pytest.approx((2.67, 580.67), abs=0.01)
    assert np.count_nonzero(nifti.read_labels(zoo / "t2s_seg-deepseg.nii.gz", CLASSES).array) == 2443  # int64
    with pytest.raises(UserError, match=r"dmri.nii.gz has 4 axes, shape \(40, 42, 5, 7\)"):
        nifti.read_image(zoo / "dmri.nii.gz")
    with pytest.raises(UserError, match=r"5 axes, shape \(40, 40, 5, 1, 3\)"):
        nifti.read_image(zoo / "warp_t22mt1.nii.gz")
    with pytest.raises(UserError, match="633 of 8000 voxels"):
        nifti.read_image(zoo / "mtr.nii.gz")


def test_kits_labels_lie_body_axis_last_whatever_the_header(real):
    kits = real("kits19")
    names = ("background", "kidney", "tumour")
    sform = nifti.read_labels(kits / "case_00061" / "segmentation.nii.gz", names)
    qform = nifti.read_labels(kits / "case_00015" / "segmentation.nii.gz", names)
    assert (sform.shape, qform.shape) == ((512, 512, 29), (512, 512, 75))
    assert sform.spacing_mm == pytest.approx((0.9766, 0.9766, 5), abs=1e-3)
    planes = nifti.to_planes(sform.array, 2)
    assert [int((planes == value).any((1, 2)).sum()) for value in (1, 2)][1] == 13
    assert int((planes > 0).any((1, 2)).sum()) == 26
