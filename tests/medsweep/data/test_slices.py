"""The slice set as others read it: memory maps, rows by patient, the size of a synthetic patient."""

import numpy as np
import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.dataset import Intensity
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source


def test_arrays_are_read_only_memory_maps(slices):
    prepared = SliceSet.open(slices)
    assert isinstance(prepared.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        prepared.masks[0] = 1


def test_rows_hold_the_patients_that_were_asked_for(slices):
    prepared = SliceSet.open(slices)
    first, second = prepared.patients[1], prepared.patients[4]
    rows = prepared.rows([second, first])
    assert rows.tolist() == [*prepared.volumes[first].rows, *prepared.volumes[second].rows]
    assert set(prepared.index["patient"].iloc[rows]) == {first, second}
    assert len(prepared.rows(["nobody"])) == 0


def test_foreground_rows_are_those_with_a_mask(slices):
    prepared = SliceSet.open(slices)
    rows = prepared.rows(prepared.patients, foreground_only=True)
    assert rows.tolist() == np.flatnonzero(prepared.masks.any((1, 2))).tolist()
    assert 0 < len(rows) < len(prepared.masks)
    assert prepared.slices_per_patient(prepared.patients) == round(len(rows) / 8)


def test_references_keep_the_original_grid(slices):
    prepared = SliceSet.open(slices)
    volume = prepared.volumes[prepared.patients[0]]
    reference = prepared.reference(prepared.patients[0])
    assert reference.shape == (12, 32, 36) == (len(volume.rows), volume.resize.height, volume.resize.width)
    assert volume.spacing_mm == (5.0, 1.8, 1.8)


@pytest.mark.parametrize(
    "recipe",
    [Intensity(scale="window", window=(-160.0, 240.0)), Intensity(percentiles=(0.5, 99.5), inside="all")],
)
def test_slices_of_every_scale_are_opened(tmp_path, recipe):
    trial = FakeTrial(tmp_path)
    phantom = PhantomConfig(patients=2, shape=(16, 16, 8))
    data = DataConfig(dataset="phantom", phantom=phantom, resolution=16, intensity=recipe)
    drain(run(PrepareConfig(**dict(data), source=inspect_source(data, trial.scratch).fingerprint), {}, trial))
    found = SliceSet.open(trial.output).recipes[0]
    assert (found.scale, found.window, found.percentiles) == (recipe.scale, recipe.window, recipe.percentiles)
