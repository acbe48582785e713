from types import SimpleNamespace

import pytest
import torch

from medsweep.errors import UserError
from medsweep.trainers.generation.device import applied, device_settings


@pytest.fixture
def gpu(monkeypatch) -> SimpleNamespace:
    """What torch says of its only CUDA device, an Ampere unless a test changes that."""
    properties = SimpleNamespace(major=8, name="A", total_memory=2**35)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return properties


def switches() -> tuple[str, bool, bool]:
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark


@pytest.fixture
def repeatable():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("resolution", "lowest"), [(16, 4), (32, 4), (64, 8), (256, 32), (512, 64)])
def test_the_four_highest_resolutions_are_halved(gpu, resolution, lowest):
    assert device_settings("cuda:0", resolution).half_from == lowest


def test_a_device_without_bfloat16_computes_in_float32(gpu):
    gpu.major = 7
    settings = device_settings("cuda", 256)
    assert (settings.tf32, settings.half_from, settings.channels_last) == (False, None, True)


def test_a_processor_gets_none_of_it():
    settings = device_settings("cpu", 256)
    assert (settings.tf32, settings.half_from, settings.channels_last) == (False, None, False)
    before = switches()
    with applied(settings):
        assert switches() == before


def test_switches_are_set_and_restored_even_after_an_error(gpu):
    before = switches()
    assert before[0] != "high"
    stage = applied(device_settings("cuda", 64))
    stage.__enter__()
    assert switches() == ("high", True, True)
    assert not stage.__exit__(KeyError, KeyError(), None)
    assert switches() == before


def test_no_algorithm_is_tried_out_where_bits_must_repeat(gpu, repeatable):
    settings = device_settings("cuda", 64)
    assert settings.deterministic
    torch.backends.cudnn.benchmark = True
    try:
        with applied(settings):
            assert not torch.backends.cudnn.benchmark
    finally:
        torch.backends.cudnn.benchmark = False


def test_threads_are_those_of_torch():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert device_settings("cpu", 32).threads == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["gpu7", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(UserError, match=device):
        device_settings(device, 32)
