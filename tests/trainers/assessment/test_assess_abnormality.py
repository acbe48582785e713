"""How unlike the masks of other people a mask is: copies, strangers, growing perturbations, and whose masks count."""

import numpy as np
import pytest

from medsweep.trainers.assessment.abnormality import NOBODY, abnormality, log_densities
from medsweep.trainers.synthesis.real_masks import deformed

Y, X = np.mgrid[:40, :40] + 0.5


def ellipses(rng, count):
    """Ellipses of class 1 with a core of class 2, of random place and half axes."""
    masks = []
    for _ in range(count):
        row, column, high, wide = *rng.uniform(16, 24, 2), *rng.uniform(7, 12, 2)
        distance = np.hypot((Y - row) / high, (X - column) / wide)
        masks.append(np.where(distance < 0.5, 2, distance < 1))
    return np.array(masks).astype(np.uint8)


@pytest.fixture(scope="module")
def real():
    """60 masks of six patients."""
    return ellipses(np.random.default_rng(0), 60), np.repeat([f"p{number}" for number in range(6)], 10).astype(object)


def test_a_copy_is_as_near_as_can_be_unless_it_is_of_the_same_person(real):
    masks, owners = real
    copies = abnormality(masks, [NOBODY] * 60, masks, owners, 3)
    own = abnormality(masks, owners, masks, owners, 3)
    assert (copies["nearest_px"] == 0).all()
    assert (own["nearest_px"] > 0).all()
    assert own["nearest_px"].mean() < 3
    np.testing.assert_array_equal(copies["area_px"], (masks > 0).sum(axis=(1, 2)))
    np.testing.assert_array_equal(copies["class_2/area_px"], (masks == 2).sum(axis=(1, 2)))


def test_z_scores_of_the_real_masks_themselves_have_mean_0_and_sd_1(real):
    masks, owners = real
    found = abnormality(masks, owners, masks, owners, 3)
    z = found[[f"class_1/z_{name}" for name in ("area", "perimeter", "compactness", "centroid_row")]]
    np.testing.assert_allclose(z.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(ddof=1), 1, rtol=1e-9)
    # every mask is one piece, so nothing is known of how unusual another number would be
    assert found["class_1/z_components"].isna().all()


def test_masks_grow_abnormal_with_the_size_of_a_perturbation(real):
    masks, owners = real
    nearest, density = [], []
    for size in (0.0, 1.0, 3.0):
        changed = np.stack([deformed(mask, size, 2.0, np.random.default_rng(i)) for i, mask in enumerate(masks)])
        found = abnormality(changed, owners, masks, owners, 3)
        nearest.append(found["nearest_px"].mean())
        density.append(found["log_density"].mean())
    assert nearest[0] < nearest[1] < nearest[2]
    assert density[0] > density[1] > density[2]


def test_density_is_that_of_the_gaussian_and_the_lowest_over_classes(real):
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((4000, 2))
    at = np.array([[0.0, 0.0], [3.0, 0.0], [np.nan, 0.0]])
    expected = -np.log(2 * np.pi) - np.array([0, 4.5, np.nan])
    np.testing.assert_allclose(log_densities(at, rows), expected, atol=0.35)
    assert np.isnan(log_densities(at, rows[:9])).all()
    masks, owners = real
    odd = masks[:1].copy()
    odd[odd == 2] = 1
    odd[0, 2, 2:30] = 2
    found = abnormality(np.concatenate([masks[:1], odd]), [NOBODY] * 2, masks, owners, 3)
    assert found["log_density"][1] < found["log_density"][0] - 10


def test_what_cannot_be_told_is_nan(real):
    masks, owners = real
    one_class = np.minimum(masks[:1], 1)
    empty = np.zeros_like(one_class)
    found = abnormality(np.concatenate([one_class, empty]), ["p0", "p0"], masks[:10], owners[:10], 3)
    # nobody else has a mask
    assert found["nearest_px"].isna().all()
    assert found["class_2/z_area"].isna().all()
    assert np.isfinite(found["log_density"][0])
    assert np.isnan(found["log_density"][1])
    assert found["area_px"][1] == 0
