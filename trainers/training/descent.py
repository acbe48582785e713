"""A step of an optimiser, and the norm of the gradient that it took."""

import torch
from torch import Tensor


def descend(adam: torch.optim.Adam) -> Tensor:
    """One step of a network down its gradient; returns the gradient's norm."""
    weights = adam.param_groups[0]["params"]
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    adam.step()
    return norm
