"""Diffusion as Karras et al. 2022 (EDM) have it: table 1, column "Ours", and the deterministic sampler of algorithm 1.

N samples, s the noise level of each, (N,), and x = y + s n with n from N(0, 1) a noisy sample. The data have a standard
deviation of ``DATA_SD`` in every channel.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

DATA_SD = 0.5
SMALLEST, LARGEST, BEND = 0.002, 80.0, 7.0
"""Noise levels between which samples are drawn, and rho, the bend of the way between them."""

Denoise = Callable[[Tensor, Tensor], Tensor]
"""From x (N, C, R, R) and s (N,) to an estimate of y."""


def as_factor(level_N: Tensor) -> Tensor:
    """(N, 1, 1, 1)."""
    return level_N[:, None, None, None]


def denoised(network: Denoise, x: Tensor, level_N: Tensor) -> Tensor:
    """D(x; s) = c_skip x + c_out F(c_in x; c_noise) (eq. 7), where F is the network."""
    level = as_factor(level_N)
    total = level.square() + DATA_SD**2
    seen = network(x * total.rsqrt(), level_N.log() / 4)
    return x * (DATA_SD**2 / total) + seen * (level * DATA_SD * total.rsqrt())


def loss_weight(level_N: Tensor) -> Tensor:
    """lambda(s) = (s^2 + sd^2) / (s sd)^2, with which each level weighs the same at the start, (N,)."""
    return (level_N.square() + DATA_SD**2) / (level_N * DATA_SD).square()


def noise_levels(normal_N: Tensor, mean: float, sd: float) -> Tensor:
    """Levels of a training batch, ln s from N(mean, sd^2), from standard normal numbers; (N,)."""
    return (normal_N * sd + mean).exp()


def schedule(steps: int) -> list[float]:
    """``steps`` falling noise levels and then 0 (eq. 5)."""
    high, low = LARGEST ** (1 / BEND), SMALLEST ** (1 / BEND)
    return [(high + index / (steps - 1) * (low - high)) ** BEND for index in range(steps)] + [0.0]


def heun(denoise: Denoise, numbers: Tensor, steps: int) -> Tensor:
    """The sample that random numbers from N(0, 1) lead to by Heun's method, without any further noise (algorithm 1).

    D is asked twice in each step but the last, where it is asked once.
    """
    levels = schedule(steps)
    x = numbers * levels[0]

    def slope(x: Tensor, level: float) -> Tensor:
        return (x - denoise(x, torch.full((len(x),), level, device=x.device))) / level

    for level, lower in pairwise(levels):
        first = slope(x, level)
        reached = x + (lower - level) * first
        if lower > 0:
            reached = x + (lower - level) * (first + slope(reached, lower)) / 2
        x = reached
    return x
