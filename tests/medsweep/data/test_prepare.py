"""The prepare stage end to end: geometry, normalisation, fingerprints, repeatability."""

import hashlib
import json
import logging
import os
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from helpers.decathlon_folder import cohort, save
from helpers.fake_trial import FakeTrial, drain
from medsweep.data import prepare, remembered, volumes
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.dataset import Intensity
from medsweep.data.fitted_on import read_fitted_on
from medsweep.data.folds import Fold, split
from medsweep.data.geometry import from_planes
from medsweep.data.nifti import write_prediction
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source
from medsweep.errors import UserError
from medsweep.files import sha256_of

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
    np.testing.assert_allclose(volume.resize.undo(prepared.images[5:10, 0]), expected, atol=1e-5)
    np.testing.assert_allclose(prepared.images[5:10, 0, :, :2], expected.min(), atol=1e-5)
    restacked = volume.resize.undo(prepared.masks[5:10].astype(np.float32))
    assert np.array_equal(restacked, prepared.reference("p_10"))


def test_a_prediction_is_written_back_on_the_original_grid(tmp_path):
    affine = np.array([[0, -1.5, 0, 9], [2.0, 0, 0, -4], [0, 0, -4.0, 7], [0, 0, 0, 1]])
    root = _toy(tmp_path / "toy", affine=affine)
    prepared, _ = _prepare(DataConfig(dataset="toy", root=str(root), resolution=24), tmp_path / "t")
    volume = prepared.volumes["p_2"]
    planes = volume.resize.undo(prepared.masks[volume.rows.start : volume.rows.stop].astype(np.float32)).astype(
        np.uint8
    )
    write_prediction(tmp_path / "back.nii.gz", planes, prepared, "p_2")
    back, original = nib.load(tmp_path / "back.nii.gz"), nib.load(root / "labelsTr" / "p_2.nii.gz")
    assert np.array_equal(np.asanyarray(back.dataobj), np.asanyarray(original.dataobj))
    np.testing.assert_array_equal(back.affine, original.affine)
    assert (back.header["sform_code"], back.header["qform_code"]) == (2, 0)


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


def test_a_killed_run_goes_on_after_its_last_checkpoint(tmp_path, monkeypatch):
    data = DataConfig(dataset="phantom", phantom=PhantomConfig(patients=5), resolution=32)
    config = PrepareConfig(**dict(data), source=inspect_source(data, tmp_path).fingerprint)
    whole, cut = FakeTrial(tmp_path / "whole"), FakeTrial(tmp_path / "cut", due=True)
    drain(run(config, {}, whole))
    half = run(config, {}, cut)
    for _ in range(3):  # the third report comes after the checkpoint of the second
        next(half)
    half.close()
    read = []
    monkeypatch.setattr(prepare, "load", lambda case, listing: read.append(case.id) or volumes.load(case, listing))
    reports = drain(run(config, {}, FakeTrial(cut.folder)))
    assert read == ["phantom_0003", "phantom_0004", "phantom_0005"]
    assert [report.step for report in reports] == [3, 4, 5]
    assert _hashes(cut.output) == _hashes(whole.output)


def test_threads_change_no_byte(tmp_path):
    data = DataConfig(dataset="phantom", phantom=PhantomConfig(patients=5), resolution=32)
    config = PrepareConfig(**dict(data), source=inspect_source(data, tmp_path).fingerprint)
    for threads in (1, 3):
        drain(run(config, {}, FakeTrial(tmp_path / str(threads), threads=threads)))
    assert _hashes(tmp_path / "1" / "output") == _hashes(tmp_path / "3" / "output")


def test_peak_memory_is_that_of_one_patient(tmp_path):
    peaks = []
    for patients in (4, 16):
        phantom = PhantomConfig(patients=patients, shape=(64, 64, 40))
        data = DataConfig(dataset="phantom", phantom=phantom, resolution=64)
        config = PrepareConfig(**dict(data), source=inspect_source(data, tmp_path).fingerprint)
        written = run(config, {}, FakeTrial(tmp_path / str(patients)))
        next(written)  # by now the made-up files are written
        tracemalloc.start()
        drain(written)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_half_precision_halves_the_images_and_keeps_three_digits(tmp_path):
    phantom = PhantomConfig(patients=2)
    data = DataConfig(dataset="phantom", phantom=phantom, resolution=32)
    full, _ = _prepare(data, tmp_path / "full")
    half, _ = _prepare(data.model_copy(update={"image_dtype": "float16"}), tmp_path / "half")
    assert (full.images.dtype, half.images.dtype) == (np.float32, np.float16)
    assert half.image_rows(slice(0, 4)).dtype == np.float32
    np.testing.assert_allclose(half.images, full.images, atol=3e-3)


def test_cohort_intensities_are_fitted_on_the_training_patients_alone(tmp_path):
    root = _toy(tmp_path / "toy")
    recipe = Intensity(scale="cohort", percentiles=(0.5, 99.5))
    data = DataConfig(dataset="toy", root=str(root), resolution=24, intensity=recipe)
    source = inspect_source(data, tmp_path).fingerprint
    constants = []
    for index in (0, 1):
        trial = FakeTrial(tmp_path / str(index))
        fold = Fold(index=index, of=2)
        drain(run(PrepareConfig(**dict(data), source=source, fold=fold), {}, trial))
        train = split(["p_2", "p_10"], fold).train
        assert sorted(read_fitted_on(trial.output)) == list(train)
        labels, image = (
            np.asanyarray(nib.load(root / part / f"{train[0]}.nii.gz").dataobj) for part in ("labelsTr", "imagesTr")
        )
        found = json.loads((trial.output / "cohort.json").read_text())["constants"]["MRI"]
        assert found["mean"] == pytest.approx(image[labels > 0].mean(), rel=1e-4)
        constants.append(found)
    assert constants[0] != constants[1]
    with pytest.raises(UserError, match="no fold is given"):
        drain(run(PrepareConfig(**dict(data), source=source), {}, FakeTrial(tmp_path / "none")))


def test_cases_can_be_left_out_by_name(tmp_path):
    root = _toy(tmp_path / "toy")
    (root / "labelsTr" / "p_2.nii.gz").unlink()
    data = DataConfig(dataset="toy", root=str(root), resolution=24)
    with pytest.raises(UserError, match="p_2"):
        inspect_source(data, tmp_path)
    assert inspect_source(data.model_copy(update={"leave_out": ("p_2",)}), tmp_path).patients == ("p_10",)
    with pytest.raises(UserError, match="leave_out names 'p_3', which is no case; did you mean 'p_2'"):
        inspect_source(data.model_copy(update={"leave_out": ("p_3",)}), tmp_path)


def test_the_index_knows_areas_and_geometry(tmp_path):
    prepared, _ = _prepare(DataConfig(dataset="toy", root=str(_toy(tmp_path / "toy")), resolution=24), tmp_path / "t")
    row = prepared.index.iloc[7]
    assert (row["patient"], row["slice"], row["foreground"]) == ("p_10", 2, 22)
    assert (row["area_anterior"], row["area_posterior"]) == (21, 1)
    assert (row["z_mm"], row["y_mm"], row["x_mm"]) == (4.0, 2.0, 1.5)
    assert row["affine"].tolist() == RAS.ravel().tolist()


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


def test_the_fingerprint_follows_content_and_not_place(tmp_path):
    a, b = _toy(tmp_path / "a"), _toy(tmp_path / "b")
    first = _inspect(a, tmp_path)
    assert first.patients == ("p_2", "p_10")
    assert _inspect(b, tmp_path) == first
    _toy(tmp_path / "b", description="a remark changes nothing")
    assert _inspect(b, tmp_path) == first
    _toy(tmp_path / "b", labels={"0": "background", "1": "x", "2": "y"})
    assert _inspect(b, tmp_path).fingerprint != first.fingerprint
    save(a / "labelsTr" / "p_2.nii.gz", np.zeros((20, 12, 5), np.uint8), RAS)
    assert _inspect(a, tmp_path) != first


def _inspect(root, cache):
    cache.mkdir(exist_ok=True)
    return inspect_source(DataConfig(dataset="toy", root=str(root)), cache)


def test_a_new_file_of_the_old_size_and_time_is_noticed(tmp_path):
    root, cache = _toy(tmp_path / "toy"), tmp_path / "cache"
    first = _inspect(root, cache)
    path = root / "labelsTr" / "p_2.nii.gz"
    status = path.stat()
    packed = bytearray(path.read_bytes())
    packed[4:8] = b"past"  # The time in the gzip header: other bytes, the same voxels.
    path.write_bytes(packed)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert _inspect(root, cache).fingerprint != first.fingerprint


def test_hashes_are_taken_once_and_a_damaged_cache_is_rebuilt(tmp_path, monkeypatch):
    root, cache = _toy(tmp_path / "toy"), tmp_path / "cache"
    first = _inspect(root, cache)
    read = []
    monkeypatch.setattr(remembered, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    assert _inspect(root, cache) == first
    assert not read
    for damage in ("{", "[]", json.dumps({"files": {str(root / "imagesTr" / "p_2.nii.gz"): [1]}, "cases": []})):
        (cache / "source-hashes.json").write_text(damage)
        assert _inspect(root, cache) == first
        assert len(read) == 4
        read.clear()
    assert inspect_source(DataConfig(dataset="toy", root=str(root)), cache, rehash=True) == first
    assert len(read) == 4


def test_inside_is_decided_once_for_all_cases(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 12, 5), np.uint8)
    labels[2:9, 3:6, 1:4], labels[12, 9, 2] = 1, 2
    volumes = {f"p_{number}": (rng.normal(100, 20, labels.shape).astype(np.float32), labels) for number in range(3)}
    for name in ("p_0", "p_1"):
        volumes[name][0][:5] = 0
    data = DataConfig(dataset="toy", root=str(cohort(tmp_path / "toy", volumes, RAS)), resolution=24)
    source = inspect_source(data, tmp_path)
    assert source.inside == ("nonzero",)
    assert any("1 of 3 have less than 5% of zeros (p_2)" in line for line in source.warnings)
    volumes["p_1"][0][:5] = 90
    cohort(tmp_path / "toy", volumes, RAS)
    source = inspect_source(data, tmp_path)
    assert source.inside == ("all",)
    trial = FakeTrial(tmp_path / "t")
    drain(run(PrepareConfig(**dict(data), source=source.fingerprint, inside=source.inside), {}, trial))
    prepared = SliceSet.open(trial.output)
    scaled = prepared.images[list(prepared.volumes["p_0"].rows)]
    assert scaled.min() < -1  # zeros are measured values here too
    assert json.loads((trial.output / "cohort.json").read_text())["inside"] == {"MRI": "all"}


def test_files_that_changed_since_planning_stop_the_run(tmp_path):
    root = _toy(tmp_path / "toy")
    data = DataConfig(dataset="toy", root=str(root), resolution=24)
    config = PrepareConfig(**dict(data), source=inspect_source(data, tmp_path).fingerprint)
    save(root / "labelsTr" / "p_2.nii.gz", np.ones((20, 12, 5), np.uint8), RAS)
    with pytest.raises(
        UserError, match=r"toy changed since the sweep was planned.*again, with --rehash if that does not help"
    ):
        drain(run(config, {}, FakeTrial(tmp_path / "t")))


def test_an_undeclared_label_stops_the_run(tmp_path):
    root = _toy(tmp_path / "toy", labels={"0": "background", "1": "x"})
    with pytest.raises(UserError, match="undeclared label value 2"):
        _prepare(DataConfig(dataset="toy", root=str(root), resolution=24), tmp_path / "t")


def test_hippocampus_end_to_end(real, tmp_path):
    root = real("Task04_Hippocampus")
    prepared, reports = _prepare(DataConfig(dataset="hippocampus", root=str(root), resolution=64), tmp_path / "t")
    assert (len(reports), len(prepared.images), int((prepared.index["foreground"] > 0).sum())) == (130, 4628, 3293)
    for patient, volume in list(prepared.volumes.items())[::13]:
        label = nib.as_closest_canonical(nib.load(root / "labelsTr" / f"{patient}.nii.gz"))
        restacked = volume.resize.undo(prepared.masks[volume.rows.start : volume.rows.stop].astype(np.float32))
        assert np.array_equal(from_planes(restacked, volume.slice_axis), np.asanyarray(label.dataobj))
