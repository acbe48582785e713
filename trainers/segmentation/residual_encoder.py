"""A U-Net with a residual encoder, which answers at several sizes while it trains.

Isensee et al. 2024 (arXiv 2404.09556, "ResEnc"), out of MONAI's blocks. Shapes: N images, C modalities, K classes, R
resolution in pixels.
"""

from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

BLOCKS: Final = (1, 3, 4)
"""Residual blocks of the first levels on the way down."""
DEEPER_BLOCKS: Final = 6
"""Those of each further level."""
SLOPE: Final = 0.01

_NORM: Final = ("instance", {"affine": True})


class ResidualEncoderUNet(nn.Module):
    """Levels from R down to R / 2^(n-1) for n widths, with instance normalisation and leaky ReLU.

    Down: a strided residual block opens a level. Up: a transposed convolution, the level's features from the way down,
    and one convolution. In training there are logits of all levels but the lowest two (supplement of Isensee et al.
    2021).
    """

    def __init__(self, modalities: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _convolution(modalities, widths[0])
        self.encoder = nn.ModuleList()
        for level, (narrow, wide) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            blocks = BLOCKS[level] if level < len(BLOCKS) else DEEPER_BLOCKS
            self.encoder.append(_down(narrow, wide, blocks, stride=2 if level else 1))
        self.decoder = nn.ModuleList(_Up(wide, narrow) for narrow, wide in reversed(list(pairwise(widths))))
        supervised = max(1, len(widths) - 2)
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths[:supervised])
        """Of the levels from the finest on."""
        self.layers = (f"encoder.{len(widths) - 1}", *(f"decoder.{number}" for number in range(len(self.decoder))))
        """Names of the deepest level and of the stages on the way up."""
        self.apply(_initialise)

    def forward(self, images_NCRR: Tensor) -> Tensor | list[Tensor]:
        """Logits (N, K, R, R), or in training a list of them from R down."""
        x, seen = self.stem(images_NCRR), []
        for level in self.encoder:
            x = level(x)
            seen.append(x)
        ways_up = []
        for stage, skip in zip(self.decoder, reversed(seen[:-1]), strict=True):
            x = stage(x, skip)
            ways_up.append(x)
        if not self.training:
            logits_NKRR: Tensor = self.heads[0](x)
            return logits_NKRR
        return [head(of_level) for head, of_level in zip(self.heads, reversed(ways_up), strict=False)]


class _Up(nn.Module):
    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(wide, narrow, 2, stride=2)
        self.merge = _convolution(2 * narrow, narrow)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([self.enlarge(x), skip], dim=1))
        return merged


def _down(narrow: int, wide: int, blocks: int, stride: int) -> nn.Sequential:
    from monai.networks.blocks.dynunet_block import UnetResBlock

    shared: dict[str, Any] = {"spatial_dims": 2, "out_channels": wide, "kernel_size": 3, "norm_name": _NORM}
    first = UnetResBlock(in_channels=narrow, stride=stride, **shared)
    return nn.Sequential(first, *(UnetResBlock(in_channels=wide, stride=1, **shared) for _ in range(blocks - 1)))


def _convolution(narrow: int, wide: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(narrow, wide, 3, padding=1), nn.InstanceNorm2d(wide, affine=True), nn.LeakyReLU(SLOPE, inplace=True)
    )


def _initialise(module: nn.Module) -> None:
    """Normal weights of He et al. 2015 for this slope."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
