"""The generator of SPADE (Park et al. 2019, arXiv 1903.07291): a mask scales and shifts normalised features everywhere.

Beside the same D, losses, augmentation and averaging as C-SG it is C-SG's plain peer. It departs from the paper where
that is needed for it: weights are equalised and not spectrally normalised, features are normalised by sample and not by
batch, so that a sample depends on itself alone, the last layer is linear, and masks shrink as C-SG's do.

N samples, C channels, K condition channels, D latent dimensions, r a resolution from 4 to R.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.trainers.stylegan2.architecture import LOWEST, SPADE_HIDDEN, Architecture
from medsweep.trainers.stylegan2.conditioning import pyramid
from medsweep.trainers.stylegan2.layers import LRELU_GAIN, SLOPE, EqualisedConv, EqualisedLinear
from medsweep.trainers.stylegan2.networks import Generator, LatentGenerator, MappingNetwork


class QuietConv(EqualisedConv):
    """A convolution that begins at 0."""

    def draw(self, generator: torch.Generator) -> None:
        nn.init.zeros_(self.weight)


class MaskedNorm(nn.Module):
    """norm(x) (1 + gamma(m)) + beta(m) (Park et al. 2019, eq. 1), where gamma and beta share their first layer."""

    def __init__(self, channels: int, condition_channels: int):
        super().__init__()
        hidden = min(SPADE_HIDDEN, channels)
        self.shared = EqualisedConv(condition_channels, hidden, 3, gain=LRELU_GAIN)
        self.scale_shift = QuietConv(hidden, 2 * channels, 3)

    def forward(self, x: Tensor, condition_NKrr: Tensor) -> Tensor:
        h = functional.relu(self.shared(condition_NKrr))
        gamma, beta = self.scale_shift(h).chunk(2, dim=1)
        return torch.addcmul(beta, functional.instance_norm(x), 1 + gamma)


class MaskedBlock(nn.Module):
    """Two masked norms, each before a 3x3 convolution, beside a skip; both branches times sqrt(1/2)."""

    def __init__(self, inputs: int, outputs: int, condition_channels: int):
        super().__init__()
        middle = min(inputs, outputs)
        self.norm0 = MaskedNorm(inputs, condition_channels)
        self.conv0 = EqualisedConv(inputs, middle, 3)
        self.norm1 = MaskedNorm(middle, condition_channels)
        self.conv1 = EqualisedConv(middle, outputs, 3)
        self.norm_skip = self.skip = None
        if inputs != outputs:
            self.norm_skip = MaskedNorm(inputs, condition_channels)
            self.skip = EqualisedConv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, condition_NKrr: Tensor) -> Tensor:
        skipped = x if self.norm_skip is None or self.skip is None else self.skip(self.norm_skip(x, condition_NKrr))
        y = self.conv0(functional.leaky_relu(self.norm0(x, condition_NKrr), SLOPE))
        y = self.conv1(functional.leaky_relu(self.norm1(y, condition_NKrr), SLOPE))
        both: Tensor = (skipped + y) * math.sqrt(0.5)
        return both


class SpadeGenerator(LatentGenerator):
    """A latent becomes 4 x 4 features, and blocks with the mask double them up to the image."""

    def __init__(self, architecture: Architecture):
        super().__init__(architecture, MappingNetwork(architecture.latent_dim, 0))
        widths = [architecture.width(r) for r in architecture.resolutions]
        self.first = EqualisedLinear(architecture.latent_dim, widths[0] * LOWEST**2)
        inputs = [widths[0], *widths[:-1]]
        K = architecture.condition_channels
        self.blocks = nn.ModuleList(MaskedBlock(*sizes, K) for sizes in zip(inputs, widths, strict=True))
        self.last = EqualisedConv(widths[-1], architecture.channels, 3)

    def synthesise(self, w_NLD: Tensor, condition: Tensor | None, noise_NP: Tensor | None) -> Tensor:
        """Images (N, C, R, R) from normalised latents, one layer of them, and the condition (N, K, R, R)."""
        architecture = self.architecture
        levels = pyramid(condition, architecture.condition_resize)
        x: Tensor = self.first(w_NLD[:, 0]).unflatten(1, (-1, LOWEST, LOWEST))
        for r, block in zip(architecture.resolutions, self.blocks, strict=True):
            half = self.half_from is not None and r >= self.half_from
            if r > LOWEST:
                x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            with torch.autocast(x.device.type, torch.bfloat16, enabled=half):
                x = block(x, levels[r])
        image: Tensor = self.last(functional.leaky_relu(x.float(), SLOPE))
        return image


def generator_of(architecture: Architecture) -> LatentGenerator:
    """The generator that an architecture describes, with weights yet to be drawn."""
    return SpadeGenerator(architecture) if architecture.generator == "spade" else Generator(architecture)
