"""Ignored voxels in training and in scores: nothing depends on what a network says of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.fake_trial import FakeTrial, drain
from helpers.ignoring_cohort import prepared
from medsweep.data.folds import Fold, Split
from medsweep.data.ignored import IGNORED
from medsweep.errors import UserError
from medsweep.trainers.generators import training_rows
from medsweep.trainers.scoring.config import ScoreConfig
from medsweep.trainers.scoring.score import evaluate, run
from medsweep.trainers.segmentation.augment import augment
from medsweep.trainers.segmentation.config import SegmentSettings, resolve
from medsweep.trainers.segmentation.samples import gather
from medsweep.trainers.segmentation.train import run as segment
from medsweep.trainers.segmentation.train import validation_dice

FOLD = Fold(index=0, scheme="file", given_patients=Split(train=("p_1", "p_2"), test=("p_3",)))
BACK = Fold(index=0, scheme="file", given_patients=Split(train=("p_3",), test=("p_1", "p_2")))
TINY = {"steps": 3, "batch_size": 4, "channels": (4, 8), "residual_units": 0, "class_weights": "inverse-frequency"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("ignoring"))


class KnowsTheLabelled(nn.Module):
    """Right wherever there is a label, and full of organ elsewhere."""

    def __init__(self, data):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        masks = np.where(data.masks == IGNORED, 1, data.masks)
        self.masks = {image.tobytes(): mask for image, mask in zip(data.images, masks, strict=True)}

    def forward(self, images):
        masks = np.stack([self.masks[image.numpy().tobytes()] for image in images])
        return 50.0 * nn.functional.one_hot(torch.from_numpy(masks).long(), 3).movedim(-1, 1)


def config(fold, **changes):
    given = SegmentSettings(**TINY | changes)
    return resolve(given, fold=fold, seed=0, count=0, candidates=0, unit="slices", resolution=16)


def test_scores_take_labelled_voxels_alone_and_no_distance_where_some_are_ignored(data):
    table = evaluate(KnowsTheLabelled(data), data, data.patients).set_index(["patient", "class", "metric"]).sort_index()
    first = table.loc["p_1", "organ"]
    assert (first.loc["dice", "value"], first.loc["dice", "status"]) == (1, "ok")
    assert first.loc[["hd95_mm", "assd_mm", "surface_dice"], "status"].tolist() == ["ignored"] * 3
    assert first["value"].isna().sum() == 3
    assert first["boundary_bias_mm"].isna().all()
    assert (first.loc["dice", "n_ref"], first.loc["dice", "n_pred"]) == (162, 162)
    whole = table.loc["p_3", "organ"]
    assert whole["status"].tolist() == ["ok"] * 4
    assert (whole.loc["hd95_mm", "value"], whole.loc["hd95_mm", "boundary_bias_mm"]) == (0, 0)
    assert validation_dice(KnowsTheLabelled(data), data, data.patients) == 1


def test_a_class_that_no_labelled_voxel_has_is_empty(data, tmp_path):
    table = evaluate(KnowsTheLabelled(data), data, ["p_2"]).set_index(["class", "metric"])
    assert table.loc["core", "status"].tolist() == ["ok", "ignored", "ignored", "ignored"]
    labels = data.reference("p_2")
    labels[labels == 2] = IGNORED
    (tmp_path / "reference").mkdir()
    np.savez(tmp_path / "reference" / "p_2.npz", labels=labels)
    table = evaluate(KnowsTheLabelled(data), replace(data, folder=tmp_path), ["p_2"]).set_index(["class", "metric"])
    assert set(table.loc["core", "status"]) == {"empty-both"}


def test_training_takes_slices_that_are_labelled_in_part(data):
    samples = gather(config(FOLD), data, ("p_1", "p_2"), {}, "cpu")
    assert samples.real == 5 + 6
    masks = data.masks[data.rows(("p_1", "p_2"), partly_labelled=True)]
    expected = [np.count_nonzero(masks == label) for label in range(3)]
    assert samples.pixels_per_class(3).tolist() == expected
    images, batch = samples.batch(np.arange(4))
    _, turned = augment(images, batch, torch.Generator().manual_seed(0), "full")
    assert set(turned.unique().tolist()) <= {0, 1, 2, IGNORED}
    assert IGNORED in turned


def test_a_segmenter_is_trained_and_scored(data, tmp_path):
    trial = FakeTrial(tmp_path / "segment")
    reports = drain(segment(config(BACK, validate_every_steps=0), {"prepare": data.folder}, trial))
    scored = FakeTrial(tmp_path / "score")
    drain(run(ScoreConfig(fold=BACK), {"prepare": data.folder, "network": trial.output}, scored))
    assert (scored.output / "overlay.png").is_file()
    other = FakeTrial(tmp_path / "other")
    reports += drain(segment(config(FOLD), {"prepare": data.folder}, other))
    assert all(math.isfinite(value) for report in reports for value in report.metrics.values())


def test_generators_learn_from_whole_slices_alone(data):
    assert training_rows(data, FOLD)[1].tolist() == [3, 4]
    partly = Fold(index=0, scheme="file", given_patients=Split(train=("p_2",), test=("p_3",)))
    with pytest.raises(UserError, match="shows a class and is labelled whole, without ignored pixels, so there"):
        training_rows(data, partly)


def test_patients_without_a_labelled_pixel_cannot_be_trained_on(data):
    nobody = replace(data, index=data.index.assign(ignored=256))
    with pytest.raises(UserError, match="no slice of the 1 training patients has a labelled pixel that segment"):
        gather(config(FOLD), nobody, ("p_1",), {}, "cpu")
