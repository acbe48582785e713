"""NIfTI reading: canonical axes, scaling, and the refusal of what would be read wrongly."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from helpers.decathlon_folder import save
from medsweep.data import nifti
from medsweep.data.geometry import from_planes, to_planes
from medsweep.data.ignored import IGNORED
from medsweep.errors import UserError

CLASSES = ("background", "a", "b")
VALUES = {0: 0, 1: 1, 2: 2}
PSR = np.array([[0, 0, 2.0, -7], [-1.0, 0, 0, 30], [0, 3.0, 0, 5], [0, 0, 0, 1]])


def _volume(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 50, shape).astype(np.float32)


def test_axes_are_turned_and_world_positions_kept(tmp_path):
    array = _volume(6, 7, 8)
    scan = nifti.read_image(save(tmp_path / "x.nii.gz", array, PSR))
    assert scan.grid.canonical_shape == (8, 6, 7) == nifti.read_grid(scan.path).canonical_shape
    assert scan.grid.spacing_mm == (2.0, 1.0, 3.0)
    assert nib.aff2axcodes(scan.grid.canonical_affine) == ("R", "A", "S")
    world = PSR @ [1, 2, 3, 1]
    x, y, z, _ = np.rint(np.linalg.inv(scan.grid.canonical_affine) @ world).astype(int)
    assert scan.array[0, x, y, z] == array[1, 2, 3]


def test_negative_values_are_kept(tmp_path):
    array = _volume(4, 5, 6)
    assert np.array_equal(nifti.read_image(save(tmp_path / "x.nii", array)).array[0], array)


@pytest.mark.parametrize("shape", [(4, 5, 6, 1), (4, 5, 6, 1, 1), (4, 5, 1)])
def test_trailing_axes_of_length_one_are_dropped(tmp_path, shape):
    path = save(tmp_path / "x.nii.gz", _volume(*shape))
    assert nifti.read_image(path).array.shape == (1, *shape[:3])
    assert nifti.read_grid(path).shape == shape


@pytest.mark.parametrize("shape", [(4, 5, 6, 3), (4, 5, 6, 1, 3), (4, 5)])
def test_other_numbers_of_axes_are_refused_with_the_shape(tmp_path, shape):
    path = save(tmp_path / "x.nii.gz", _volume(*shape))
    with pytest.raises(UserError, match=f"x.nii.gz has {len(shape)} axes, shape \\({', '.join(map(str, shape))}\\)"):
        nifti.read_image(path)


def test_modalities_become_the_first_axis(tmp_path):
    array = _volume(4, 5, 6, 2)
    path = save(tmp_path / "x.nii.gz", array, np.diag([-1.0, 1, 1, 1]))
    assert np.array_equal(nifti.read_image(path, 2).array, np.moveaxis(array[::-1], 3, 0))
    with pytest.raises(UserError, match=r"shape \(4, 5, 6, 2\); 3 modalities are expected"):
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
    scan = nifti.read_labels(save(tmp_path / "y.nii.gz", labels.astype(dtype)), VALUES, CLASSES)
    assert scan.array.dtype == np.uint8
    assert np.array_equal(scan.array, labels)


@pytest.mark.parametrize(("value", "kind"), [(3, "undeclared"), (-1, "undeclared"), (1.5, "fractional")])
def test_label_values_outside_the_declared_set_are_refused(tmp_path, value, kind):
    labels = np.zeros((4, 5, 6), np.float32)
    labels[1, 1, 1] = value
    with pytest.raises(
        UserError, match=rf"{kind} label value {value} in .*y\.nii.*\{{0: 'background', 1: 'a', 2: 'b'\}}"
    ):
        nifti.read_labels(save(tmp_path / "y.nii", labels), VALUES, CLASSES)


def test_labels_that_are_not_a_number_are_refused(tmp_path):
    with pytest.raises(UserError, match="fractional label value nan"):
        nifti.read_labels(save(tmp_path / "y.nii", np.full((4, 5, 6), np.nan, np.float32)), VALUES, CLASSES)


def test_what_to_do_about_refused_values_follows_from_the_values(tmp_path):
    labels = np.zeros((8, 8, 8), np.float32)
    labels[1, 1, 1] = 255
    with pytest.raises(
        UserError, match=r"undeclared label value 255 .*; mend the mask, or declare the value \(classes in"
    ):
        nifti.read_labels(save(tmp_path / "y.nii", labels), VALUES, CLASSES)
    labels[1, 1, 1] = np.inf
    with pytest.raises(UserError, match="write 0 where nothing is labelled"):
        nifti.read_labels(save(tmp_path / "y.nii", labels), VALUES, CLASSES)
    scaled = save(tmp_path / "y.nii", np.eye(8, dtype=np.uint8)[:, :, None] * np.ones((1, 1, 8), np.uint8))
    with scaled.open("r+b") as file:
        file.seek(112)  # scl_slope and scl_inter
        file.write(np.float32([0.996, 0]).tobytes())
    with pytest.raises(
        UserError, match=r"value 0.996 .*; scl_slope 0.996 makes them of whole numbers: write the mask as"
    ):
        nifti.read_labels(scaled, VALUES, CLASSES)
    image = save(tmp_path / "y.nii", np.arange(512, dtype=np.int16).reshape(labels.shape))
    with pytest.raises(UserError, match=r"and 499 more .*; so many are those of an image, is this the mask"):
        nifti.read_labels(image, VALUES, CLASSES)
    remarks = nifti.read_labels(image, VALUES, CLASSES, others_are_background=True).grid.remarks
    assert remarks == (("warning", "holds 509 values that no class has, as an image does; is this the mask?"),)


def test_all_values_of_a_byte_can_be_classes(tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(8, 8, 4)
    names = tuple(map(str, range(256)))
    scan = nifti.read_labels(save(tmp_path / "y.nii", stored), {value: value for value in range(256)}, names)
    assert np.array_equal(scan.array, stored)


def test_slope_and_intercept_are_applied(tmp_path):
    path = save(tmp_path / "x.nii", np.full((4, 5, 6), 7, np.int16))
    with path.open("r+b") as file:
        file.seek(112)  # scl_slope and scl_inter of NIfTI-1, float32 each
        file.write(np.float32([0.5, 10]).tobytes())
    assert (nifti.read_image(path).array == 13.5).all()


def test_pairs_on_different_grids_are_refused_naming_both(tmp_path):
    image = nifti.read_image(save(tmp_path / "i.nii", _volume(4, 5, 6)))
    small = nifti.read_labels(save(tmp_path / "s.nii", np.zeros((4, 5, 5), np.uint8)), VALUES, CLASSES)
    with pytest.raises(UserError, match=r"i\.nii and .*s\.nii .* differ in shape: \(4, 5, 6\) \(RAS\) and \(4, 5, 5\)"):
        nifti.check_pair(image, small)
    for affine in (np.diag([1, 1, 1.03, 1.0]), np.array([*np.eye(4)[:3] + [[0, 0, 0, 2]] * 3, [0, 0, 0, 1]])):
        moved = nifti.read_labels(save(tmp_path / "m.nii", np.zeros((4, 5, 6), np.uint8), affine), VALUES, CLASSES)
        with pytest.raises(UserError, match=r"i\.nii and .*m\.nii .* lie on different grids"):
            nifti.check_pair(image, moved)
    close = nifti.read_labels(
        save(tmp_path / "c.nii", np.zeros((4, 5, 6), np.uint8), np.diag([1, 1, 1.015, 1])), VALUES, CLASSES
    )
    nifti.check_pair(image, close)


def test_same_affine_under_other_codes_is_a_pair(tmp_path):
    array = _volume(4, 5, 6)
    image = nib.Nifti1Image(array, None)
    image.set_qform(PSR, 1)
    image.set_sform(None, 0)
    image.to_filename(tmp_path / "q.nii")
    qform_only = nifti.read_image(tmp_path / "q.nii")
    sform = nifti.read_labels(save(tmp_path / "s.nii", np.zeros((4, 5, 6), np.uint8), PSR), VALUES, CLASSES)
    nifti.check_pair(qform_only, sform)
    assert qform_only.grid.spacing_mm == pytest.approx((2, 1, 3))


def test_absent_files_and_analyze_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no file .*gone\.nii"):
        nifti.read_image(tmp_path / "gone.nii")
    nib.AnalyzeImage(_volume(4, 5, 6), np.eye(4)).to_filename(tmp_path / "old.hdr")
    with pytest.raises(UserError, match=r"old\.hdr is an Analyze header, .* convert it"):
        nifti.read_image(tmp_path / "old.hdr")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_go_back_to_the_volume_they_came_from(tmp_path, axis):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6), dtype=np.uint8)
    planes = to_planes(labels, axis)
    assert planes.shape == {0: (4, 6, 5), 1: (5, 6, 4), 2: (6, 5, 4)}[axis]
    assert np.array_equal(from_planes(planes, axis), labels)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [("axial", 2), ("coronal", 1), ("sagittal", 0), ("first", 1), ("second", 2), ("third", 0)],
)
def test_slice_axes_are_found_by_anatomy_or_by_place(tmp_path, name, canonical):
    grid = nifti.read_grid(save(tmp_path / "x.nii", _volume(6, 7, 8), PSR))
    assert (grid.axes, grid.canonical_axis(name)) == ("PSR", canonical)
    assert grid.canonical_shape == (8, 6, 7)


def test_stored_values_are_renumbered_as_declared(tmp_path):
    for dtype in (np.uint8, np.int16, np.float32):
        path = save(tmp_path / "y.nii", np.arange(8).reshape(2, 2, 2).astype(dtype) // 2 * 2)
        scan = nifti.read_labels(path, {0: 0, 2: 3, 4: 1, 6: 2}, ("none", "a", "b", "c"))
        assert scan.array.ravel().tolist() == [0, 0, 3, 3, 1, 1, 2, 2]


def test_values_that_no_class_names_can_be_declared_background(tmp_path):
    for dtype in (np.uint8, np.int64, np.float32):
        path = save(tmp_path / "y.nii", np.arange(8).reshape(2, 2, 2).astype(dtype))
        scan = nifti.read_labels(path, {0: 0, 2: 1, 3: 1}, ("none", "kidney"), others_are_background=True)
        assert scan.array.ravel().tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    save(path, np.full((2, 2, 2), 1.5, np.float32))
    with pytest.raises(UserError, match=r"fractional label value 1\.5"):
        nifti.read_labels(path, {0: 0}, ("none",), others_are_background=True)


def test_a_file_without_orientation_is_refused(tmp_path):
    image = nib.Nifti1Image(_volume(4, 5, 6), None)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    image.to_filename(tmp_path / "lost.nii")
    with pytest.raises(UserError, match=r"lost\.nii has neither sform nor qform"):
        nifti.read_grid(tmp_path / "lost.nii")


def test_header_zoo(real):
    zoo = real("header_zoo")
    image = nifti.read_image(zoo / "t2.nii.gz")
    assert image.array.shape[1:] == (52, 60, 55)
    cord = nifti.read_labels(zoo / "t2_seg-manual.nii.gz", {0: 0, 1: 1}, ("background", "cord"))
    nifti.check_pair(image, cord)
    assert np.count_nonzero(cord.array) == 4275
    points = nifti.read_labels(zoo / "t2_labels.nii.gz", {i: i for i in range(6)}, tuple("abcdef"))  # scl_slope 0
    assert sorted(points.array[points.array > 0].tolist()) == [3, 5]
    with pytest.raises(UserError, match="undeclared label value 5"):
        nifti.read_labels(zoo / "t2_labels.nii.gz", {i: i for i in range(5)}, tuple("abcde"))
    scaled = nifti.read_image(zoo / "mt_t1w.nii.gz").array
    assert (scaled.min(), scaled.max()) == pytest.approx((2.67, 580.67), abs=0.01)
    assert np.count_nonzero(nifti.read_labels(zoo / "t2s_seg-deepseg.nii.gz", VALUES, CLASSES).array) == 2443  # int64
    with pytest.raises(UserError, match=r"dmri.nii.gz has 4 axes, shape \(40, 42, 5, 7\)"):
        nifti.read_image(zoo / "dmri.nii.gz")
    with pytest.raises(UserError, match=r"5 axes, shape \(40, 40, 5, 1, 3\)"):
        nifti.read_image(zoo / "warp_t22mt1.nii.gz")
    with pytest.raises(UserError, match="633 of 8000 voxels"):
        nifti.read_image(zoo / "mtr.nii.gz")


def test_kits_labels_lie_body_axis_last_whatever_the_header(real):
    kits = real("kits19")
    names = ("background", "kidney", "tumour")
    sform = nifti.read_labels(kits / "case_00061" / "segmentation.nii.gz", VALUES, names)
    qform = nifti.read_labels(kits / "case_00015" / "segmentation.nii.gz", VALUES, names)
    assert (sform.array.shape, qform.array.shape) == ((512, 512, 29), (512, 512, 75))
    assert sform.grid.spacing_mm == pytest.approx((0.9766, 0.9766, 5), abs=1e-3)
    planes = to_planes(sform.array, 2)
    assert [int((planes == value).any((1, 2)).sum()) for value in (1, 2)][1] == 13
    assert int((planes > 0).any((1, 2)).sum()) == 26


def test_the_usual_reasons_of_two_grids_are_named(tmp_path):
    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    affine[:3, 3] = 90, 126, -72
    image = nifti.read_image(save(tmp_path / "image.nii", np.ones((4, 5, 6), np.float32), affine))

    def mask(name, shape, grid):
        return nifti.read_labels(save(tmp_path / name, np.ones(shape, np.uint8), grid), {1: 1}, ("background", "x"))

    with pytest.raises(UserError, match=r"\(.*eye.nii has the identity as affine, .*\); copy"):
        nifti.check_pair(image, mask("eye.nii", (4, 5, 6), np.eye(4)))
    with pytest.raises(UserError, match=r"differ in shape: .*; one slice more or less comes of cropping or resampling"):
        nifti.check_pair(image, mask("short.nii", (4, 5, 5), affine))
    with pytest.raises(UserError, match=r"differ in shape: .*; make the mask on the grid of the image"):
        nifti.check_pair(image, mask("half.nii", (2, 5, 6), affine))


def test_ignored_voxels_are_marked_and_other_values_refused(tmp_path):
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 1, 1], labels[2, 2, 2] = 9, 1
    path = save(tmp_path / "y.nii", labels)
    found = nifti.read_labels(path, VALUES, CLASSES, ignored=9).array
    assert (found[1, 1, 1], found[2, 2, 2], np.count_nonzero(found)) == (IGNORED, VALUES[1], 2)
    with pytest.raises(UserError, match=r"undeclared label value 9 .*; declared are .*7: 'ignored'"):
        nifti.read_labels(path, VALUES, CLASSES, ignored=7)


@pytest.mark.parametrize(("values", "dtype"), [((0, 4), np.uint8), ((0, -1), np.int16), ((0, 300), np.uint16)])
def test_predictions_have_the_stored_values_whatever_they_are(values, dtype):
    data = SimpleNamespace(classes=CLASSES[:2], values={value: index for index, value in enumerate(values)})
    stored = nifti.stored_labels(np.array([[0, 1]], np.uint8), data)
    assert (stored.tolist(), stored.dtype) == ([list(values)], dtype)


def test_a_fourth_axis_is_refused_with_the_way_to_choose_a_channel(tmp_path):
    with pytest.raises(UserError, match=r"has 4 axes, .*; expected a 3D volume; medsweep.yaml can choose a channel"):
        nifti.read_labels(save(tmp_path / "y.nii", np.zeros((4, 5, 6, 3), np.uint8)), VALUES, CLASSES)
