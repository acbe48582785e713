"""Restacking and scoring: an oracle is perfect on the original grid, a blind network is missed everywhere."""

import numpy as np
import pytest
import torch
from fake_trial import FakeTrial, drain
from torch import nn

from medsweep.data.config import DataConfig, PrepareConfig
from medsweep.data.inventory import inspect_source
from medsweep.data.phantom import PhantomConfig
from medsweep.data.prepare import run as prepare
from medsweep.data.slices import SliceSet
from trainers.segmentation.evaluate import draw_overlay, evaluate, segment_volume, summary


class Oracle(nn.Module):
    """Knows the mask of every slice by heart."""

    def __init__(self, data):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.masks = {image.tobytes(): mask for image, mask in zip(data.images, data.masks, strict=True)}

    def forward(self, images):
        masks = np.stack([self.masks[image.numpy().tobytes()] for image in images])
        return 50.0 * nn.functional.one_hot(torch.from_numpy(masks).long(), 3).movedim(-1, 1)


class Blind(nn.Module):
    """Sees background everywhere."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        logits = torch.zeros(len(images), 3, *images.shape[2:])
        logits[:, 0] = 1
        return logits


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    """Three phantoms whose planes fit into the square, so that nothing is lost by preparing them."""
    trial = FakeTrial(tmp_path_factory.mktemp("roomy"))
    phantom = PhantomConfig(patients=3, seed=2, shape=(36, 32, 8), spacing_mm=(1.8, 1.8, 5.0))
    data = DataConfig(dataset="phantom", phantom=phantom, resolution=40)
    drain(prepare(PrepareConfig(**dict(data), source=inspect_source(data, trial.scratch).fingerprint), {}, trial))
    return SliceSet.open(trial.output)


def test_an_oracle_is_perfect_on_the_original_grid(roomy):
    oracle = Oracle(roomy)
    for patient in roomy.patients:
        np.testing.assert_array_equal(segment_volume(oracle, roomy, patient), roomy.reference(patient))
    table = evaluate(oracle, roomy, roomy.patients)
    present = table[table["n_ref"] > 0]
    assert len(present) > 0
    assert (present["status"] == "ok").all()
    assert (present.loc[present["metric"] == "dice", "value"] == 1).all()
    assert (present.loc[present["metric"] == "hd95_mm", "value"] == 0).all()


def test_an_oracle_loses_little_where_slices_were_shrunk(slices):
    data = SliceSet.open(slices)
    table = evaluate(Oracle(data), data, data.patients)
    organ = table[(table["class"] == "organ") & (table["metric"] == "dice")]
    assert data.volumes[data.patients[0]].fit.scaled_height < data.volumes[data.patients[0]].fit.height
    assert 0.9 < organ["value"].mean() < 1


def test_what_a_blind_network_misses_is_not_dropped(roomy):
    table = evaluate(Blind(), roomy, roomy.patients)
    missed = table[table["n_ref"] > 0]
    assert (missed["status"] == "missed").all()
    assert (missed.loc[missed["metric"] == "dice", "value"] == 0).all()
    assert np.isposinf(missed.loc[missed["metric"] == "hd95_mm", "value"]).all()
    empty = table[table["n_ref"] == 0]
    assert (empty["status"] == "empty-both").all()
    assert empty["value"].isna().all()
    found = summary(table)
    assert found["test_dice"] == 0
    assert found["test_structures"] == len(missed) / 2


def test_overlay_shows_reference_beside_prediction(roomy, tmp_path):
    from PIL import Image

    oracle, blind = (
        np.asarray(Image.open(draw_overlay(model, roomy, roomy.patients, tmp_path / name)))
        for model, name in ((Oracle(roomy), "oracle.png"), (Blind(), "blind.png"))
    )
    half = oracle.shape[1] // 2
    assert oracle.shape == blind.shape
    np.testing.assert_array_equal(oracle[:, :half], blind[:, :half])
    assert (oracle[:, half:] != blind[:, half:]).any()
