"""The made-up cohort: repeatable, growing without changing, and readable as real data is."""

import hashlib

import numpy as np
import pytest
from pydantic import ValidationError

from helpers.phantom_folder import hashes
from medsweep.data import nifti
from medsweep.data.layouts import decathlon
from medsweep.data.phantom import PhantomConfig, patient_ids
from medsweep.data.phantom.generic import make_patient, write_phantom

CONFIG = PhantomConfig(patients=8, seed=3)


def test_the_same_config_gives_the_same_bytes(tmp_path):
    config = PhantomConfig(patients=2)
    for name in ("a", "b"):
        write_phantom(config, tmp_path / name)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    write_phantom(PhantomConfig(patients=2, seed=1), tmp_path / "c")
    assert hashes(tmp_path / "a") != hashes(tmp_path / "c")


def test_the_voxels_are_those_of_version_1():
    image, labels = make_patient(PhantomConfig(patients=2, seed=3), 1)
    labelled = np.flatnonzero(labels)
    assert np.bincount(labels.ravel()).tolist() == [33591, 1369, 240]
    assert hashlib.sha256(labelled.astype(np.int64).tobytes()).hexdigest()[:16] == "e3ca40d28b3b62e2"
    assert image.astype(np.float64).sum() == pytest.approx(38287942.84, rel=1e-6)


def test_more_patients_leave_the_first_ones_alone():
    few, many = (make_patient(PhantomConfig(patients=n), 1) for n in (2, 9))
    assert np.array_equal(few[0], many[0])
    assert not np.array_equal(few[0], make_patient(PhantomConfig(patients=9), 2)[0])


def test_what_is_written_is_read_back_as_made(tmp_path):
    write_phantom(PhantomConfig(patients=2, spacing_mm=(1.0, 2.0, 4.0)), tmp_path)
    layout = decathlon.cases(tmp_path)
    assert layout.modalities == ("T1", "FLAIR")
    assert layout.classes == ("background", "organ", "lesion")
    assert tuple(case.id for case in layout.cases) == patient_ids(PhantomConfig(patients=2))
    image, labels = make_patient(PhantomConfig(patients=2, spacing_mm=(1.0, 2.0, 4.0)), 1)
    scan = nifti.read_image(layout.cases[1].images[0], 2)
    assert scan.grid.spacing_mm == (1.0, 2.0, 4.0)
    assert np.array_equal(scan.array, np.rint(image))
    assert np.array_equal(nifti.read_labels(layout.cases[1].label, layout.values, layout.classes).array, labels)


def test_every_patient_has_an_organ_and_most_have_lesions():
    made = [make_patient(CONFIG, index)[1] for index in range(8)]
    counts = np.array([np.bincount(labels.ravel(), minlength=3) for labels in made])
    assert (counts[:, 1] > 500).all()
    assert (counts[:, 2] == 0).tolist() == [index == 3 for index in range(8)]
    assert counts[:, 2].max() > 4 * counts[counts[:, 2] > 0, 2].min()


def test_a_lesion_is_dark_in_t1_and_bright_in_flair():
    differences = []
    for index in (0, 1, 2, 4, 5, 6, 7):
        image, labels = make_patient(CONFIG, index)
        organ, lesion = (image[:, labels == value].mean(1) for value in (1, 2))
        differences.append(lesion / organ - 1)
    t1, flair = np.mean(differences, 0)
    assert t1 < -0.1
    assert flair > 0.1


@pytest.mark.parametrize(
    "change", [{"patients": 1}, {"shape": [44, 40]}, {"shape": [44, 40, 0]}, {"spacing_mm": [1, 1, 0]}]
)
def test_impossible_cohorts_are_refused(change):
    with pytest.raises(ValidationError):
        PhantomConfig(**change)


def test_lists_from_yaml_become_tuples():
    assert PhantomConfig(shape=[16, 16, 8], spacing_mm=[1, 1, 2.5]).shape == (16, 16, 8)
