"""The slice set as others read it: memory maps, rows by patient, the size of a synthetic patient."""

import numpy as np
import pytest

from medsweep.data.slices import SliceSet


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
