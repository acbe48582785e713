"""From the setting ``gan.augment`` to a function that the learner calls in one way."""

from typing import Protocol

from torch import Tensor

from medsweep.trainers.stylegan2.augment.ada import Ada
from medsweep.trainers.stylegan2.augment.diffaugment import DiffAugment
from medsweep.trainers.stylegan2.config import GanConfig
from medsweep.trainers.training.accumulation import Random


class Augmentation(Protocol):
    """Distorts a batch of pairs; N samples, C channels (images first, then masks), R pixels."""

    def __call__(self, x_NCRR: Tensor, random: Random, p: Tensor) -> Tensor:
        """Distorted pairs (N, C, R, R), with randomness from ``random`` only.

        ``p`` is the 0-dimensional probability of each distortion, on the device of ``x``; "none" and "diffaugment" do
        not read it.
        """


def make_augment(config: GanConfig, image_channels: int, fill: Tensor) -> Augmentation:
    """The augmentation a trial asks for.

    ``image_channels`` is the number of leading channels that are intensities; ``fill`` (C, 1, 1) is the value of each
    channel outside the slice.
    """
    if config.augment == "none":
        return unchanged
    if config.augment == "diffaugment":
        return DiffAugment(image_channels, fill)
    return Ada(image_channels, fill)


def first_p(config: GanConfig) -> float:
    """The probability of each distortion at the first step; "ada" starts without any and adapts."""
    return {"none": 0.0, "diffaugment": 1.0, "ada": 0.0, "ada-fixed": config.ada_p}[config.augment]


def unchanged(x_NCRR: Tensor, random: Random, p: Tensor) -> Tensor:
    """``x`` itself; nothing is drawn."""
    return x_NCRR
