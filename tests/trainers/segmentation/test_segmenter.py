"""What a published network sees in files: the same as in the sweep, however the file is turned."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from medsweep.data.new_patients import PatientFiles, Preparation, find_patients, read_patient
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trainers.segmentation.predictions import segment_volume
from medsweep.trainers.segmentation.segmenter import SeenPatient, Segmenter


def turn(image, axes):
    """The same picture with its axes stored in another order and direction."""
    return image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(axes)))


def labels_file(labels, affine):
    return nib.Nifti1Image(labels, affine)


def finer(image, factor):
    """The same picture in pixels that are smaller by ``factor`` along both axes of a slice."""
    array = np.asanyarray(image.dataobj).repeat(factor, axis=0).repeat(factor, axis=1)
    affine = image.affine @ np.diag([1 / factor, 1 / factor, 1, 1])
    affine[:3, 3] -= (image.affine[:3, :2] * (1 - 1 / factor) / 2).sum(1)
    return nib.Nifti1Image(array, affine)


def dice(one, other):
    return 2 * ((one > 0) & (other > 0)).sum() / ((one > 0).sum() + (other > 0).sum())


def test_a_file_of_the_cohort_gives_what_was_scored(slices, segmenter, listing):
    network, data = Segmenter.open(segmenter, slices), SliceSet.open(slices)
    for case in listing.cases[:3]:
        expected = segment_volume(load_segmenter(segmenter, "cpu"), data, case.id)
        seen = SeenPatient.of([network], read_patient(PatientFiles(case.id, case.images, data.modalities)))
        assert expected.any()
        np.testing.assert_array_equal(seen.planes, expected)


@pytest.mark.parametrize("axes", ["LPS", "AIR", "SRA", "PSL"])
def test_a_turned_copy_gives_the_turned_prediction(slices, segmenter, listing, tmp_path, axes):
    network, case = Segmenter.open(segmenter, slices), listing.cases[0]
    plain = nib.load(case.images[0])
    turned = turn(plain, axes)
    turned.to_filename(tmp_path / "turned.nii.gz")
    found = network.predict(tmp_path / "turned.nii.gz")
    expected = turn(labels_file(network.predict(case.images[0]), plain.affine), axes)
    assert found.any()
    np.testing.assert_array_equal(found, np.asanyarray(expected.dataobj))
    chances = network.probabilities(tmp_path / "turned.nii.gz")
    np.testing.assert_array_equal(chances.argmax(axis=0), found)
    np.testing.assert_allclose(chances.sum(axis=0), 1, atol=1e-5)


def test_finer_pixels_are_seen_at_the_size_of_training(slices, segmenter, listing, tmp_path):
    network, case = Segmenter.open(segmenter, slices), listing.cases[0]
    plain = nib.load(case.images[0])
    own = network.predict(case.images[0])
    finer(plain, 2).to_filename(tmp_path / "fine.nii.gz")
    # twice as many pixels fill the square as before, so nothing is to be done but to shrink
    both, fine = own.repeat(2, axis=0).repeat(2, axis=1), network.predict(tmp_path / "fine.nii.gz")
    assert dice(both, fine) > 0.9
    # of a part of them the square has room for more than training had
    part = (slice(8, 64), slice(8, 56))
    finer(plain, 2).slicer[part].to_filename(tmp_path / "part.nii.gz")
    patient = read_patient(PatientFiles("p", (tmp_path / "part.nii.gz",), network.modalities))
    prepared = Preparation(network.data)
    *_, remark = prepared.remarks(patient, prepared.images(patient))
    assert remark == "pixels of 0.9 x 0.9 mm, resampled to 2.06 x 2.02 mm as in training"
    plain.slicer[4:32, 4:28].to_filename(tmp_path / "own.nii.gz")
    both = network.predict(tmp_path / "own.nii.gz").repeat(2, axis=0).repeat(2, axis=1)
    assert dice(both, network.predict(tmp_path / "part.nii.gz")) > 0.8


def test_modalities_in_files_of_their_own_are_one_patient(slices, segmenter, listing, tmp_path):
    network, case = Segmenter.open(segmenter, slices), listing.cases[0]
    image = nib.load(case.images[0])
    for channel, name in enumerate(network.modalities):
        image.slicer[..., channel].to_filename(tmp_path / f"anna_{name}.nii.gz")
    # one of them stored otherwise, on the same grid
    turn(image.slicer[..., 1], "PIR").to_filename(tmp_path / f"anna_{network.modalities[1]}.nii.gz")
    (files,) = find_patients(tmp_path, network.modalities)
    assert files.id == "anna"
    np.testing.assert_array_equal(network.predict(files.images), network.predict(case.images[0]))
    with pytest.raises(UserError, match="3 files are given, and the network reads"):
        network.predict((*files.images, files.images[0]))
    elsewhere = image.affine.copy()
    elsewhere[0, 3] += 9
    nib.Nifti1Image(np.asanyarray(image.dataobj)[..., 1], elsewhere).to_filename(files.images[1])
    with pytest.raises(UserError, match="do not lie on one grid"):
        network.predict(files.images)
