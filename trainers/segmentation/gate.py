"""The gate of the synthetic loss: its weight follows how far synthetic samples ask for what real ones ask for.

Shapes: N images of a batch, K classes, R resolution in pixels, T steps.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsweep.identity import derive_seed
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trainers.segmentation.optimisation import Loss, over_levels
from medsweep.trainers.training.transfer import upload

EVERY: Final = 64
"""Steps between two looks. A look goes back through the batch four times."""
KEPT: Final = 0.8
"""Share of the running sums that is kept at a look."""
WEIGHTS: Final = "gate.npy"
"""What a gated training leaves: the weight of the synthetic loss at each step, float32 (T,)."""


class CosineGate:
    """Weight of the synthetic loss: cosine of its gradient with that of real training samples, from 0 to 1.

    After Du et al. 2018 (arXiv 1812.02224), with products of different halves of a batch alone, so that the noise of
    small batches does not make the cosine too low: the running sums of <r, s> over the root of those of <r, r> and of
    <s, s>. Batch normalisation still couples the halves. The weight is 1 until the first look, and stays where a sum
    is not above 0.
    """

    def __init__(self, steps: int) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)
        self._used = torch.zeros(steps)
        self.weight = 1.0

    def use(self, number: int) -> float:
        """The weight of step ``number`` (1, 2, ...)."""
        self._used[number - 1] = self.weight
        return self.weight

    def look(
        self, loss: Loss, levels: Sequence[Tensor], labels_NRR: Tensor, synthetic_N: NDArray[np.bool_],
        weights: Sequence[nn.Parameter],
    ) -> None:  # fmt: skip
        """Take in the gradients of a batch, whose graph is kept. It has two samples of each kind or more."""
        real, synthetic = (_halves(of_N) for of_N in (~synthetic_N, synthetic_N))
        gradients = [
            _gradient(over_levels(loss, [level[rows] for level in levels], labels_NRR[rows]), weights)
            for rows in (upload(torch.from_numpy(half), labels_NRR.device) for half in (*real, *synthetic))
        ]
        product = torch.tensor([[float(a @ b) for b in gradients] for a in gradients], dtype=torch.float64)
        found = torch.stack([product[:2, 2:].mean(), product[0, 1], product[2, 3]])
        self._sums = KEPT * self._sums + (1 - KEPT) * found
        both, of_real, of_synthetic = self._sums.tolist()
        if of_real > 0 and of_synthetic > 0:
            self.weight = min(max(both / math.sqrt(of_real * of_synthetic), 0.0), 1.0)

    @property
    def mean(self) -> float:
        """Over all steps, once all were taken."""
        return float(self._used.mean())

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"sums": self._sums.clone(), "used": self._used.clone(), "weight": self.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        self._sums, self._used, self.weight = state["sums"].clone(), state["used"].clone(), state["weight"]

    def save(self, folder: Path) -> None:
        """Write ``WEIGHTS``."""
        np.save(folder / WEIGHTS, self._used.numpy(), allow_pickle=False)


class ShuffledGate:
    """The control of a cosine gate: its weights in random order, which depends on fold and seed."""

    def __init__(self, config: SegmentConfig, gated: Path) -> None:
        """``gated`` is the output of the training with the cosine gate."""
        used_T = np.load(gated / WEIGHTS, allow_pickle=False)
        rng = np.random.default_rng(derive_seed("segment", "gate", config.fold.index, config.seed))
        self._weights_T: NDArray[np.float32] = rng.permutation(used_T)

    def use(self, number: int) -> float:
        """The weight of step ``number`` (1, 2, ...)."""
        return float(self._weights_T[number - 1])

    @property
    def mean(self) -> float:
        """Over all steps."""
        return float(self._weights_T.mean())


def _halves(of_N: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.flatnonzero(of_N)
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def _gradient(loss: Tensor, weights: Sequence[nn.Parameter]) -> Tensor:
    """All of it in one row; 0 of a weight that the loss does not depend on."""
    found = torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])
