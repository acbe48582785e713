"""Dice and HD95 against closed forms, against MONAI, and the rule for empty structures."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from scipy import ndimage

from trainers.segmentation.metrics import diagonal_mm, hd95_mm, score

SPACING = (3.0, 1.0, 0.5)
EMPTY = np.zeros((8, 10, 12), bool)


def box(z=slice(2, 5), y=slice(2, 6), x=slice(2, 7)):
    structure = EMPTY.copy()
    structure[z, y, x] = True
    return structure


def sphere(radius: float):
    centred = np.indices((41, 41, 41)) - 20
    return np.square(centred).sum(axis=0) <= radius**2


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        (EMPTY, EMPTY, ("empty-both", math.nan, math.nan, 0, 0, 0)),
        (EMPTY, box(), ("empty-reference", math.nan, math.nan, 0, 60, 0)),
        (box(), EMPTY, ("missed", 0.0, math.inf, 60, 0, 0)),
        (box(), box(), ("ok", 1.0, 0.0, 60, 60, 60)),
        (box(), box(y=slice(6, 10)), ("ok", 0.0, 4.0, 60, 60, 0)),
        (box(), box(y=slice(3, 7)), ("ok", 0.75, 1.0, 60, 60, 45)),
    ],
)
def test_status_values_and_counts(reference, prediction, expected):
    found = score(reference, prediction, (1.0, 1.0, 1.0))
    status, dice, distance, n_ref, n_pred, tp = expected
    assert (found.status, found.n_ref, found.n_pred, found.tp) == (status, n_ref, n_pred, tp)
    assert (found.dice, found.hd95_mm) == (pytest.approx(dice, nan_ok=True), pytest.approx(distance, nan_ok=True))


@pytest.mark.parametrize(
    ("moved", "expected"), [({"z": slice(3, 6)}, 3.0), ({"y": slice(3, 7)}, 1.0), ({"x": slice(3, 8)}, 0.5)]
)
def test_spacing_counts_along_its_own_axis(moved, expected):
    """The faces across the shift are a step away; those along it overlap, and fewer than 95 % do."""
    assert hd95_mm(box(), box(**moved), SPACING) == pytest.approx(expected)


def test_concentric_spheres_are_the_difference_of_radii_apart():
    assert hd95_mm(sphere(8), sphere(15), (1.0, 1.0, 1.0)) == pytest.approx(7, abs=0.6)
    assert hd95_mm(sphere(8), sphere(15), (2.0, 2.0, 2.0)) == pytest.approx(14, abs=1.2)


def test_the_larger_direction_counts():
    """A far-off speck of the prediction: all of the reference is near, a tenth of the prediction is not."""
    reference = box(x=slice(2, 4))
    prediction = reference.copy()
    prediction[2:5, 2:4, 11] = True
    forward, backward = hd95_mm(reference, prediction, SPACING), hd95_mm(prediction, reference, SPACING)
    assert forward == backward == pytest.approx(4.0)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_monai_on_random_blobs(seed):
    rng = np.random.default_rng(seed)
    a, b = (ndimage.gaussian_filter(rng.standard_normal((12, 20, 16)), 2) > 0.05 for _ in range(2))
    as_batch = [torch.from_numpy(structure[None, None].astype(np.float32)) for structure in (b, a)]
    theirs = compute_hausdorff_distance(
        *as_batch, include_background=True, percentile=95, spacing=list(SPACING), directed=False
    )
    found = score(a, b, SPACING)
    assert found.hd95_mm == pytest.approx(float(theirs), rel=1e-5)
    assert found.dice == pytest.approx(float(compute_dice(*as_batch)), rel=1e-6)


def test_empty_structures_have_no_distance():
    with pytest.raises(ValueError, match="not empty"):
        hd95_mm(box(), EMPTY, SPACING)


def test_diagonal():
    assert diagonal_mm((1, 3, 8), (12.0, 1.0, 0.5)) == 13.0
