"""The kinds of augmentation by the value of ``gan.augment``, with all that the training has to know of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from medsweep.config import require_exhaustive
from medsweep.trainers.stylegan2.augment.ada import Ada
from medsweep.trainers.stylegan2.augment.diffaugment import DiffAugment
from medsweep.trainers.stylegan2.config import Augment, GanConfig
from medsweep.trainers.training.accumulation import Random

Augmentation = Callable[[Tensor, Random, Tensor], Tensor]
"""Distorts a batch of pairs (N, C, R, R), images first, then masks, with randomness from the second argument only.

The third is the 0-dimensional probability of each distortion; "none" and "diffaugment" do not read it.
"""


class AdaController:
    """Adapts how often D's inputs are distorted to how far D overfits (Karras et al. 2020b, arXiv 2006.06676).

    It moves p so that r_t, the mean sign of D on real pairs, comes to its target (section 3.1, eq. 1). p starts at 0,
    stays in [0, 1] and moves by 1 in ``kimg_per_unit`` thousand images at most. Nothing is read back from the device.
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
        self._signs = torch.zeros((), device=device)
        self._observed = 0

    @torch.no_grad()
    def observe(self, real_score_N: Tensor, step: int) -> None:
        """Take note of D's scores (N) of distorted real pairs, and move p if ``step`` (1, 2, ...) ends an interval."""
        self._signs += real_score_N.sign().sum()
        self._observed += len(real_score_N)
        if step % self.every_steps == 0:
            r_t = self._signs / self._observed
            self.p.add_((r_t - self.target).sign() * self.stride).clamp_(0, 1)
            self._signs.zero_()
            self._observed = 0

    def state_dict(self) -> dict[str, Any]:
        """p and what was observed in the interval under way."""
        return {"p": self.p.clone(), "signs": self._signs.clone(), "observed": self._observed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.p.copy_(state["p"])
        self._signs.copy_(state["signs"])
        self._observed = state["observed"]


@dataclass(frozen=True)
class AugmentKind:
    """One kind of augmentation."""

    make: Callable[[int, Tensor], Augmentation]
    """From the number of leading channels that are intensities, and the value (C, 1, 1) of each channel outside the
    slice."""
    first_p: Callable[[GanConfig], float]
    """The probability of each distortion at the first step."""
    controller: Callable[[GanConfig, str], AdaController] | None = None
    """What adapts p, on a device; None where p is fixed."""


def _unchanged(x_NCRR: Tensor, random: Random, p: Tensor) -> Tensor:
    return x_NCRR


def _controller(config: GanConfig, device: str) -> AdaController:
    return AdaController(config.ada_target, config.ada_kimg, config.batch_size, device=device)


AUGMENT_KINDS: Final[dict[Augment, AugmentKind]] = {
    "none": AugmentKind(lambda image_channels, fill: _unchanged, lambda config: 0.0),
    "diffaugment": AugmentKind(DiffAugment, lambda config: 1.0),
    "ada": AugmentKind(Ada, lambda config: 0.0, controller=_controller),
    "ada-fixed": AugmentKind(Ada, lambda config: config.ada_p),
}

require_exhaustive("AUGMENT_KINDS", AUGMENT_KINDS, Augment)
