"""The rule for empty structures, Dice against MONAI, counts and volumes."""

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice
from scipy import ndimage

from medsweep.trainers.measures.structures import Counts, diagonal_mm, dice, score, volume_ml

EMPTY = np.zeros((8, 10, 12), bool)
UNDEFINED = (math.nan,) * 5


def box(z=slice(2, 5), y=slice(2, 6), x=slice(2, 7)):
    structure = EMPTY.copy()
    structure[z, y, x] = True
    return structure


@pytest.mark.parametrize(
    ("reference", "prediction", "status", "counts", "values"),
    [
        (EMPTY, EMPTY, "empty-both", (0, 0, 0), UNDEFINED),
        (EMPTY, box(), "empty-reference", (0, 60, 0), UNDEFINED),
        (box(), EMPTY, "missed", (60, 0, 0), (0.0, math.inf, math.inf, 0.0, math.nan)),
        (box(), box(), "ok", (60, 60, 60), (1.0, 0.0, 0.0, 1.0, 0.0)),
        (box(z=1, x=2), box(z=4, x=2), "missed", (4, 4, 0), (0.0, 3.0, 3.0, 0.0, 3.0)),
        (box(z=1, x=2), box(z=3, x=2), "missed", (4, 4, 0), (0.0, 2.0, 2.0, 1.0, 2.0)),
        (box(z=1, y=slice(2, 6)), box(z=1, y=slice(2, 7)), "ok", (20, 25, 20), (40 / 45, 1.0, 5 / 45, 1.0, 0.2)),
    ],
)
def test_status_values_and_counts(reference, prediction, status, counts, values):
    """Values are Dice, HD95, ASSD, surface Dice and boundary bias, on cubes of 1 mm."""
    found = score(reference, prediction, (1.0, 1.0, 1.0))
    assert found.status == status
    assert astuple(found.counts) == counts
    assert (*found.values.values(), found.boundary_bias_mm) == pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_monai_on_random_blobs(seed):
    rng = np.random.default_rng(seed)
    a, b = (ndimage.gaussian_filter(rng.standard_normal((12, 20, 16)), 2) > 0.05 for _ in range(2))
    as_batch = [torch.from_numpy(structure[None, None].astype(np.float32)) for structure in (b, a)]
    found = score(a, b, (3.0, 1.0, 0.5))
    assert found.values["dice"] == pytest.approx(float(compute_dice(*as_batch)), rel=1e-6)
    counts = found.counts
    assert (counts.fp, counts.fn) == ((b & ~a).sum(), (a & ~b).sum())
    assert dice(counts) == pytest.approx(2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn))


def test_dice_of_nothing_is_undefined():
    with pytest.raises(ZeroDivisionError):
        dice(Counts(0, 0, 0))


def test_volume():
    assert volume_ml(2000, (5.0, 0.5, 0.4)) == pytest.approx(2.0)


def test_diagonal():
    assert diagonal_mm((1, 3, 8), (12.0, 1.0, 0.5)) == 13.0
