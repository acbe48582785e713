"""Where the samples of a pool come from: one generator of pairs, masks and then images, or images for real masks.

Every source gives ``BATCH`` samples at a time, and sample i depends on the seed and i alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.stylegan2.sampler import Sampler, load_generator
from medsweep.trainers.synthesis.real_masks import RealMasks

BATCH = 16

ROLES = {"b-sg": ("joint",), "mc-sg": ("mask", "image"), "c-sg": ("image",)}
"""Input trials by pipeline: the generator of pairs, of masks, of images given masks."""

Labels = NDArray[np.uint8]
Clean = Callable[[Labels], Labels]
"""What is done to generated masks before they are used."""


@dataclass(frozen=True)
class Batch:
    """``BATCH`` samples: images float32 (N, C, R, R), labels uint8 (N, R, R), and the masks as they were generated."""

    images: NDArray[np.float32]
    labels: Labels
    raw: Labels | None
    """None where masks are real."""


class Source(Protocol):
    """Gives the samples of a pool in their order."""

    def __call__(self, first: int) -> Batch:
        """Samples ``first`` to ``first + BATCH``."""


@dataclass(frozen=True)
class Recipe:
    """What all sources share."""

    seed: int
    truncation: float
    clean: Clean


def make_source(
    pipeline: str,
    inputs: Mapping[str, Path],
    *,
    slices: SliceSet,
    real: RealMasks,
    device: str,
    recipe: Recipe,
) -> Source:
    """The source of a pipeline, from its trained generators; ``real`` are the masks that C-SG alone paints.

    Raises:
        UserError: a generator was fitted to other slices.
    """
    generators = {role: load_generator(inputs[role], device) for role in ROLES[pipeline]}
    for role, generator in generators.items():
        _require_fit(role, generator, slices)
    if pipeline == "b-sg":
        return _Joint(generators["joint"], recipe)
    if pipeline == "mc-sg":
        return _Chain(generators["mask"], generators["image"], recipe)
    return _Painted(real, generators["image"], recipe)


def _require_fit(role: str, generator: Sampler, slices: SliceSet) -> None:
    card = generator.card
    made_for = (card.architecture.resolution, card.modalities, card.classes)
    prepared = (slices.resolution, len(slices.modalities), len(slices.classes))
    if made_for != prepared:
        raise UserError(
            f"the {role} generator was fitted to (pixels, modalities, classes) = {made_for}, the prepared slices have "
            f"{prepared}; train it again on these slices"
        )


def _latents(generator: Sampler, seed: int, purpose: str, first: int) -> torch.Tensor:
    """Latents of samples ``first`` to ``first + BATCH``, each from a generator of its own; (BATCH, D)."""
    each = [
        torch.randn(
            generator.latent_dim,
            generator=torch.Generator().manual_seed(derive_seed(seed, purpose, index)),
        )
        for index in range(first, first + BATCH)
    ]
    return torch.stack(each)


@dataclass(frozen=True)
class _Joint:
    """B-SG: one latent gives the pair."""

    joint: Sampler
    recipe: Recipe

    def __call__(self, first: int) -> Batch:
        z_ND = _latents(self.joint, self.recipe.seed, "joint", first)
        made = self.joint.sample(z_ND, truncation=self.recipe.truncation)
        return Batch(_images(made.images), self.recipe.clean(made.labels), made.labels)


@dataclass(frozen=True)
class _Chain:
    """MC-SG: a mask from M-SG, decoded to hard classes as C-SG has seen them, then an image for it from C-SG."""

    mask: Sampler
    image: Sampler
    recipe: Recipe

    def __call__(self, first: int) -> Batch:
        recipe = self.recipe
        made = self.mask.sample(_latents(self.mask, recipe.seed, "mask", first), truncation=recipe.truncation)
        labels = recipe.clean(made.labels)
        z_ND = _latents(self.image, recipe.seed, "image", first)
        painted = self.image.sample(z_ND, labels, truncation=recipe.truncation)
        return Batch(_images(painted.images), labels, made.labels)


@dataclass(frozen=True)
class _Painted:
    """C-SG alone: images for real masks."""

    real: RealMasks
    image: Sampler
    recipe: Recipe

    def __call__(self, first: int) -> Batch:
        labels = self.real(range(first, first + BATCH))
        z_ND = _latents(self.image, self.recipe.seed, "image", first)
        made = self.image.sample(z_ND, labels, truncation=self.recipe.truncation)
        return Batch(_images(made.images), labels, None)


def _images(images: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if images is None:
        raise UserError("a generator of masks alone cannot fill a pool of pairs; its trial belongs to the role 'mask'")
    return images
