"""Fine texture of pools beside that of real slices, through the stages that measure it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from medsweep.data.folds import Fold, split
from medsweep.data.slices import SliceSet
from medsweep.trainers.assessment import fine_texture
from medsweep.trainers.assessment.fine_texture import RealTexture, grams
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build

FOLD = Fold(index=0, of=4)
NAMES = {
    "glcm_contrast_log_ratio",
    "glcm_homogeneity_difference",
    "glcm_correlation_difference",
    "lbp_divergence",
    "haar_log_ratio_1",
    "haar_log_ratio_2",
    "haar_log_ratio_3",
}


@pytest.fixture(scope="module")
def data(slices):
    return SliceSet.open(slices)


@pytest.fixture(scope="module")
def judge(data):
    return network(data)


def network(data, kind="unet"):
    shape = SegmenterArchitecture(
        modalities=data.images.shape[1], classes=3, channels=(4, 8, 8), residual_units=0, network=kind
    )
    return build(shape, seed=0).eval()


@pytest.fixture(scope="module")
def real(data, judge):
    rows = data.rows(split(data.patients, FOLD).train, foreground_only=True)
    return RealTexture.of(judge, data, rows, np.random.default_rng(0), halvings=8)


def unseen(data):
    return data.image_rows(data.rows(split(data.patients, FOLD).test, foreground_only=True))


def test_unseen_reals_are_near_the_floor_and_blurred_ones_far(data, judge, real):
    same = real.differences(judge, unseen(data))
    blurred = real.differences(judge, gaussian_filter(unseen(data), (0, 0, 1, 1)))
    assert set(same) == NAMES | {f"{name}_floor" for name in NAMES} | {"gram_ratio_1", "gram_ratio_2"}
    for name in NAMES:
        assert abs(same[name]) < 12 * same[f"{name}_floor"], name
        assert abs(blurred[name]) > 2 * abs(same[name]), name
    assert blurred["gram_ratio_1"] > 3 * same["gram_ratio_1"]


def test_a_gram_ratio_of_1_is_as_far_as_halves_of_the_patients(data, judge, real):
    """The pool is that of the first half of two patients, so the other half is all that it differs by."""
    first, second = (data.rows([one], foreground_only=True) for one in split(data.patients, FOLD).train[:2])
    two = RealTexture.of(judge, data, np.concatenate([first, second]), np.random.default_rng(0), halvings=1)
    other = len(second) / (len(first) + len(second))
    ratio = two.differences(judge, data.image_rows(first))["gram_ratio_1"]
    assert ratio == pytest.approx(other**2, rel=1e-4)


def test_what_was_saved_measures_the_same(data, judge, real, tmp_path):
    real.save(tmp_path)
    assert RealTexture.open(tmp_path).differences(judge, unseen(data)) == real.differences(judge, unseen(data))


def test_one_patient_has_no_floor_and_no_ratio(data, judge):
    rows = data.rows(split(data.patients, FOLD).train[:1], foreground_only=True)
    alone = RealTexture.of(judge, data, rows, np.random.default_rng(0), halvings=8)
    assert set(alone.differences(judge, unseen(data))) == NAMES


def test_visits_of_one_patient_stand_on_one_side_of_a_halving(data, judge):
    visits = split(data.patients, FOLD).train[:2]
    named = {visit: f"anna/{number}" for number, visit in enumerate(visits)}
    one_patient = replace(data, index=data.index.replace({"patient": named}))
    rows = data.rows(visits, foreground_only=True)
    assert RealTexture.of(judge, data, rows, np.random.default_rng(0), halvings=2).floor
    assert RealTexture.of(judge, one_patient, rows, np.random.default_rng(0), halvings=2).floor == {}


class Two(nn.Module):
    """A level of two maps: the image, and twice the image."""

    def __init__(self):
        super().__init__()
        self.level = nn.Conv2d(1, 2, 1, bias=False)
        self.level.weight = nn.Parameter(torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1))

    def forward(self, x):
        return self.level(x)


def test_a_gram_matrix_is_the_mean_product_of_two_maps(monkeypatch):
    monkeypatch.setattr(fine_texture, "observed_layers", lambda model: {"encoder 1": "level"})
    images = np.array([[[[1, 3], [0, 0]]], [[[0, 2], [0, 2]]]], np.float32)
    mean_square = (10 / 4 + 8 / 4) / 2
    np.testing.assert_allclose(grams(Two(), images)["1"], mean_square * np.array([[1, 2], [2, 4]]))


def test_other_networks_than_u_nets_have_no_gram_matrices(data):
    assert grams(network(data, "attention-unet"), unseen(data)[:2]) == {}
