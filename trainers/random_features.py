"""Features of images that no data shaped, for distances that cost little.

Shapes: N images, C modalities, D maps, R resolution in pixels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from medsweep.identity import derive_seed
from medsweep.trainers.precision import exact
from medsweep.trainers.segmentation.network import mean_and_sd

WIDTHS = (16, 32, 64)
"""Feature maps per level of the random network; each level halves the resolution."""


class RandomFeatures(nn.Module):
    """A feature space that no data shaped: mean and SD over space of each map of each level of a random network.

    (N, C, R, R) to (N, 2 sum(WIDTHS)), R at least 8. 3x3 convolutions with the normal weights of He et al. 2015
    (eq. 10), leaky ReLU, 2x2 averaging. Weights depend on C alone, so that values can be compared between datasets
    with the same number of modalities.
    """

    def __init__(self, channels: int):
        super().__init__()
        random = torch.Generator().manual_seed(derive_seed("assess", "random-features", channels))
        for level, (inputs, outputs) in enumerate(zip((channels, *WIDTHS), WIDTHS, strict=False)):
            weight = torch.randn(outputs, inputs, 3, 3, generator=random) * (2 / (9 * inputs)) ** 0.5
            self.register_buffer(f"weight_{level}", weight)

    @exact()
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features of images ``x``, float32 on their device."""
        pooled = []
        for level, weight in enumerate(self.buffers()):
            x = _halved(x) if level else x
            x = functional.leaky_relu(functional.conv2d(x, weight, padding=1), 0.2)
            pooled.append(mean_and_sd(x))
        return torch.cat(pooled, dim=1)


def _halved(x_NDRR: Tensor) -> Tensor:
    """Means of 2 x 2 pixels; on a CPU several times faster than ``avg_pool2d``."""
    even = x_NDRR.shape[-1] // 2 * 2
    rows = x_NDRR[:, :, :even:2] + x_NDRR[:, :, 1:even:2]
    return (rows[..., :even:2] + rows[..., 1:even:2]) / 4
