"""How networks are shown a mask: resampled to every resolution, added, joined, as scale and shift, or in the score.

N samples, I input and O output channels, K condition channels, R pixels of a side, r any resolution from 4 to R, D
latent dimensions. m_r is the condition at resolution r.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.trainers.stylegan2.architecture import LOWEST
from medsweep.trainers.stylegan2.config import GeneratorForm, Resize
from medsweep.trainers.stylegan2.layers import LRELU_GAIN, EqualisedLinear, SeededModule, constant


def pyramid(condition_NKRR: Tensor | None, resize: Resize = "area") -> dict[int, Tensor]:
    """The condition at every resolution from R down to 4; empty where there is none.

    ``area`` is the exact mean over R/r x R/r pixels, so class fractions and thin structures survive; ``nearest`` keeps
    the pixel next to the centre of each such square and drops what is thinner.
    """
    if condition_NKRR is None:
        return {}
    R = condition_NKRR.shape[-1]
    levels = {R: condition_NKRR}
    for step in (2**power for power in range(1, (R // LOWEST).bit_length())):
        if resize == "nearest":
            levels[R // step] = condition_NKRR[..., step // 2 :: step, step // 2 :: step]
        else:
            levels[R // step] = functional.avg_pool2d(levels[2 * R // step], 2)
    return levels


class AddedMask(SeededModule):
    """y + g E(m_r): E a 1x1 convolution without bias, g a learned number that starts at 0."""

    weight_gain: Tensor

    def __init__(self, condition_channels: int, outputs: int):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))
        self.weight = nn.Parameter(torch.empty(outputs, condition_channels, 1, 1))
        constant(self, "weight_gain", LRELU_GAIN / math.sqrt(condition_channels))

    def forward(self, y_NOrr: Tensor, condition_NKrr: Tensor) -> Tensor:
        return y_NOrr + functional.conv2d(condition_NKrr, self.weight * (self.gain * self.weight_gain))


class AffineMask(nn.Module):
    """y (1 + gamma(m_r)) + beta(m_r): SPADE (Park et al. 2019, eq. 1) without its normalisation, which demodulation is.

    gamma and beta are equalised 1x1 convolutions without bias that start at 0.
    """

    weight_gain: Tensor

    def __init__(self, condition_channels: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * outputs, condition_channels, 1, 1))
        constant(self, "weight_gain", 1 / math.sqrt(condition_channels))

    def forward(self, y_NOrr: Tensor, condition_NKrr: Tensor) -> Tensor:
        gamma_NOrr, beta_NOrr = functional.conv2d(condition_NKrr, self.weight * self.weight_gain).chunk(2, dim=1)
        return torch.addcmul(y_NOrr + beta_NOrr, y_NOrr, gamma_NOrr)


def injection_of(form: GeneratorForm, condition_channels: int, outputs: int) -> nn.Module | None:
    """What changes the output of a convolution of G; None where nothing is shown or the next one reads the mask."""
    if not condition_channels or form == "concat":
        return None
    return AddedMask(condition_channels, outputs) if form == "add" else AffineMask(condition_channels, outputs)


class MaskProjection(nn.Module):
    """<hidden, E(m_4)> / sqrt(width), E an equalised linear map of m_4 (Miyato and Koyama 2018, eq. 3)."""

    def __init__(self, condition_channels: int, width: int):
        super().__init__()
        self.embedding = EqualisedLinear(condition_channels * LOWEST**2, width)

    def forward(self, hidden_NI: Tensor, condition_NK44: Tensor) -> Tensor:
        """What the mask adds to the score, (N,)."""
        embedded_NI: Tensor = self.embedding(condition_NK44.flatten(1))
        return (hidden_NI * embedded_NI).sum(dim=1) / math.sqrt(hidden_NI.shape[1])
