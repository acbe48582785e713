"""Optimisers and random generators that come back from a checkpoint, on this kind of device and from another."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from medsweep.trainers.training.checkpoint import load_state, save_state
from medsweep.trainers.training.restore import load_optimizer, random_state, restore_random

OPTIMIZERS = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.1, fused=True),
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=0.1, fused=True),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "amsgrad": lambda weights: torch.optim.Adam(weights, lr=0.1, amsgrad=True),
}


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        optimizer.zero_grad()
        torch.autograd.backward(model(torch.randn(2, 3, 8, 8, generator=random)).square().mean())
        optimizer.step()
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_moments_lie_in_memory_as_their_weights_do(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    optimizer = OPTIMIZERS[kind](model.parameters())
    steps(model, optimizer, 2)
    save_state(tmp_path, {"optimizer": optimizer.state_dict()})
    again = copy.deepcopy(model)
    restored = OPTIMIZERS[kind](again.parameters())
    load_optimizer(restored, load_state(tmp_path)["optimizer"])
    kept = [(weight, value) for weight, moments in restored.state.items() for value in moments.values()]
    same_shape = [(weight, value) for weight, value in kept if value.shape == weight.shape]
    assert len(same_shape) >= 4
    assert all(value.stride() == weight.stride() for weight, value in same_shape)
    assert torch.equal(steps(model, optimizer, 3), steps(again, restored, 3))


def test_a_generator_of_the_same_kind_goes_on() -> None:
    random = torch.Generator().manual_seed(3)
    state = random_state(random)
    expected = torch.rand(4, generator=random)
    assert restore_random(random, state, seed=0) is None
    assert torch.equal(torch.rand(4, generator=random), expected)


def test_a_generator_of_another_kind_begins_anew_and_says_so() -> None:
    """A CUDA generator's state has 16 bytes."""
    random = torch.Generator().manual_seed(3)
    told = restore_random(random, {"device": "cuda", "state": torch.zeros(16, dtype=torch.uint8)}, seed=7)
    assert told == "the checkpoint was left by a trial on cuda; random numbers on cpu were seeded afresh"
    assert torch.equal(torch.rand(4, generator=random), torch.rand(4, generator=torch.Generator().manual_seed(7)))
