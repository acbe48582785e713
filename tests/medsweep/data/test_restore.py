"""Round trips per layout: a perfect prediction, written back, is the patient's own label file."""

import nibabel as nib
import numpy as np
import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.nifti import write_prediction
from medsweep.data.phantom import DATASETS, PhantomConfig
from medsweep.data.prepare import run
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source, open_listing


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_perfect_prediction_comes_back_as_the_label_file(dataset, tmp_path):
    data = DataConfig(dataset=dataset, phantom=PhantomConfig(patients=3), resolution=128)
    trial = FakeTrial(tmp_path / "t")
    drain(run(PrepareConfig(**dict(data), source=inspect_source(data, tmp_path).fingerprint), {}, trial))
    prepared = SliceSet.open(trial.output)
    assert prepared.made_up
    for case in open_listing(data, tmp_path).cases:
        volume = prepared.volumes[case.id]
        onehot = np.eye(len(prepared.classes), dtype=np.float32)[prepared.masks[volume.rows.start : volume.rows.stop]]
        labels = volume.resize.undo(np.moveaxis(onehot, 3, 1)).argmax(1).astype(np.uint8)
        write_prediction(tmp_path / "back.nii.gz", labels, prepared, case.id)
        back, own = nib.load(tmp_path / "back.nii.gz"), nib.load(case.label)
        assert np.array_equal(np.asanyarray(back.dataobj), np.asanyarray(own.dataobj)), case.id
        assert nib.aff2axcodes(back.affine) == nib.aff2axcodes(own.affine)
        np.testing.assert_allclose(back.affine, own.affine, atol=1e-5)
        for code in ("sform_code", "qform_code"):
            assert back.header[code] == own.header[code], case.id
