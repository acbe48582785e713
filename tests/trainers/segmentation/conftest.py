"""A segmenter that has learnt something, and the files of the patients whom it was trained and tested on."""

import pytest

from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig
from medsweep.data.folds import Fold
from medsweep.data.phantom import PhantomConfig
from medsweep.data.source import open_listing
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.train import run

FOLD = Fold(index=0, of=4)
LEARNS = {
    "steps": 60,
    "batch_size": 8,
    "channels": (8, 16),
    "residual_units": 0,
    "learning_rate": 1e-2,
    "augment": "none",
}


@pytest.fixture(scope="session")
def segmenter(slices, tmp_path_factory):
    """Output of a segment trial that has learnt enough to find something."""
    given = SegmentSettings(**LEARNS)
    asked = resolve(given, fold=FOLD, seed=0, count=0, candidates=0, unit="slices", resolution=32)
    trial = FakeTrial(tmp_path_factory.mktemp("segment"))
    drain(run(asked, {"prepare": slices}, trial))
    return trial.output


@pytest.fixture(scope="session")
def listing(tmp_path_factory):
    """The files of the cohort that ``slices`` was prepared from."""
    phantom = PhantomConfig(patients=8, seed=7, shape=(36, 32, 12), spacing_mm=(1.8, 1.8, 5.0))
    return open_listing(DataConfig(dataset="phantom", phantom=phantom, resolution=32), tmp_path_factory.mktemp("p"))
