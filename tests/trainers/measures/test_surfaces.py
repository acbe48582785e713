"""Surface distances against closed forms, against MONAI, and the symmetries they must have."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from medsweep.trainers.measures.structures import (
    TOLERANCE_MM,
    assd_mm,
    boundary_bias_mm,
    bounding_box,
    hd95_mm,
    surface,
    surface_dice,
    surface_distances,
)

SPACING = (3.0, 1.0, 0.5)
CUBES = (1.0, 1.0, 1.0)
EMPTY = np.zeros((8, 10, 12), bool)
SYMMETRIC = (hd95_mm, assd_mm, surface_dice)
LENGTHS = (hd95_mm, assd_mm, boundary_bias_mm)


def box(z=slice(2, 5), y=slice(2, 6), x=slice(2, 7)):
    structure = EMPTY.copy()
    structure[z, y, x] = True
    return structure


def sphere(radius_mm: float, spacing_mm=CUBES):
    """A ball in the middle of 40 mm of voxels of any spacing."""
    sides = [np.arange(-20, 20.001, step) for step in spacing_mm]
    return sum(np.square(side) for side in np.meshgrid(*sides, indexing="ij")) <= radius_mm**2


def blobs(seed: int):
    rng = np.random.default_rng(seed)
    return [ndimage.gaussian_filter(rng.standard_normal((12, 20, 16)), 2) > 0.05 for _ in range(2)]


@pytest.mark.parametrize(
    ("moved", "expected"), [({"z": slice(3, 6)}, 3.0), ({"y": slice(3, 7)}, 1.0), ({"x": slice(3, 8)}, 0.5)]
)
def test_spacing_counts_along_its_own_axis(moved, expected):
    """The faces across the shift are a step away; those along it overlap, and fewer than 95 % do."""
    assert hd95_mm(surface_distances(box(), box(**moved), SPACING)) == pytest.approx(expected)


def test_two_plates_know_all_four_answers():
    """One voxel thin, 1 and then 4 slices of 3 mm apart: every voxel of a surface has the same distance."""
    near, far = (surface_distances(box(z=1), box(z=z), SPACING) for z in (2, 5))
    assert (hd95_mm(near), assd_mm(near), boundary_bias_mm(near)) == (3.0, 3.0, 3.0)
    assert (hd95_mm(far), assd_mm(far), boundary_bias_mm(far)) == (12.0, 12.0, 12.0)
    assert (surface_dice(near, 2.9), surface_dice(near, 3.0), surface_dice(far, 11.9)) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(("spacing", "voxel"), [(CUBES, 1.0), ((2.0, 1.0, 0.8), 2.0)])
@pytest.mark.parametrize("radius", [6.0, 9.0, 11.0, 15.0])
def test_concentric_spheres_are_the_difference_of_radii_apart(radius, spacing, voxel):
    found = surface_distances(sphere(10.0, spacing), sphere(radius, spacing), spacing)
    assert boundary_bias_mm(found) == pytest.approx(radius - 10.0, abs=0.3 * voxel)
    assert assd_mm(found) == pytest.approx(abs(radius - 10.0), abs=0.3 * voxel)
    assert hd95_mm(found) == pytest.approx(abs(radius - 10.0), abs=voxel)
    assert surface_dice(found, abs(radius - 10.0) + voxel) > 0.99
    assert surface_dice(found, abs(radius - 10.0) - voxel) < 0.01


@pytest.mark.parametrize("spacing", [SPACING, CUBES])
def test_identical_surfaces_agree_exactly(spacing):
    found = surface_distances(box(), box(), spacing)
    assert [measure(found) for measure in LENGTHS] == [0.0, 0.0, 0.0]
    assert surface_dice(found, 0.0) == 1.0


def test_a_shift_is_no_bias_but_growth_by_one_voxel_is():
    shifted = surface_distances(sphere(10.0), np.roll(sphere(10.0), 1, axis=0), CUBES)
    grown = surface_distances(box(), ndimage.binary_dilation(box()), CUBES)
    shrunk = surface_distances(ndimage.binary_dilation(box()), box(), CUBES)
    assert boundary_bias_mm(shifted) == pytest.approx(0, abs=0.1)
    assert assd_mm(shifted) > 0.5
    assert (boundary_bias_mm(grown), boundary_bias_mm(shrunk)) == (1.0, -1.0)


def test_the_larger_direction_counts():
    """A far-off speck of the prediction: all of the reference is near, a tenth of the prediction is not."""
    reference = box(x=slice(2, 4))
    prediction = reference.copy()
    prediction[2:5, 2:4, 11] = True
    found = surface_distances(reference, prediction, SPACING)
    assert np.percentile(found.of_reference_mm, 95) == 0
    assert hd95_mm(found) == pytest.approx(4.0)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_monai_on_random_blobs(seed):
    a, b = blobs(seed)
    batch = [torch.from_numpy(structure[None, None].astype(np.float32)) for structure in (b, a)]
    shared = {"include_background": True, "spacing": list(SPACING)}
    found = surface_distances(a, b, SPACING)
    assert hd95_mm(found) == pytest.approx(float(compute_hausdorff_distance(*batch, percentile=95, **shared)), rel=1e-5)
    theirs = compute_average_surface_distance(*batch, symmetric=True, **shared)
    assert assd_mm(found) == pytest.approx(float(theirs), rel=1e-5)
    for tolerance in (0.75, TOLERANCE_MM):
        theirs = compute_surface_dice(*batch, class_thresholds=[tolerance], **shared)
        assert surface_dice(found, tolerance) == pytest.approx(float(theirs), rel=1e-5)
        assert 0 < surface_dice(found, tolerance) < 1


@pytest.mark.parametrize(("radius", "shift"), [(10.0, 3), (8.0, 3), (13.0, 3), (9.0, 0), (13.0, 0)])
def test_a_mesh_sees_surfaces_a_little_nearer(radius, shift):
    """MONAI's areas of a mesh are another definition: equal where the answer is plain, else higher by up to 0.15."""
    reference, prediction = sphere(10.0), np.roll(sphere(radius), shift, axis=1)
    batch = [torch.from_numpy(structure[None, None].astype(np.float32)) for structure in (prediction, reference)]
    shared = {"include_background": True, "use_subvoxels": True, "spacing": list(CUBES)}
    theirs = float(compute_surface_dice(*batch, class_thresholds=[1.5], **shared))
    ours = surface_dice(surface_distances(reference, prediction, CUBES), 1.5)
    assert ours == pytest.approx(theirs) if shift == 0 else theirs - 0.15 < ours < theirs


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("measure", SYMMETRIC)
def test_neither_order_nor_axes_nor_padding_matter(measure, seed):
    a, b = blobs(seed)
    a[:, 0], a[:, -1], b[:, 0], b[:, -1] = False, False, False, False
    expected = measure(surface_distances(a, b, SPACING))
    assert measure(surface_distances(b, a, SPACING)) == pytest.approx(expected)
    turned = surface_distances(a.transpose(2, 0, 1), b.transpose(2, 0, 1), (0.5, 3.0, 1.0))
    assert measure(turned) == pytest.approx(expected)
    padded = surface_distances(np.pad(a, 3), np.pad(b, 3), SPACING)
    assert measure(padded) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_lengths_scale_with_the_spacing_and_surface_dice_with_its_tolerance(seed):
    a, b = blobs(seed)
    small, large = (surface_distances(a, b, tuple(scale * step for step in SPACING)) for scale in (1.0, 2.5))
    for measure in LENGTHS:
        assert measure(large) == pytest.approx(2.5 * measure(small))
    assert surface_dice(large, 2.5) == surface_dice(small, 1.0) != surface_dice(large, 1.0)


def test_the_tolerance_bears_the_rounding_of_float32_headers():
    step = float(np.float32(0.4))
    assert 5 * step > TOLERANCE_MM
    assert surface_dice(surface_distances(box(x=2), box(x=7), (5.0, 5.0, step))) == 1.0


@pytest.mark.parametrize("pair", [(box(), EMPTY), (EMPTY, box()), (EMPTY, EMPTY)])
def test_empty_structures_have_no_distance(pair):
    with pytest.raises(ValueError, match="not empty"):
        surface_distances(*pair, SPACING)


@pytest.mark.parametrize("pairs", [0, 10**9])
def test_distances_are_those_of_a_distance_transform_however_neighbours_are_sought(pairs, monkeypatch):
    monkeypatch.setattr("medsweep.trainers.measures.structures.ALL_PAIRS", pairs)
    for seed in range(5):
        edges = [structure & ~ndimage.binary_erosion(structure) for structure in blobs(seed)]
        found = surface_distances(*blobs(seed), SPACING)
        to_a, to_b = (ndimage.distance_transform_edt(~edge, sampling=SPACING) for edge in edges)
        np.testing.assert_allclose(found.of_reference_mm, to_b[edges[0]], rtol=1e-12)
        np.testing.assert_allclose(found.of_prediction_mm, to_a[edges[1]], rtol=1e-12)
        both = np.concatenate([np.percentile(x, 95, keepdims=True) for x in (to_b[edges[0]], to_a[edges[1]])])
        assert hd95_mm(found) == pytest.approx(both.max(), rel=1e-12)


@pytest.mark.parametrize("shape", [(12, 20, 16), (9, 7), (1, 5, 5), (1, 1)])
def test_a_surface_is_what_an_erosion_takes_away_and_its_box_is_tight(shape):
    for seed in range(5):
        region = np.random.default_rng(seed).random(shape) < 0.6
        assert np.array_equal(surface(region), region & ~ndimage.binary_erosion(region))
        if region.any():
            assert bounding_box(region) == ndimage.find_objects(region.view(np.uint8))[0]
