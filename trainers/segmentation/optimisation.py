"""How weights move: the optimiser, its learning rate at every step, and the running average of the weights."""

import copy
import math
from collections.abc import Iterable

import torch
from torch import nn

from medsweep.trainers.segmentation.config import SegmentConfig

MOMENTUM = 0.99
POLY_POWER = 0.9


def make_optimizer(config: SegmentConfig, weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019), or SGD with Nesterov momentum as nnU-Net has it (Isensee 2021)."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.SGD(weights, lr=rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay, fused=True)


def learning_rate(config: SegmentConfig, step: int) -> float:
    """Rate of ``step`` (1, 2, ...): a linear rise to the peak at step ``warmup_steps``, then the schedule.

    ``cosine`` falls from the peak towards 0 (Loshchilov and Hutter 2017, one cycle), ``poly`` likewise as the share of
    steps that are left to the power of 0.9 (Chen 2017), ``constant`` stays.
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - 1 - config.warmup_steps) / (config.steps - config.warmup_steps)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (1 - done) ** POLY_POWER if config.schedule == "poly" else config.learning_rate


class RunningAverage:
    """Exponential moving average of weights and normalisation statistics, in a network of its own.

    The share that is kept per step is 0.5^(1 / half-life), and at most (1 + step) / (10 + step), so that short runs
    forget their initial weights.
    """

    def __init__(self, model: nn.Module, half_life_steps: int) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self._keep = 0.5 ** (1 / half_life_steps)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights of ``model`` after ``step`` (1, 2, ...)."""
        keep = min(self._keep, (1 + step) / (10 + step))
        for mean, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(new, 1 - keep)
            else:
                mean.copy_(new)
