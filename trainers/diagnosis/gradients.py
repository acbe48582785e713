"""Gradients of probe batches, and what their products say without the noise of finite batches.

Every source has two disjoint half-batches with gradients a_1 and a_2. Products take two different halves,
<a, b> = mean over the four pairs of a_i . b_j and <a, a> = a_1 . a_2, so that they are unbiased for products of the
expected gradients. A cosine of two batches is too low by the noise of both and is not computed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.trainers.diagnosis.layers import ALL, group_of

Loss = Callable[[Tensor, Tensor], Tensor]

TRAIN, HELD_OUT, POOL, AGAIN = "train", "held-out", "pool", "held-out again"
REAL_HIGH_BAND = "pool, real high band"
"""The samples of the pool with the high band of the real images of their masks."""
EPSILON = 1e-8
"""Added to the root of a second moment, as AdamW does."""


def half_gradient(
    model: nn.Module, loss: Loss, images_NCRR: Tensor, masks_NRR: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (N, K, R, R) of a half-batch, and the gradient of its loss by name of the weight.

    The network must be in evaluation mode: then a sample's part does not depend on its company and nothing is changed.
    """
    names, weights = zip(*model.named_parameters(), strict=True)
    logits = model(images_NCRR)
    found = torch.autograd.grad(loss(logits, masks_NRR), weights)
    return logits.detach(), dict(zip(names, found, strict=True))


@dataclass(frozen=True)
class Products:
    """Inner products of all half-batch gradients of one snapshot, by group of layers."""

    sources: tuple[str, ...]
    halves: Mapping[str, int]
    """Samples of a half-batch by source."""
    plain: Mapping[str, NDArray[np.float64]]
    """(2S, 2S) by group for S sources, the two halves of a source in neighbouring rows."""
    scaled: Mapping[str, NDArray[np.float64]]
    """The same with the gradient of the row over the root of AdamW's second moments; empty without any."""

    @classmethod
    def of(
        cls,
        model: nn.Module,
        gradients: Mapping[str, Sequence[Mapping[str, Tensor]]],
        halves: Mapping[str, int],
        second_moments: Mapping[str, Tensor],
    ) -> "Products":
        """From the two gradients of each source; products are summed in float64."""
        rows = [each for pair in gradients.values() for each in pair]
        plain: dict[str, NDArray[np.float64]] = {}
        scaled: dict[str, NDArray[np.float64]] = {}
        for name in rows[0]:
            stacked = torch.stack([each[name].flatten() for each in rows]).double()
            parts = [(plain, stacked)]
            if name in second_moments:
                root = second_moments[name].to(stacked.device).flatten().double().sqrt() + EPSILON
                parts.append((scaled, stacked / root))
            for table, left in parts:
                product = (left @ stacked.T).cpu().numpy()
                for group in (ALL, group_of(model, name)):
                    table[group] = table.get(group, 0.0) + product
        return cls(tuple(gradients), halves, plain, scaled)

    def product(self, first: str, second: str, group: str, *, scaled: bool = False) -> float:
        """<first, second>, unbiased."""
        a, b = 2 * self.sources.index(first), 2 * self.sources.index(second)
        block = (self.scaled if scaled else self.plain)[group][a : a + 2, b : b + 2]
        return float((block[0, 1] + block[1, 0]) / 2 if first == second else block.mean())

    def squared_norm(self, source: str, group: str) -> float:
        """Mean squared norm of the half-batch gradients of a source, noise included."""
        at = 2 * self.sources.index(source)
        return float(np.diag(self.plain[group])[at : at + 2].mean())


def corrected_cosine(phase: Sequence[Products], first: str, second: str, group: str = ALL) -> float:
    """Cosine of expected gradients over the snapshots of a phase; may pass 1, NaN where a squared norm is not above 0.

    sum <a, b> / sqrt(sum <a, a> sum <b, b>).
    """
    above = sum(each.product(first, second, group) for each in phase)
    norms = [sum(each.product(name, name, group) for each in phase) for name in (first, second)]
    return above / math.sqrt(norms[0] * norms[1]) if min(norms) > 0 else math.nan


def norm_ratio(phase: Sequence[Products], group: str = ALL) -> float:
    """Norm of the pool's expected gradient over that of training reals; NaN where one is not above 0."""
    pool, train = (sum(each.product(name, name, group) for each in phase) for name in (POOL, TRAIN))
    return math.sqrt(pool / train) if min(pool, train) > 0 else math.nan


def influence(phase: Sequence[Products], source: str, group: str = ALL, *, scaled: bool = False) -> float:
    """sum <v, source> / sum <v, train> with v held out (Pruthi et al. 2020), at the weights of the snapshots.

    1: lowers the held-out loss as training reals do; below 0: raises it. ``scaled`` gives v AdamW's step sizes. NaN
    where training reals do not lower the held-out loss.
    """
    above, below = (sum(each.product(HELD_OUT, s, group, scaled=scaled) for each in phase) for s in (source, TRAIN))
    return above / below if below > 0 else math.nan


def noise_scale(phase: Sequence[Products], source: str, group: str = ALL) -> float:
    """Batch at which noise and signal of the gradient are equal, in samples (McCandlish et al. 2018).

    b (mean |a_i|^2 / <a, a> - 1) for halves of b samples; NaN where <a, a> is not above 0.
    """
    signal = sum(each.product(source, source, group) for each in phase)
    whole = sum(each.squared_norm(source, group) for each in phase)
    return phase[0].halves[source] * (whole / signal - 1) if signal > 0 else math.nan
