"""The prepare stage end to end: geometry, normalisation, fingerprints, repeatability."""

import hashlib
import json
import logging
import os

import nibabel as nib
import numpy as np
import pytest
from decathlon_folder import cohort, save
from fake_trial import FakeTrial, drain
from pydantic import ValidationError

from medsweep.data import nifti
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import DataConfig, PrepareConfig, hours, inspect_source, normalise, run
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import digest_of

RAS = np.diag([1.5, 2.0, 4.0, 1.0])


def _prepare(data: DataConfig, folder) -> tuple[SliceSet, list]:
    trial = FakeTrial(folder)
    source = inspect_source(data, trial.scratch)
    reports = drain(run(PrepareConfig(**dict(data), source=source.fingerprint), {}, trial))
    return SliceSet.open(trial.output), reports


def _toy(root, shape=(20, 12, 5), affine=RAS, **changes):
    rng = np.random.default_rng(0)
    volumes = {}
    for number in (2, 10):
        labels = np.zeros(shape, np.uint8)
        labels[2:9, 3:6, 1:4] = 1
        labels[12, 9, 2] = 2
        volumes[f"p_{number}"] = (rng.normal(100, 20, shape).astype(np.float32), labels)
    return cohort(root, volumes, affine, **changes)


def test_slices_of_a_plane_that_fits_are_the_volume_itself(tmp_path):
    root = _toy(tmp_path / "toy")
    prepared, reports = _prepare(DataConfig(dataset="toy", root=str(root), resolution=24), tmp_path / "t")
    assert [(r.step, r.total, r.metrics["slices"]) for r in reports] == [(1, 2, 5), (2, 2, 10)]
    assert prepared.images.shape == (10, 1, 24, 24)
    assert prepared.patients == ("p_10", "p_2")
    assert prepared.index["foreground"].tolist() == [0, 21, 22, 21, 0] * 2
    volume = prepared.volumes["p_10"]
    assert volume.rows == range(5, 10)
    assert volume.spacing_mm == (4.0, 2.0, 1.5)
    original = np.asanyarray(nib.load(root / "imagesTr" / "p_10.nii.gz").dataobj)
    expected = ((original - original.mean()) / original.std()).transpose(2, 1, 0)
    np.testing.assert_allclose(volume.fit.undo(prepared.images[5:10, 0]), expected, atol=1e-5)
    assert prepared.images[5:10].sum() == pytest.approx(0, abs=1e-2)
    restacked = volume.fit.undo(prepared.masks[5:10].astype(np.float32))
    assert np.array_equal(restacked, prepared.reference("p_10"))


def test_a_restacked_prediction_lands_on_the_canonical_grid(tmp_path):
    affine = np.array([[0, -1.5, 0, 9], [2.0, 0, 0, -4], [0, 0, -4.0, 7], [0, 0, 0, 1]])
    root = _toy(tmp_path / "toy", affine=affine)
    prepared, _ = _prepare(DataConfig(dataset="toy", root=str(root), resolution=24), tmp_path / "t")
    volume = prepared.volumes["p_2"]
    planes = volume.fit.undo(prepared.masks[volume.rows.start : volume.rows.stop].astype(np.float32)).astype(np.uint8)
    nifti.write_labels(tmp_path / "back.nii.gz", planes, volume.affine, volume.slice_axis)
    back, original = nib.load(tmp_path / "back.nii.gz"), nib.load(root / "labelsTr" / "p_2.nii.gz")
    assert nib.aff2axcodes(back.affine) == ("R", "A", "S")
    for value in (1, 2):
        np.testing.assert_allclose(_world(back, value), _world(original, value), atol=1e-4)


def _world(image, value):
    voxels = np.argwhere(np.asanyarray(image.dataobj) == value)
    points = nib.affines.apply_affine(image.affine, voxels)
    return points[np.lexsort(points.round(3).T)]


def test_a_phantom_cohort_is_repeatable_to_the_byte(tmp_path):
    data = DataConfig(dataset="phantom", phantom=PhantomConfig(patients=2), resolution=32)
    for name in ("a", "b"):
        prepared, _ = _prepare(data, tmp_path / name)
    hashes = [_hashes(tmp_path / name / "output") for name in ("a", "b")]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 6
    assert prepared.modalities == ("T1", "FLAIR")
    assert prepared.classes == ("background", "organ", "lesion")


def _hashes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_run_that_was_cut_short_ends_with_the_same_bytes(tmp_path):
    data = DataConfig(dataset="phantom", phantom=PhantomConfig(patients=3), resolution=32)
    config = PrepareConfig(**dict(data), source=inspect_source(data, tmp_path).fingerprint)
    cut, whole = FakeTrial(tmp_path / "cut"), FakeTrial(tmp_path / "whole")
    next(run(config, {}, cut))
    drain(run(config, {}, FakeTrial(cut.folder)))
    drain(run(config, {}, whole))
    assert _hashes(cut.output) == _hashes(whole.output)


def test_shared_cohort_has_patients_with_and_without_lesion(slices):
    prepared = SliceSet.open(slices)
    assert (len(prepared.patients), prepared.images.shape) == (8, (96, 2, 32, 32))
    lesions = [2 in prepared.reference(patient) for patient in prepared.patients]
    assert lesions.count(False) == 1
    assert np.abs(prepared.images).max() <= 5
    for patient, volume in prepared.volumes.items():
        assert set(np.unique(prepared.masks[list(volume.rows)])) <= set(np.unique(prepared.reference(patient)))


def test_a_class_lost_by_shrinking_is_told_and_recorded(tmp_path, caplog):
    root = _toy(tmp_path / "toy", shape=(60, 30, 5))
    with caplog.at_level(logging.WARNING):
        _prepare(DataConfig(dataset="toy", root=str(root), resolution=8), tmp_path / "t")
    assert "p_2: posterior vanished at 8 pixels" in caplog.text
    recorded = json.loads((tmp_path / "t" / "output" / "cohort.json").read_text())["volumes"]
    assert recorded["p_10"]["vanished"] == ["posterior"]


def test_normalise_keeps_masked_background_at_zero():
    volume = np.zeros((10, 10, 10), np.float32)
    inside = np.random.default_rng(0).normal(-3, 2, (5, 10, 10)).astype(np.float32)
    volume[:5] = inside
    scaled = normalise(volume)
    assert not scaled[5:].any()
    np.testing.assert_allclose(scaled[:5], (inside - inside.mean()) / inside.std(), atol=1e-4)


def test_normalise_counts_a_few_zeros_as_measured():
    volume = np.random.default_rng(0).normal(0, 1, (10, 10, 10)).astype(np.float32)
    volume[0, 0, :5] = 0
    np.testing.assert_allclose(normalise(volume), (volume - volume.mean()) / volume.std(), atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.1, -1000.0])
def test_normalise_of_a_constant_is_zero(value):
    assert not normalise(np.full((5, 6, 7), value, np.float32)).any()


def test_normalise_cuts_off_outliers():
    volume = np.random.default_rng(0).normal(50, 1, (20, 20, 20)).astype(np.float32)
    volume[0, 0, 0] = 1e6
    assert normalise(volume).max() == 5


def test_the_fingerprint_follows_content_and_not_place(tmp_path):
    a, b = _toy(tmp_path / "a"), _toy(tmp_path / "b")
    first = _inspect(a, tmp_path)
    assert first.patients == ("p_2", "p_10")
    assert _inspect(b, tmp_path) == first
    _toy(tmp_path / "b", description="a remark changes nothing")
    assert _inspect(b, tmp_path) == first
    _toy(tmp_path / "b", labels={"0": "background", "1": "x", "2": "y"})
    assert _inspect(b, tmp_path) != first
    save(a / "labelsTr" / "p_2.nii.gz", np.zeros((20, 12, 5), np.uint8), RAS)
    assert _inspect(a, tmp_path) != first


def _inspect(root, cache):
    return inspect_source(DataConfig(dataset="toy", root=str(root)), cache)


def test_hashes_are_taken_once_and_a_damaged_cache_is_rebuilt(tmp_path):
    root, cache = _toy(tmp_path / "toy"), tmp_path / "cache"
    first = _inspect(root, cache)
    path = root / "imagesTr" / "p_2.nii.gz"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _inspect(root, cache) == first  # same size and time: the cache answers
    for damage in ("{", "[]", json.dumps({str(path): [1]})):
        (cache / "source-hashes.json").write_text(damage)
        assert _inspect(root, cache) != first


def test_files_that_changed_since_planning_stop_the_run(tmp_path):
    root = _toy(tmp_path / "toy")
    data = DataConfig(dataset="toy", root=str(root), resolution=24)
    config = PrepareConfig(**dict(data), source=inspect_source(data, tmp_path).fingerprint)
    save(root / "labelsTr" / "p_2.nii.gz", np.ones((20, 12, 5), np.uint8), RAS)
    with pytest.raises(UserError, match="toy changed since the sweep was planned"):
        drain(run(config, {}, FakeTrial(tmp_path / "t")))


def test_an_undeclared_label_stops_the_run(tmp_path):
    root = _toy(tmp_path / "toy", labels={"0": "background", "1": "x"})
    with pytest.raises(UserError, match="undeclared label value 2"):
        _prepare(DataConfig(dataset="toy", root=str(root), resolution=24), tmp_path / "t")


def test_where_the_files_lie_is_not_part_of_the_digest():
    a, b, c = (
        PrepareConfig(dataset="toy", root=root, resolution=resolution, source="0" * 64)
        for root, resolution in (("/a", 64), ("/b", 64), ("/a", 32))
    )
    assert digest_of("prepare", 1, a, {}) == digest_of("prepare", 1, b, {})
    assert digest_of("prepare", 1, a, {}) != digest_of("prepare", 1, c, {})
    assert hours(a) > hours(c) > 0


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"dataset": "spleen"}, "'spleen' needs data.root"),
        ({"dataset": "phantom", "root": "/x"}, "remove data.root"),
        ({"dataset": "spleen", "root": "/x", "phantom": {}}, "no meaning for dataset 'spleen'"),
        ({"dataset": "phantom", "resolution": 30}, "multiple of 8"),
        ({"dataset": "phantom", "resolution": 2048}, "1024"),
        ({"dataset": "phantom", "patients": 3}, "patients"),
    ],
)
def test_contradictory_data_sections_are_refused(given, what):
    with pytest.raises(ValidationError, match=what):
        DataConfig(**given)


def test_a_phantom_section_may_be_left_out():
    assert DataConfig(dataset="phantom") == DataConfig(dataset="phantom", phantom={"patients": 20})


def test_hippocampus_end_to_end(real, tmp_path):
    root = real("Task04_Hippocampus")
    prepared, reports = _prepare(DataConfig(dataset="hippocampus", root=str(root), resolution=64), tmp_path / "t")
    assert (len(reports), len(prepared.images), int((prepared.index["foreground"] > 0).sum())) == (130, 4628, 3293)
    for patient, volume in list(prepared.volumes.items())[::13]:
        label = nib.as_closest_canonical(nib.load(root / "labelsTr" / f"{patient}.nii.gz"))
        restacked = volume.fit.undo(prepared.masks[volume.rows.start : volume.rows.stop].astype(np.float32))
        assert np.array_equal(nifti.from_planes(restacked, volume.slice_axis), np.asanyarray(label.dataobj))
