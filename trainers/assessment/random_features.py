"""A feature space that no data shaped: a convolutional network with fixed random weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.identity import derive_seed

WIDTHS = (16, 32, 64)
"""Feature maps per level; each level halves the resolution."""


class RandomFeatures(nn.Module):
    """Mean and standard deviation over space of each map of each level: (N, C, R, R) to (N, 2 sum(WIDTHS)).

    3x3 convolutions with the normal weights of He et al. 2015 (eq. 10), leaky ReLU, 2x2 averaging. Weights depend on
    C alone, so that values can be compared between datasets with the same number of modalities. R is at least 8.
    """

    def __init__(self, channels: int):
        super().__init__()
        generator = torch.Generator().manual_seed(derive_seed("assess", "random-features", channels))
        for level, (inputs, outputs) in enumerate(zip((channels, *WIDTHS), WIDTHS, strict=False)):
            weight = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
            self.register_buffer(f"weight_{level}", weight)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        pooled = []
        for weight in self.buffers():
            x = functional.leaky_relu(functional.conv2d(x, weight, padding=1), 0.2)
            flat = x.flatten(start_dim=2)
            pooled += [flat.mean(dim=2), flat.std(dim=2, correction=0)]
            x = functional.avg_pool2d(x, 2)
        return torch.cat(pooled, dim=1)
