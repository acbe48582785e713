"""A trained diffusion model as it is published, and samples from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from medsweep.config import Config
from medsweep.trainers.diffusion import edm
from medsweep.trainers.diffusion.config import MASK_FORM, DiffusionConfig, DiffusionVariant
from medsweep.trainers.diffusion.network import Denoiser, DenoiserArchitecture
from medsweep.trainers.generation.intensity import IntensityRange
from medsweep.trainers.generation.masks import decode, encode
from medsweep.trainers.generation.start import differences
from medsweep.trainers.generators import GeneratedPairs, Sampling
from medsweep.trainers.precision import exact

WEIGHTS = "denoiser.safetensors"
CARD = "denoiser.json"


class ChannelScale(Config):
    """Mean and standard deviation of each channel of the training slices; a sample has mean 0 and SD ``DATA_SD``."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def of(cls, channels: Sequence[Tensor]) -> Self:
        """That of the channels of training slices, (n, R, R) each; one without any spread is not scaled."""
        sds = [channel.double().std(correction=0).item() for channel in channels]
        means = tuple(channel.double().mean().item() for channel in channels)
        return cls(mean=means, sd=tuple(sd or 1.0 for sd in sds))

    def inwards(self, channels_NCRR: Tensor) -> Tensor:
        """As the network knows them."""
        mean_C11, unit_C11 = self._affine(channels_NCRR.device)
        return (channels_NCRR - mean_C11) / unit_C11

    def outwards(self, channels_NCRR: Tensor) -> Tensor:
        """From what the network knows."""
        mean_C11, unit_C11 = self._affine(channels_NCRR.device)
        return channels_NCRR * unit_C11 + mean_C11

    def _affine(self, device: torch.device) -> tuple[Tensor, Tensor]:
        mean_C11, sd_C11 = (torch.tensor(part, device=device)[:, None, None] for part in (self.mean, self.sd))
        return mean_C11, sd_C11 / edm.DATA_SD


class DenoiserCard(Config):
    """All that is needed to rebuild a network and to read what it draws."""

    variant: DiffusionVariant
    architecture: DenoiserArchitecture
    modalities: int
    classes: int
    """Background included."""
    mask_clip_px: float
    intensity: IntensityRange
    """From the scale of images to values of slices."""
    scale: ChannelScale
    """From what the network draws to the scale of images and masks."""


@dataclass(frozen=True)
class DiffusionSampler:
    """A network whose samples depend on their own random numbers and masks alone: the noise that each starts from."""

    card: DenoiserCard
    network: Denoiser
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def numbers_per_sample(self) -> int:
        return self.card.architecture.channels * self.card.architecture.resolution**2

    @property
    def fitted_to(self) -> tuple[int, int, int]:
        return self.card.architecture.resolution, self.card.modalities, self.card.classes

    def with_sampling(self, sampling: Sampling) -> "DiffusionSampler":
        """The same network, drawing in other steps or with other guidance."""
        return replace(self, sampling=sampling)

    @exact()
    @torch.no_grad()
    def sample(
        self, numbers_NS: Tensor, labels_NRR: NDArray[np.uint8] | None = None, *, truncation: float = 1.0
    ) -> GeneratedPairs:
        """Pairs for random numbers; C-DM is given the masks, B-DM makes its own. ``truncation`` means nothing here.

        Raises:
            ValueError: masks are missing for C-DM or given to B-DM.
        """
        if (labels_NRR is None) == (self.card.variant == "c-dm"):
            received = "no masks" if labels_NRR is None else "masks"
            raise ValueError(f"{self.card.variant} was given {received}; only c-dm is sampled with masks")
        architecture = self.card.architecture
        device = next(self.network.parameters()).device
        sides = (architecture.resolution,) * 2
        numbers = numbers_NS.to(device).unflatten(1, (architecture.channels, *sides))
        condition = None if labels_NRR is None else self.encode(labels_NRR).to(device)
        drawn = edm.heun(lambda x, level_N: self._denoise(x, level_N, condition), numbers, self.sampling.steps)
        channels = self.card.scale.outwards(drawn)
        C = self.card.modalities
        images_NCRR = self.card.intensity.to_slices(channels[:, :C]).cpu().numpy()
        return GeneratedPairs(images_NCRR, decode(channels[:, C:].cpu().numpy()) if labels_NRR is None else labels_NRR)

    def _denoise(self, x: Tensor, level_N: Tensor, condition: Tensor | None) -> Tensor:
        """D(x; s | 0) + w (D(x; s | m) - D(x; s | 0)), classifier-free guidance (Ho and Salimans 2022)."""
        shown: Tensor = self.network(x, level_N, condition)
        if condition is None or self.sampling.guidance == 1:
            return shown
        hidden = self.network(x, level_N, torch.zeros_like(condition))
        return torch.lerp(hidden, shown, self.sampling.guidance)

    def encode(self, labels_NRR: NDArray[np.uint8]) -> Tensor:
        """Hard masks as the condition channels that C-DM was trained on, float32 (N, K, R, R)."""
        channels = encode(labels_NRR, self.card.classes, MASK_FORM, self.card.mask_clip_px)
        return torch.from_numpy(channels.astype(np.float16)).float()

    def save(self, folder: Path) -> None:
        """Write the weights and the card into ``folder``."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS)
        (folder / CARD).write_text(self.card.model_dump_json(indent=2) + "\n")


def load_denoiser(folder: Path, device: str = "cpu") -> DiffusionSampler:
    """The network published under ``folder``, ready for sampling on ``device``."""
    card = DenoiserCard.model_validate_json((folder / CARD).read_text())
    network = Denoiser(card.architecture)
    network.load_state_dict(load_file(folder / WEIGHTS))
    return DiffusionSampler(card, network.to(device).eval().requires_grad_(False))


def misfits(folder: Path, config: DiffusionConfig, modalities: int, classes: int) -> list[str]:
    """What keeps a training from beginning with the network published under ``folder``, a short text each."""
    card = DenoiserCard.model_validate_json((folder / CARD).read_text())
    wanted = DenoiserCard(
        variant=config.variant,
        architecture=DenoiserArchitecture.of(config, modalities, classes),
        modalities=modalities,
        classes=classes,
        mask_clip_px=config.mask_clip_px,
        intensity=card.intensity,
        scale=card.scale,
    )
    return differences(card, wanted)
