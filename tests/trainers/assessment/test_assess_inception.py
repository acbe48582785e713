"""What reaches Inception-v3 and what becomes of its features, with a stand-in of the same interface."""

import hashlib
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from medsweep.errors import UserError
from medsweep.trainers.assessment.inception import SHA256, eight_bits, inception_features, load_extractor, window


class StandIn(nn.Module):
    """As the extractor of torch-fidelity: uint8 (N, 3, H, W) to a tuple with (N, 2048); keeps what it was shown."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        assert features_list == ["2048"]
        assert feature_extractor_weights_path.endswith(".pth")
        self.name, self.shown = name, []

    def forward(self, images):
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (3, 299, 299)
        self.shown.append(images)
        grid = nn.functional.adaptive_avg_pool2d(images.float(), (32, 64)).mean(dim=1)
        return (grid.flatten(start_dim=1),)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A weights file that is taken for the real one, and torch-fidelity with the stand-in as its extractor."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    monkeypatch.setattr("medsweep.trainers.assessment.inception.SHA256", hashlib.sha256(b"weights").hexdigest())
    package, module = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = StandIn
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return path


def test_the_digest_is_that_in_the_name_of_the_file():
    assert SHA256.startswith("6726825d")
    assert len(SHA256) == 64


def test_modalities_follow_one_another_in_their_own_windows(weights):
    extractor = load_extractor(weights, "cpu")
    assert not extractor.training
    images = torch.randn(33, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    bounds = window(images.numpy())
    found = inception_features(extractor, bounds, images)
    assert found.shape == (33, 4096)
    assert [len(part) for part in extractor.shown] == [32, 1, 32, 1]
    assert all(torch.equal(part[:, 0], part[:, 2]) for part in extractor.shown)
    second = inception_features(extractor, bounds[1:], images[:, 1:])
    torch.testing.assert_close(found[:, 2048:], second)
    scaled = torch.stack([images[:, 0] * 1000 + 7, images[:, 1]], dim=1)
    moved = inception_features(extractor, window(scaled.numpy()), scaled)
    assert (found - moved).abs().max() < 1.01
    assert found.std() > 10


def test_the_window_is_that_of_the_percentiles_and_clips():
    ramp = np.linspace(0, 1000, 100 * 32 * 32, dtype=np.float32).reshape(100, 1, 32, 32)
    ((low, high),) = window(ramp)
    assert (low, high) == pytest.approx((10, 995), rel=1e-3)
    levels = [-5.0, low, (low + high) / 2, high, 2000.0]
    flat = torch.tensor(levels, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 8, 8)
    found = eight_bits(flat, low, high)
    assert found.shape == (5, 1, 299, 299)
    assert found[:, 0, 100, 100].tolist() in ([0, 0, 127, 255, 255], [0, 0, 128, 255, 255])


def test_the_resize_averages_what_it_shrinks():
    """Two in four columns are lit, those that a resize without antialiasing alone would read."""
    lit = torch.isin(torch.arange(4 * 299) % 4, torch.tensor([1, 2])).float()
    found = eight_bits(lit.expand(1, 1, 299, -1), 0.0, 1.0)[..., 10:-10]
    assert 120 < found.min() <= found.max() < 136


def test_a_flat_modality_has_a_window_of_one_unit():
    assert window(np.full((3, 1, 4, 4), 2.5)).tolist() == [[2.5, 3.5]]


def test_a_missing_file_and_another_file_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none\.pth; give the path of pt_inception"):
        load_extractor(tmp_path / "none.pth", "cpu")
    wrong = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    wrong.write_bytes(b"damaged")
    seen = hashlib.sha256(b"damaged").hexdigest()[:16]
    with pytest.raises(UserError, match=rf"has sha256 {seen}\.\.\., not 6726825d0af5f729\.\.\.") as caught:
        load_extractor(wrong, "cpu")
    assert "\n" not in str(caught.value)


def test_without_torch_fidelity_the_extra_is_named(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r"pip install 'medsweep\[inception\]'") as caught:
        load_extractor(weights, "cpu")
    assert "\n" not in str(caught.value)
