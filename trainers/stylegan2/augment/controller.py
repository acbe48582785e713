"""How strongly D's inputs are distorted, adapted to how far D overfits (Karras et al. 2020b, arXiv 2006.06676)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class AdaController:
    """Moves p so that r_t, the mean sign of D on real pairs, comes to its target (section 3.1, eq. 1).

    p starts at 0, stays in [0, 1] and moves by 1 in ``kimg_per_unit`` thousand images at most. Nothing is read back
    from the device.
    """

    def __init__(
        self, target: float, kimg_per_unit: float, batch_size: int, every_steps: int = 4, *, device: str = "cpu"
    ):
        self.target = target
        self.every_steps = every_steps
        self.stride = batch_size * every_steps / (kimg_per_unit * 1000)
        """How far p moves in one update."""
        self.p = torch.zeros((), device=device)
        """Probability of each distortion, 0-dimensional; always the same tensor, changed in place."""
        self.r_t = torch.zeros((), device=device)
        """Mean sign of D on the real pairs of the last interval; 0 before the first update."""
        self._signs = torch.zeros((), device=device)
        self._observed = 0

    @torch.no_grad()
    def observe(self, real_score_N: Tensor) -> None:
        """Take note of D's scores (N) of distorted real pairs."""
        self._signs += real_score_N.sign().sum()
        self._observed += len(real_score_N)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move p if ``step`` (1, 2, ...) ends an interval.

        Raises:
            RuntimeError: no score was observed in the interval.
        """
        if step % self.every_steps:
            return
        if not self._observed:
            raise RuntimeError(f"no score of a real pair was observed in the {self.every_steps} steps up to {step}")
        self.r_t.copy_(self._signs / self._observed)
        self.p.add_((self.r_t - self.target).sign() * self.stride).clamp_(0, 1)
        self._signs.zero_()
        self._observed = 0

    def state_dict(self) -> dict[str, Any]:
        """p, r_t and what was observed in the interval under way."""
        return {
            "p": self.p.clone(),
            "r_t": self.r_t.clone(),
            "signs": self._signs.clone(),
            "observed": self._observed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Return to what ``state_dict`` returned."""
        self.p.copy_(state["p"])
        self.r_t.copy_(state["r_t"])
        self._signs.copy_(state["signs"])
        self._observed = state["observed"]
