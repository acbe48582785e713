"""A trained generator as it is published, and samples from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from medsweep.config import Config
from medsweep.trainers.generation.intensity import IntensityRange
from medsweep.trainers.generation.masks import decode, encode
from medsweep.trainers.generation.start import differences
from medsweep.trainers.generators import GeneratedPairs, MaskForm
from medsweep.trainers.precision import exact
from medsweep.trainers.stylegan2.architecture import Architecture
from medsweep.trainers.stylegan2.config import PAINTERS, GanConfig, Variant
from medsweep.trainers.stylegan2.networks import LatentGenerator
from medsweep.trainers.stylegan2.spade import generator_of

WEIGHTS = "generator.safetensors"
CARD = "generator.json"


class GeneratorCard(Config):
    """All that is needed to rebuild a generator and to read what it emits."""

    variant: Variant
    architecture: Architecture
    modalities: int
    classes: int
    """Background included."""
    mask_form: MaskForm
    mask_clip_px: float
    intensity: IntensityRange
    """From what the network emits to values of slices."""

    @property
    def paints(self) -> bool:
        """Whether it is given masks."""
        return self.variant in PAINTERS


@dataclass(frozen=True)
class Sampler:
    """A generator whose samples depend on their own random numbers and masks alone: a latent, then the noise maps."""

    card: GeneratorCard
    network: LatentGenerator

    @property
    def numbers_per_sample(self) -> int:
        return self.card.architecture.latent_dim + sum(self.card.architecture.noise_pixels)

    @property
    def fitted_to(self) -> tuple[int, int, int]:
        return self.card.architecture.resolution, self.card.modalities, self.card.classes

    @exact()
    @torch.no_grad()
    def sample(
        self, numbers_NS: Tensor, labels_NRR: NDArray[np.uint8] | None = None, *, truncation: float = 1.0
    ) -> GeneratedPairs:
        """Pairs for random numbers; ``PAINTERS`` are given the masks, the others make their own.

        ``truncation`` pulls w towards its mean (Karras et al. 2019, appendix B); 1 leaves it as it is.

        Raises:
            ValueError: masks are missing for one of ``PAINTERS``, or given to another variant.
        """
        if (labels_NRR is None) == self.card.paints:
            received = "no masks" if labels_NRR is None else "masks"
            painters = " and ".join(sorted(PAINTERS))
            raise ValueError(f"{self.card.variant} was given {received}; only {painters} are sampled with masks")
        device = self.network.mapping.w_average.device
        latent_dim = self.card.architecture.latent_dim
        z_ND, noise_NP = numbers_NS.to(device).split([latent_dim, self.numbers_per_sample - latent_dim], dim=1)
        w_ND = torch.lerp(self.network.mapping.w_average, self.network.mapping(z_ND), truncation)
        condition = None if labels_NRR is None else self.encode(labels_NRR).to(device)
        out = self.network.synthesise(self.network.broadcast(w_ND), condition, noise_NP)
        C = 0 if self.card.variant == "m-sg" else self.card.modalities
        images_NCRR = self.card.intensity.to_slices(out[:, :C]).cpu().numpy() if C else None
        return GeneratedPairs(images_NCRR, decode(out[:, C:].cpu().numpy()) if labels_NRR is None else labels_NRR)

    def emit(self, numbers_NS: Tensor, condition: Tensor | None) -> Tensor:
        """What the network makes of random numbers and masks: images (N, C, R, R), or of M-SG the channels of masks."""
        latent_dim = self.card.architecture.latent_dim
        z_ND, noise_NP = numbers_NS.split([latent_dim, numbers_NS.shape[1] - latent_dim], dim=1)
        out: Tensor = self.network(z_ND, condition, noise_NP)
        return out if self.card.variant == "m-sg" else out[:, : self.card.modalities]

    def encode(self, labels_NRR: NDArray[np.uint8]) -> Tensor:
        """Hard masks as the condition channels that ``PAINTERS`` are trained on, float32 (N, K, R, R)."""
        channels = encode(labels_NRR, self.card.classes, self.card.mask_form, self.card.mask_clip_px)
        return torch.from_numpy(channels.astype(np.float16)).float()

    def save(self, folder: Path) -> None:
        """Write the weights and the card into ``folder``."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS)
        (folder / CARD).write_text(self.card.model_dump_json(indent=2) + "\n")


def load_generator(folder: Path, device: str = "cpu") -> Sampler:
    """The generator published under ``folder``, ready for sampling on ``device``."""
    card = GeneratorCard.model_validate_json((folder / CARD).read_text())
    network = generator_of(card.architecture)
    network.load_state_dict(load_file(folder / WEIGHTS))
    return Sampler(card, network.to(device).eval().requires_grad_(False))


def misfits(folder: Path, config: GanConfig, modalities: int, classes: int) -> list[str]:
    """What keeps a training from beginning with the generator published under ``folder``, a short text each."""
    card = GeneratorCard.model_validate_json((folder / CARD).read_text())
    of_d = ("minibatch_std_group", "discriminator_form")  # D begins afresh
    architecture = Architecture.of(config, modalities, classes)
    wanted = GeneratorCard(
        variant=config.variant,
        architecture=architecture.model_copy(update={name: getattr(card.architecture, name) for name in of_d}),
        modalities=modalities,
        classes=classes,
        mask_form=config.mask_form,
        mask_clip_px=config.mask_clip_px,
        intensity=card.intensity,
    )
    return differences(card, wanted)
