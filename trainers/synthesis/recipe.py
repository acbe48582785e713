"""How the pairs of a pool are made: one generator for pairs, masks and then images, or images for real masks.

A pipeline gives ``BATCH`` samples at a time, and sample i depends on the seed and i alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trainers.generators import GeneratorFamily, TrainedGenerator
from medsweep.trainers.synthesis.real_masks import RealMasks

BATCH = 16

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class PoolBatch:
    """``BATCH`` samples: images float32 (N, C, R, R), labels uint8 (N, R, R), and the masks as they were generated."""

    images: NDArray[np.float32]
    labels: Labels
    raw: Labels | None
    """None where masks are real."""


@dataclass(frozen=True)
class Recipe:
    """What the samples of one pool are made from; ``generators`` by role."""

    generators: Mapping[str, TrainedGenerator]
    real_masks: RealMasks
    seed: int
    truncation: float
    clean: Callable[[Labels], Labels]
    """What is done to generated masks before they are used."""

    def sample(self, role: str, first: int, labels: Labels | None = None) -> tuple[NDArray[np.float32] | None, Labels]:
        """Images and labels of samples ``first`` to ``first + BATCH`` from the generator of a role.

        Each sample has a generator of random numbers of its own, for its latent and its noise maps.
        """
        import torch

        generator = self.generators[role]
        randoms = [torch.Generator().manual_seed(derive_seed(self.seed, role, first + row)) for row in range(BATCH)]
        numbers_NS = torch.stack([torch.randn(generator.numbers_per_sample, generator=random) for random in randoms])
        samples = generator.sample(numbers_NS, labels, truncation=self.truncation)
        return samples.images, samples.labels


@dataclass(frozen=True)
class Pipeline:
    """How the pairs of a pool are made.

    Raises:
        UserError: ``make`` is one of ours, and the generators have other roles or ``paints_real_masks`` is not its own.
    """

    generators: Mapping[str, tuple[GeneratorFamily, str]]
    """Family and variant of each generator, by the role in which it is read."""
    make: Callable[[Recipe, int], PoolBatch]
    """Samples ``first`` to ``first + BATCH``."""
    paints_real_masks: bool = False

    def __post_init__(self) -> None:
        if (roles := READ_BY.get(self.make)) is None:
            return
        made, paints = self.make.__name__, self.make is images_for_real_masks
        if set(self.generators) != roles:
            needed, given = (", ".join(sorted(names)) or "none" for names in (roles, self.generators))
            raise UserError(f"a pipeline of {made} reads generators by the names {needed}, got {given}")
        if self.paints_real_masks != paints:
            raise UserError(f"a pipeline of {made} needs paints_real_masks={paints}, got {self.paints_real_masks}")

    @property
    def stepwise(self) -> bool:
        """Whether a generator of it comes to a sample in steps."""
        return any(family.stepwise for family, _ in self.generators.values())

    @property
    def guided(self) -> bool:
        """Whether such a generator is given masks, as those in the roles ``joint`` and ``mask`` never are."""
        return any(family.stepwise for role, (family, _) in self.generators.items() if role not in ("joint", "mask"))

    @property
    def truncated(self) -> bool:
        """Whether a generator of it draws a latent, which can be kept near the mean."""
        return any(not family.stepwise for family, _ in self.generators.values())


def pairs(recipe: Recipe, first: int) -> PoolBatch:
    """One latent gives the pair."""
    images, raw = recipe.sample("joint", first)
    return PoolBatch(_images(images), recipe.clean(raw), raw)


def masks_then_images(recipe: Recipe, first: int) -> PoolBatch:
    """A mask, decoded to hard classes as the generator of images has seen them, then an image for it."""
    _, raw = recipe.sample("mask", first)
    labels = recipe.clean(raw)
    images, _ = recipe.sample("image", first, labels)
    return PoolBatch(_images(images), labels, raw)


def images_for_real_masks(recipe: Recipe, first: int) -> PoolBatch:
    """An image for each real mask."""
    labels = recipe.real_masks(range(first, first + BATCH))
    images, _ = recipe.sample("image", first, labels)
    return PoolBatch(_images(images), labels, None)


READ_BY: Final[Mapping[Callable[[Recipe, int], PoolBatch], set[str]]] = {
    pairs: {"joint"},
    masks_then_images: {"mask", "image"},
    images_for_real_masks: {"image"},
}
"""The roles of the generators that each way reads."""


def _images(images: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert images is not None, "a generator of masks alone is read in the role of one that makes images"
    return images
