"""Back from a checkpoint, on the device that it was written on or on another."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Return ``optimizer`` to ``state``; what it keeps per weight is laid out in memory as the weight is.

    Checkpoints are contiguous, weights may be channels-last. Fused kernels walk through weight, gradient and moments in
    the order of memory. On a CPU they would pair the wrong elements without a word, on CUDA they raise.
    """
    optimizer.load_state_dict(state)
    for weight, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                kept[name] = torch.empty_like(weight, dtype=value.dtype, device=value.device).copy_(value)


def random_state(random: torch.Generator) -> dict[str, Any]:
    """The state of a random generator, and the kind of device whose generators understand it."""
    return {"device": random.device.type, "state": random.get_state()}


def restore_random(random: torch.Generator, state: Mapping[str, Any], seed: int) -> str | None:
    """Return ``random`` to what ``random_state`` kept of it.

    A generator of another kind of device has other states and other numbers. It is seeded with ``seed`` instead, and a
    line that says so is returned.
    """
    before, now = state["device"], random.device.type
    if before == now:
        random.set_state(state["state"])
        return None
    random.manual_seed(seed)
    return f"the checkpoint was left by a trial on {before}; random numbers on {now} were seeded afresh"
