"""The synthesise stage: one pool of image-mask pairs from the generators of a fold, in an order that never changes.

Sample i depends on the seed and i alone, so a pool of 50 is the head of a pool of 500: batches have a fixed size and
fixed borders, and the samples of the last one that nobody asked for are dropped.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import Field

from medsweep.config import EXTENT, Config
from medsweep.data.folds import Fold
from medsweep.data.provenance import require_within, write_fitted_on
from medsweep.data.slices import SliceSet
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.trial import Progress, Trial
from trainers.pictures import grid_png
from trainers.stylegan2.data import training_rows
from trainers.stylegan2.sampler import Sampler, Samples, load_generator

BATCH = 16
SHOWN = 16
SLICE_RANGE = 5.0
"""Prepared slices lie within +-5; generated ones are clipped to the same range."""

SLICES_PER_PATIENT = 30
SECONDS_PER_SLICE = 0.5
"""For one generator of the default width at 256 px on one CPU core."""

ROLES = {"b-sg": ("joint",), "mc-sg": ("mask", "image"), "c-sg": ("image",)}
"""Input trials by pipeline: the generator of pairs, of masks, of images given masks."""


class SynthesiseSettings(Config):
    """The ``synthesise:`` section of a sweep, without the counts, which belong to its arms."""

    truncation: float = Field(default=1.0, ge=0, le=1)
    """How far latents keep from their mean (psi); 1 keeps the whole variety, 0 leaves one picture."""


class SynthesiseConfig(SynthesiseSettings):
    """One pool."""

    count: Annotated[int, Field(ge=1), EXTENT]
    unit: Literal["slices", "patients"]
    """What ``count`` counts; a synthetic patient has as many slices as a training patient on average."""
    pipeline: Literal["b-sg", "mc-sg", "c-sg"]
    """B-SG pairs; M-SG masks and C-SG images for them; C-SG images for the real masks of the training patients."""
    fold: Fold
    seed: int
    resolution: int = Field(ge=8)
    """Side of a slice in pixels."""


class _Source(Protocol):
    def __call__(self, first: int) -> Samples:
        """Samples ``first`` to ``first + BATCH``."""


def hours(config: SynthesiseConfig) -> float:
    """Hours of one CPU core, a rough guess by resolution that does not know the width of the generators."""
    slices = config.count * (SLICES_PER_PATIENT if config.unit == "patients" else 1)
    seconds = SECONDS_PER_SLICE * (config.resolution / 256) ** 2
    return slices * seconds * len(ROLES[config.pipeline]) / 3600


def run(config: SynthesiseConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Write a ``trainers.pool.Pool`` and a grid of its first pairs to ``trial.output``.

    Inputs: ``prepare``, and per pipeline ``joint`` (b-sg), ``mask`` and ``image`` (mc-sg) or ``image`` (c-sg).

    Raises:
        UserError: a generator was fitted to other slices or patients than the fold's training slices.
    """
    torch.set_num_threads(trial.threads)
    slices = SliceSet.open(inputs["prepare"])
    patients, rows = training_rows(slices, config.fold)
    per_patient = slices.slices_per_patient(patients)
    total = config.count * (per_patient if config.unit == "patients" else 1)
    require_within("prepare trial", inputs["prepare"], patients)
    for role in ROLES[config.pipeline]:
        require_within(f"{role} generator", inputs[role], patients)
    source = _source(config, inputs, slices, rows, trial.device)
    shape = (total, len(slices.modalities), slices.resolution, slices.resolution)
    images = open_memmap(trial.output / "images.npy", mode="w+", dtype=np.float32, shape=shape)
    masks = open_memmap(trial.output / "masks.npy", mode="w+", dtype=np.uint8, shape=(total, *shape[2:]))
    for first in range(0, total, BATCH):
        drawn, last = source(first), min(first + BATCH, total)
        images[first:last] = np.clip(drawn.images, -SLICE_RANGE, SLICE_RANGE)[: last - first]
        masks[first:last] = drawn.labels[: last - first]
        if last < total:
            yield Progress(step=last, total=total)
    images.flush()
    masks.flush()
    about = {"samples": total, "slices_per_patient": per_patient}
    (trial.output / "pool.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
    write_fitted_on(trial.output, patients)
    grid = grid_png(trial.output / "grid.png", images[:SHOWN], masks[:SHOWN], columns=4)
    yield Progress(step=total, total=total, pictures={"pairs": grid})


def _source(
    config: SynthesiseConfig, inputs: Mapping[str, Path], slices: SliceSet, rows: NDArray[np.int64], device: str
) -> _Source:
    generators = {role: load_generator(inputs[role], device) for role in ROLES[config.pipeline]}
    for role, generator in generators.items():
        _require_fit(role, generator, slices)
    seed = derive_seed("synthesise", config.fold.index, config.seed)
    if config.pipeline == "b-sg":
        return _Joint(generators["joint"], seed, config.truncation)
    image = generators["image"]
    if config.pipeline == "mc-sg":
        return _Chain(generators["mask"], image, seed, config.truncation)
    return _RealMasks(slices, rows, image, seed, config.truncation)


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
    seed: int
    truncation: float

    def __call__(self, first: int) -> Samples:
        return self.joint.sample(_latents(self.joint, self.seed, "joint", first), truncation=self.truncation)


@dataclass(frozen=True)
class _Chain:
    """MC-SG: a mask from M-SG, decoded to hard classes as C-SG has seen them, then an image for it from C-SG."""

    mask: Sampler
    image: Sampler
    seed: int
    truncation: float

    def __call__(self, first: int) -> Samples:
        made = self.mask.sample(_latents(self.mask, self.seed, "mask", first), truncation=self.truncation)
        z_ND = _latents(self.image, self.seed, "image", first)
        return self.image.sample(z_ND, made.labels, truncation=self.truncation)


@dataclass(frozen=True)
class _RealMasks:
    """C-SG alone: images for the real training masks, every mask once in a shuffled order, then all over again."""

    slices: SliceSet
    rows: NDArray[np.int64]
    image: Sampler
    seed: int
    truncation: float

    def __call__(self, first: int) -> Samples:
        chosen = [self._row(index) for index in range(first, first + BATCH)]
        labels = np.asarray(self.slices.masks[chosen])
        z_ND = _latents(self.image, self.seed, "image", first)
        return self.image.sample(z_ND, labels, truncation=self.truncation)

    def _row(self, index: int) -> int:
        cycle, place = divmod(index, len(self.rows))
        order = np.random.default_rng(derive_seed(self.seed, "masks", cycle)).permutation(len(self.rows))
        return int(self.rows[order[place]])
