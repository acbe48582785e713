"""Three patients of a dataset with an ignored value, two of whom have ignored voxels."""

from pathlib import Path

import numpy as np

from helpers.decathlon_folder import cohort
from helpers.fake_trial import FakeTrial, drain
from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.prepare import run
from medsweep.data.slices import SliceSet
from medsweep.data.source import inspect_source

SIDE, SLICES = 16, 6
STORED = 3
LABELS = {"background": 0, "organ": 1, "core": 2, "ignore": STORED}


def written(root: Path) -> Path:
    """Of p_1, slice 1 is ignored and slice 2 in part; of p_2, all but one column of every slice; p_3 is whole.

    All have an organ in slices 1 to 4 and a core in slice 2.
    """
    volumes = {}
    for number in (1, 2, 3):
        image = np.random.default_rng(number).normal(100, 20, (SIDE, SIDE, SLICES)).astype(np.float32)
        labels = np.zeros(image.shape, np.uint8)
        labels[4:12, 4:12, 1:5] = 1
        labels[6:9, 6:9, 2] = 2
        image[labels > 0] += 60
        if number == 1:
            labels[:, :, 1] = STORED
            labels[:7, :, 2] = STORED
        elif number == 2:
            labels[:8], labels[9:] = STORED, STORED
        volumes[f"p_{number}"] = (image, labels)
    return cohort(root, volumes, np.diag([1.0, 1.0, 3.0, 1.0]), labels=LABELS)


def prepared(folder: Path, root: Path | None = None) -> SliceSet:
    """The slices of ``written``, or of the cohort in ``root``, as the prepare stage leaves them."""
    trial = FakeTrial(folder / "trial")
    data = DataConfig(dataset="toy", root=str(root or written(folder / "data")), resolution=SIDE)
    source = inspect_source(data, trial.scratch)
    drain(run(PrepareConfig(**dict(data), source=source.fingerprint), {}, trial))
    return SliceSet.open(trial.output)
