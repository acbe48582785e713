"""Predictions as files: what the metrics were computed from, on the patient's own grid."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from medsweep.data.folds import Fold, split
from medsweep.data.geometry import Resize, to_planes
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.trainers.scoring.score import evaluate
from medsweep.trainers.segmentation import predictions
from medsweep.trainers.segmentation.network import load_segmenter
from medsweep.trainers.segmentation.predictions import segment_volume, write_predictions

FOLD = Fold(index=0, of=4)


@pytest.fixture
def labels(listing):
    """Label file by patient."""
    return {case.id: nib.load(case.label) for case in listing.cases}


def voxels(image):
    return np.asanyarray(image.dataobj)


def test_files_are_what_the_metrics_were_computed_from(slices, segmenter, labels, tmp_path):
    data = SliceSet.open(slices)
    patients = split(data.patients, FOLD).test
    paths = list(write_predictions(segmenter, slices, patients, tmp_path / "new"))
    assert paths == [tmp_path / "new" / f"{patient}.nii.gz" for patient in patients]
    assert sorted((tmp_path / "new").iterdir()) == sorted(paths)
    table = evaluate(load_segmenter(segmenter, "cpu"), data, patients)
    metrics = table.set_index(["patient", "class", "metric"])["value"]
    stored = {index: value for value, index in data.values.items()}
    scored = 0
    for patient, path in zip(patients, paths, strict=True):
        image, own = nib.load(path), labels[patient]
        assert image.shape == own.shape
        np.testing.assert_allclose(image.affine, own.affine, atol=1e-5)
        for index, name in enumerate(data.classes[1:], start=1):
            a, b = voxels(own) == stored[index], voxels(image) == stored[index]
            if a.any():
                dice = 2 * (a & b).sum() / (a.sum() + b.sum())
                assert dice == pytest.approx(metrics[patient, name, "dice"])
                scored += dice > 0.1
    assert scored > 0


def test_labels_are_those_of_the_segmenter(slices, segmenter, tmp_path):
    data, model = SliceSet.open(slices), load_segmenter(segmenter, "cpu")
    patient = data.patients[0]
    (path,) = write_predictions(segmenter, slices, [patient], tmp_path)
    expected = segment_volume(model, data, patient)
    canonical = voxels(nib.as_closest_canonical(nib.load(path)))
    found = to_planes(canonical, data.volumes[patient].slice_axis)
    assert expected.any()
    np.testing.assert_array_equal(np.vectorize(data.values.get)(found), expected)


def test_a_write_that_fails_leaves_no_prediction(slices, segmenter, tmp_path, monkeypatch):
    def torn(path, *_):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    patients = SliceSet.open(slices).patients[:2]
    written = write_predictions(segmenter, slices, patients, tmp_path)
    first = next(written)
    whole = first.read_bytes()
    monkeypatch.setattr(predictions, "write_prediction", torn)
    with pytest.raises(OSError, match="No space left"):
        next(written)
    with pytest.raises(OSError, match="No space left"):
        next(write_predictions(segmenter, slices, patients, tmp_path))
    assert first.read_bytes() == whole
    assert not (tmp_path / f"{patients[1]}.nii.gz").exists()


def test_what_cannot_be_written_is_refused_before_anything_is(slices, segmenter, tmp_path):
    patient = SliceSet.open(slices).patients[0]
    with pytest.raises(UserError, match=rf"no patient is called '{patient}x'.*{patient}"):
        list(write_predictions(segmenter, slices, [patient, f"{patient}x"], tmp_path / "new"))
    odd = tmp_path / "odd"
    shutil.copytree(slices, odd)
    cohort = json.loads((odd / "cohort.json").read_text())
    cohort["volumes"]["../out"] = cohort["volumes"].pop(patient)
    (odd / "cohort.json").write_text(json.dumps(cohort))
    with pytest.raises(UserError, match=r"patient '\.\./out' in .* cannot be a file name"):
        list(write_predictions(segmenter, odd, ["../out"], tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_network_of_other_data_is_refused(slices, segmenter, tmp_path):
    other = tmp_path / "network"
    shutil.copytree(segmenter, other)
    shape = json.loads((other / "network.json").read_text()) | {"classes": 5}
    (other / "network.json").write_text(json.dumps(shape))
    with pytest.raises(UserError, match=r"knows 5 classes, the data .* have 2 and 3"):
        next(write_predictions(other, slices, SliceSet.open(slices).patients, tmp_path / "new"))


@pytest.mark.parametrize(("height", "width", "side"), [(40, 50, 32), (32, 20, 32), (20, 24, 32), (33, 90, 32)])
def test_planes_are_enlarged_to_the_bit_as_resize_undoes_them(height, width, side):
    resize = Resize.of(height, width, side)
    planes = torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(0))
    found = predictions.enlarged(planes, resize)
    assert found.shape == (5, 3, height, width)
    assert np.array_equal(found.numpy(), resize.undo(planes.numpy()))
