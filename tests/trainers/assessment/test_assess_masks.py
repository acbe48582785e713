"""Descriptors of shapes that are known, and distances between sets of masks."""

import numpy as np
import pytest

from medsweep.trainers.assessment.masks import DESCRIPTORS, describe, shape_distances


def discs(radii, row=16.0, label=1, size=32):
    """One disc per radius, in pixels."""
    at = np.arange(size) + 0.5
    inside = [np.square(at[:, None] - row) + np.square(at - 12) <= radius**2 for radius in radii]
    return label * np.array(inside).astype(np.uint8)


def test_a_rectangle_and_two_pieces_are_measured():
    masks = np.zeros((3, 20, 20), np.uint8)
    masks[0, 0:4, 5:15] = 1
    masks[1, 2:6, 2:6] = 2
    masks[1, 12:16, 12:16] = 2
    rows = describe(masks, 3)
    first = rows[rows["class"] == 1].iloc[0]
    assert first["area"] == 40 / 400
    assert first["perimeter"] == 28 / 20
    assert first["compactness"] == pytest.approx(4 * np.pi * 40 / 28**2)
    assert first[["components", "centroid_row", "centroid_column"]].tolist() == pytest.approx([1, 0.1, 0.5])
    second = rows[rows["class"] == 2].iloc[1]
    assert second[["components", "centroid_row", "centroid_column"]].tolist() == pytest.approx([2, 0.45, 0.45])
    empty = rows[rows["class"] == 1].iloc[2]
    assert empty["area"] == 0
    assert empty[list(DESCRIPTORS[1:])].isna().all()


def test_masks_are_measured_in_blocks():
    masks = discs(np.linspace(2, 10, 600))
    rows, alone = describe(masks, 2), describe(masks[500:501], 2)
    np.testing.assert_array_equal(rows.iloc[500].to_numpy(float), alone.iloc[0].to_numpy(float))


def test_equal_sets_are_at_zero_and_the_changed_descriptor_moves():
    radii = np.linspace(4, 9, 20)
    real = describe(discs(radii), 2)
    assert set(shape_distances(real, describe(discs(radii)[::-1], 2)).values()) == {0.0}
    moved = [shape_distances(real, describe(discs(radii, row), 2)) for row in (17.0, 19.0, 22.0)]
    assert all(each["mask_ks_centroid_row"] == 1 and each["mask_ks_area"] == 0 for each in moved)
    grown = [shape_distances(real, describe(discs(radii + more), 2))["mask_ks_area"] for more in (0.5, 1.5, 3)]
    assert grown == sorted(grown)
    assert grown[2] > grown[0] > 0


def test_specks_raise_the_components_alone():
    radii = np.linspace(4, 9, 20)
    speckled = discs(radii)
    speckled[:, 30, 30] = 1
    found = shape_distances(describe(discs(radii), 2), describe(speckled, 2))
    assert found["mask_ks_components"] == 1
    assert found["mask_ks_area"] < 0.2


def test_a_class_never_made_counts_for_the_area_alone():
    radii = np.linspace(4, 9, 20)
    both = np.maximum(discs(radii), discs(radii - 3, label=2))
    found = shape_distances(describe(both, 3), describe(np.where(both == 2, 1, both).astype(np.uint8), 3))
    assert found["mask_ks_area"] >= 0.5
    assert found["mask_ks_components"] == 0
    assert set(shape_distances(describe(both, 3), describe(np.zeros_like(both), 3))) == {"mask_ks_area"}
