"""The network of a diffusion model: MONAI's ``DiffusionModelUNet``, preconditioned, beside a mask or without one.

N samples, C channels of a sample, K channels of a condition, R pixels.
"""

from functools import cache
from itertools import count, takewhile

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from medsweep.config import Config
from medsweep.trainers.diffusion import edm
from medsweep.trainers.diffusion.config import GROUPS, LOWEST, DiffusionConfig


class DenoiserArchitecture(Config):
    """All that the shape of the network depends on."""

    resolution: int
    channels: int
    """Channels of a sample: modalities, and mask channels where it draws them."""
    condition_channels: int
    """Mask channels beside them; 0 where there is no condition."""
    width: int
    blocks: int

    @classmethod
    def of(cls, config: DiffusionConfig, modalities: int, classes: int) -> "DenoiserArchitecture":
        """The network for slices with ``modalities`` images and ``classes`` classes, background included."""
        conditional = config.variant == "c-dm"
        return cls(
            resolution=config.resolution,
            channels=modalities + (0 if conditional else classes),
            condition_channels=classes if conditional else 0,
            width=config.width,
            blocks=config.blocks,
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature maps of each level, from R down to ``LOWEST`` pixels."""
        levels = len(list(takewhile(lambda level: self.resolution >> level >= LOWEST, count())))
        widest = 2 if self.resolution <= 64 else 4
        return tuple(self.width * min(2**level, widest) for level in range(levels))


class Denoiser(nn.Module):
    """D(x; s | m): what a noisy sample was before the noise, for C-DM beside its mask."""

    def __init__(self, architecture: DenoiserArchitecture):
        # Here and not above: MONAI imports a hundred packages, and a plan needs none of them.
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

        super().__init__()
        self.architecture = architecture
        widths = architecture.widths
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=architecture.channels + architecture.condition_channels,
            out_channels=architecture.channels,
            num_res_blocks=architecture.blocks,
            channels=widths,
            attention_levels=[False] * len(widths),  # the level below all of them attends in any case
            norm_num_groups=GROUPS,
            num_head_channels=architecture.width,
        )

    def forward(self, x: Tensor, level_N: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, C, R, R) from a noisy sample, its noise level, and its mask (N, K, R, R), all 0 where it is hidden."""

        def network(x: Tensor, noise_N: Tensor) -> Tensor:
            seen: Tensor = self.unet(x if condition is None else torch.cat([x, condition], dim=1), noise_N)
            return seen

        return edm.denoised(network, x, level_N)


def build(architecture: DenoiserArchitecture, seed: int) -> Denoiser:
    """A network with fresh weights that depend on ``seed`` and the architecture alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Denoiser(architecture)


@cache
def macs(architecture: DenoiserArchitecture) -> float:
    """Multiply-adds of one sample through a network, counted and not run."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = Denoiser(architecture).requires_grad_(False)
        sides = (architecture.resolution,) * 2
        condition = torch.zeros(1, architecture.condition_channels, *sides) if architecture.condition_channels else None
        network(torch.zeros(1, architecture.channels, *sides), torch.ones(1), condition)
    return float(counter.get_total_flops()) / 2
