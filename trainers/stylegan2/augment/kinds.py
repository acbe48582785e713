"""The kinds of augmentation by the value of ``gan.augment``, with all that the training has to know of each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from torch import Tensor

from medsweep.config import require_exhaustive
from medsweep.trainers.stylegan2.augment.ada import Ada
from medsweep.trainers.stylegan2.augment.controller import AdaController
from medsweep.trainers.stylegan2.augment.diffaugment import DiffAugment
from medsweep.trainers.stylegan2.config import Augment, GanConfig
from medsweep.trainers.training.accumulation import Random


class Augmentation(Protocol):
    """Distorts a batch of pairs; N samples, C channels (images first, then masks), R pixels."""

    def __call__(self, x_NCRR: Tensor, random: Random, p: Tensor) -> Tensor:
        """Distorted pairs (N, C, R, R), with randomness from ``random`` only.

        ``p`` is the 0-dimensional probability of each distortion, on the device of ``x``; "none" and "diffaugment" do
        not read it.
        """


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
    reads: tuple[str, ...] = ()
    """Fields of ``gan:`` that no other kind reads."""


def unchanged(x_NCRR: Tensor, random: Random, p: Tensor) -> Tensor:
    """``x`` itself; nothing is drawn."""
    return x_NCRR


def _controller(config: GanConfig, device: str) -> AdaController:
    return AdaController(config.ada_target, config.ada_kimg, config.batch_size, device=device)


AUGMENT_KINDS: Final[dict[Augment, AugmentKind]] = {
    "none": AugmentKind(lambda image_channels, fill: unchanged, lambda config: 0.0),
    "diffaugment": AugmentKind(DiffAugment, lambda config: 1.0),
    "ada": AugmentKind(Ada, lambda config: 0.0, controller=_controller, reads=("ada_target", "ada_kimg")),
    "ada-fixed": AugmentKind(Ada, lambda config: config.ada_p, reads=("ada_p",)),
}

require_exhaustive("AUGMENT_KINDS", AUGMENT_KINDS, Augment)
