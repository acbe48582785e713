"""From the values of slices to [-1, 1], the range of the images that the published constants are for, and back.

C modalities, N slices, R pixels.
"""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsweep.config import Config

TAILS_PERCENT = 0.5
"""Share of the pixels that lies beyond the range on either side: single bright pixels do not set the scale."""


class IntensityRange(Config):
    """The values of each modality that become -1 and 1; the default leaves images as they are."""

    low: tuple[float, ...] = (-1.0,)
    high: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, images_NCRR: NDArray[np.float32]) -> Self:
        """The central 99 % of the pixels of each modality.

        A modality without any spread there, such as one that is missing, is moved to 0 and not scaled.
        """
        limits = [TAILS_PERCENT, 100 - TAILS_PERCENT]
        low_C, high_C = np.array([np.percentile(images_NCRR[:, c], limits) for c in range(images_NCRR.shape[1])]).T
        flat_C = low_C == high_C
        return cls(low=tuple((low_C - flat_C).tolist()), high=tuple((high_C + flat_C).tolist()))

    def from_slices(self, images_NCRR: Tensor) -> Tensor:
        """Values of slices as the networks know them."""
        middle_C11, unit_C11 = self.affine(images_NCRR.device)
        return (images_NCRR - middle_C11) / unit_C11

    def to_slices(self, images_NCRR: Tensor) -> Tensor:
        """Values of the networks as those of slices."""
        middle_C11, unit_C11 = self.affine(images_NCRR.device)
        return images_NCRR * unit_C11 + middle_C11

    def affine(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """What 0 and the distance from 0 to 1 are in slices, float32 (C, 1, 1) each."""
        low_C11, high_C11 = (torch.tensor(ends, device=device)[:, None, None] for ends in (self.low, self.high))
        return (high_C11 + low_C11) / 2, (high_C11 - low_C11) / 2
