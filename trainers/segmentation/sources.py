"""Real and synthetic samples of a batch taken apart: normalisation of their own, and the weight of the synthetic loss.

Shapes: N images, K classes, R resolution in pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medsweep.trainers.segmentation.config import Normalise
from medsweep.trainers.segmentation.optimisation import Loss, levels_of
from medsweep.trainers.training.transfer import upload


class SplitNormalisation:
    """Passes real and synthetic samples through a network apart, so that each are normalised by their own statistics.

    Running statistics, which tests use, are those of real samples. With ``split-affine`` synthetic samples also have
    scale and shift of their own in every batch normalisation, which nothing reads after training (dual batch
    normalisation: Xie et al. 2020, arXiv 1911.09665; affine parameters carry most of it: arXiv 2403.19150).
    """

    def __init__(self, model: nn.Module, normalise: Normalise) -> None:
        """Beside ``model``; own scales and shifts begin as copies of those of the model.

        Raises:
            ValueError: the model has no batch normalisation.
        """
        self._model = model
        norms = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
        if not norms:
            raise ValueError("the network has no batch normalisation that could be split")
        self._norms = list(norms.values())
        affine = normalise == "split-affine"
        self.own: dict[str, nn.Parameter] = {
            f"{name}.{part}": nn.Parameter(value.detach().clone())
            for name, module in norms.items()
            for part, value in module.named_parameters(recurse=False)
            if affine
        }
        """Parameters of synthetic samples alone, by their name in the model."""

    def __call__(self, images_NCRR: Tensor, synthetic_N: NDArray[np.bool_]) -> tuple[Tensor, ...]:
        """Logits of each level, the finest (N, K, R, R) first, in the order of the images."""
        order: list[Tensor] = []
        logits: list[tuple[Tensor, ...]] = []
        for of_source_N in (~synthetic_N, synthetic_N):
            if of_source_N.any():
                rows = _rows(of_source_N, images_NCRR.device)
                order.append(rows)
                logits.append(self._pass(images_NCRR[rows], synthetic=of_source_N is synthetic_N))
        places = torch.argsort(torch.cat(order))
        return tuple(torch.cat(level)[places] for level in zip(*logits, strict=True))

    def _pass(self, images: Tensor, *, synthetic: bool) -> tuple[Tensor, ...]:
        if not synthetic:
            return levels_of(self._model(images))
        with _standing_still(self._norms):
            return levels_of(torch.func.functional_call(self._model, dict(self.own), images))


def loss_by_source(
    loss: Loss, logits_NKRR: Tensor, labels_NRR: Tensor, synthetic_N: NDArray[np.bool_], weight: float
) -> Tensor:
    """The loss of real and that of synthetic samples, each by its share of the batch, the latter times ``weight``."""
    share = float(synthetic_N.mean())
    parts = []
    for of_source_N, factor in ((~synthetic_N, 1 - share), (synthetic_N, weight * share)):
        if of_source_N.any():
            rows = _rows(of_source_N, logits_NKRR.device)
            parts.append(factor * loss(logits_NKRR[rows], labels_NRR[rows]))
    return torch.stack(parts).sum()


def _rows(chosen_N: NDArray[np.bool_], device: torch.device) -> Tensor:
    return upload(torch.from_numpy(np.flatnonzero(chosen_N)), device)


@contextmanager
def _standing_still(norms: list[_BatchNorm]) -> Iterator[None]:
    """Normalise by the batch and leave the running statistics as they are."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
