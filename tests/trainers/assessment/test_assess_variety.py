"""How many patients a pool is as varied as, and the floors that measures of pools are read beside."""

import numpy as np
import pytest

from medsweep.trainers.assessment.floors import halves_apart, neighbours_between
from medsweep.trainers.assessment.variety import DRAWS, as_varied, curve

EACH = 12


def cohort(patients=20, seed=0):
    """Features of patients that lie apart, twelve slices each, (N, D), and whose they are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 3, (patients, 6))
    features = np.repeat(centres, EACH, axis=0) + rng.normal(0, 0.4, (patients * EACH, 6))
    return features, np.repeat([f"p{i:02}" for i in range(patients)], EACH).astype(object)


@pytest.fixture(scope="module")
def real():
    features, owners = cohort()
    return features, owners, curve(features, owners, np.random.default_rng(1))


def test_the_curve_rises_from_one_patient_to_all(real):
    points = real[2]
    assert points[:, 0].tolist() == [1, 2, 3, 5, 8, 13, 20]
    assert points.shape[1] == 1 + DRAWS
    assert (np.diff(points[:, 1:].mean(axis=1)) > 0).all()


@pytest.mark.parametrize("k", [2, 5, 13])
def test_a_pool_of_k_patients_is_as_varied_as_k_patients(real, k):
    features, owners, points = real
    few = features[np.isin(owners, np.unique(owners.astype(str))[:k])]
    told = as_varied(points, features, np.tile(few, (4, 1))[: 40 * k])
    assert told.low <= told.patients <= told.high
    assert told.patients == pytest.approx(k, rel=0.3)


def test_one_slice_again_and_again_is_less_than_a_patient(real):
    features, _, points = real
    assert as_varied(points, features, np.repeat(features[:1], 50, axis=0)).patients < 0.5


def test_no_pool_is_as_varied_as_more_than_all_patients(real):
    features, _, points = real
    assert as_varied(points, features, np.random.default_rng(2).normal(0, 9, (400, 6))).patients == pytest.approx(20)


@pytest.mark.parametrize(
    ("features", "owners"),
    [
        (np.ones((30, 3)), np.repeat(["a", "b"], 15)),
        (np.eye(8), np.repeat(["a"], 8)),
        (np.eye(4), np.array(list("abcd"))),
    ],
)
def test_there_is_no_curve_without_patients_or_width(features, owners):
    points = curve(features, owners.astype(object), np.random.default_rng(0))
    assert points.shape == (0, 1 + DRAWS)
    assert as_varied(points, features, features) is None


def test_texture_floors_are_zero_for_equal_patients_and_grow_with_their_differences():
    rng = np.random.default_rng(3)
    patient = rng.normal(size=(4, 1, 32, 32)).astype(np.float32)
    same = halves_apart([patient] * 6, np.random.default_rng(0), 8)
    assert all(value == pytest.approx(0, abs=1e-9) for value in same.values())
    apart = halves_apart([patient * scale for scale in (1, 1, 1, 2, 2, 2)], np.random.default_rng(0), 8)
    assert min(apart["radial_psd_log_error"], apart["laplacian_ratio"]) > 0.1
    assert halves_apart([patient], np.random.default_rng(0), 8) == {}


def test_floors_of_recall_and_coverage_are_those_of_one_law():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(400, 4))
    halves = [(order[:200], order[200:]) for order in (rng.permutation(400) for _ in range(4))]
    floor = neighbours_between(features, halves)
    assert min(floor[name] for name in ("precision", "recall", "coverage")) > 0.8
    assert floor["density"] == pytest.approx(1, abs=0.15)
    assert neighbours_between(features, [(np.arange(3), np.arange(3, 6))]) == {}
