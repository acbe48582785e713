"""The look law: which pools look stranger than real patients do by chance, and what is planted of those that do not."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medsweep.trainers.assessment.look_law import Labelled, look_law
from medsweep.trainers.measures.look_map import LookMap

PATIENTS, EACH, SIDE = 10, 8, 24
LABELS = np.zeros((SIDE, SIDE), np.uint8)
LABELS[6:18, 6:18] = 1


def slices(patients: range, seed: int) -> Labelled:
    """A square that is two units brighter, in noise; each patient has a brightness of the square of their own."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.array(patients), EACH)
    bright = np.random.default_rng(0).normal(2, 0.1, PATIENTS)[groups]
    images = rng.normal(0, 0.3, (len(groups), 1, SIDE, SIDE)) + bright[:, None, None, None] * LABELS
    return Labelled(images.astype(np.float32), np.repeat(LABELS[None], len(groups), axis=0), groups)


REAL = slices(range(PATIENTS), seed=1)


def changed(images: np.ndarray) -> Labelled:
    return Labelled(images.astype(np.float32), REAL.labels, REAL.groups)


def law_of(pool: Labelled, patients: int = 5):
    return look_law(pool, REAL, 2, patients, draws=100, rng=np.random.default_rng(0))


def test_other_slices_of_the_same_patients_look_no_stranger_than_patients_do():
    law = law_of(slices(range(PATIENTS), seed=2))
    assert not law.shown
    assert law.found.quantiles < 0.05


def test_few_patients_are_held_against_as_few():
    pool = slices(range(2), seed=2)
    assert law_of(pool, patients=2).floor.quantiles > law_of(pool, patients=5).floor.quantiles
    assert not law_of(pool, patients=2).shown


def test_other_intensities_in_a_class_are_shown_where_spectrum_and_local_spread_are_the_same():
    law = law_of(changed(REAL.images + 0.6 * (REAL.labels[:, None] == 0)))
    inside = 0.5 * 0.6 / REAL.images.std()
    assert law.found.quantiles == pytest.approx(inside, rel=0.1)
    assert law.found.quantiles > law.floor.quantiles
    assert law.shown


def test_blurred_images_are_shown_by_their_texture():
    law = law_of(changed(gaussian_filter(REAL.images, (0, 0, 1, 1))))
    assert law.found.look > 1 > law.floor.look
    assert law.shown


def test_one_patient_tells_no_floor_and_any_look_counts():
    one = slices(range(1), seed=1)
    law = look_law(one, one, 2, 1, draws=20, rng=np.random.default_rng(0))
    assert law.floor is None
    assert law.shown


def test_the_map_that_changes_nothing_is_kept_and_changes_nothing(tmp_path: Path):
    LookMap.unchanged(channels=1, classes=2).save(tmp_path / "map")
    kept = LookMap.open(tmp_path / "map")
    np.testing.assert_array_equal(kept(REAL.images, REAL.labels), REAL.images)
