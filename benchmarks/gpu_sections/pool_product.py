"""All that the sections know of pools: making one from a generator, and what a segmenter says of it.

n samples, R pixels, D features.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from slices_made_up import made_up
from torch import nn

from gpu_sections.gan_product import CLASSES, Gan, config_of, plan
from medsweep.trainers import precision
from medsweep.trainers.assessment.masks import mean_iou
from medsweep.trainers.measures.frechet import frechet
from medsweep.trainers.measures.kernels import kid
from medsweep.trainers.segmentation.network import SegmenterArchitecture, build, features, predict
from medsweep.trainers.synthesis.pipelines import PIPELINES
from medsweep.trainers.synthesis.recipe import BATCH, Recipe

SEED = 5
PERMUTATIONS = 20


@dataclass(frozen=True)
class Judged:
    """A pool and what a segmenter sees in it and in real slices."""

    images: np.ndarray
    """(n, 1, R, R)"""
    features: np.ndarray
    """(n, D)"""
    classes: np.ndarray
    """(n, R, R)"""
    metrics: dict[str, float]


@contextmanager
def products(precise: bool) -> Iterator[None]:
    """Products as stages take them in a process that is set to TF32, or in TF32 where stages ask for exact ones too."""
    rounding = precision.rounding
    if not precise:
        precision.rounding = lambda *, tf32: rounding(tf32=True)
    try:
        with rounding(tf32=True):
            yield
    finally:
        precision.rounding = rounding


def generator(device: str, resolution: int, **settings: Any) -> Any:
    """A generator with random weights, none of them 0, as it is published."""
    gan = Gan(config_of("b-sg", resolution, **settings), plan(device, resolution, half_from=None))
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weight in gan.networks.mean_g.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=random).to(weight.device))
    return gan.learner.sampler


def pool(sampler: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and masks of the first ``count`` samples, made as the synthesise stage makes them."""
    recipe = Recipe({"joint": sampler}, None, SEED, 1.0, lambda labels: labels)  # no pipeline of pairs reads real masks
    batches = [PIPELINES["b-sg"].make(recipe, first) for first in range(0, count, BATCH)]
    images, labels = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("images", "labels"))
    return images[:count], labels[:count]


def digest(arrays: tuple[np.ndarray, np.ndarray]) -> str:
    """SHA-256 of a pool."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def segmenter(device: str, toy: bool) -> nn.Module:
    """A U-Net with random weights."""
    channels = (8, 16, 32) if toy else (16, 32, 64, 128)
    architecture = SegmenterArchitecture(modalities=1, classes=CLASSES, channels=channels, residual_units=2)
    return build(architecture, SEED).to(device).eval()


def judge(model: nn.Module, images: np.ndarray, masks: np.ndarray) -> Judged:
    """Features, classes and metrics as the assess stage takes them."""
    real = torch.from_numpy(made_up(len(images), images.shape[-1])[0])
    made = torch.from_numpy(images)
    real_nD, made_nD = (features(model, x, whole_batches=True).numpy() for x in (real, made))
    classes = predict(model, made, whole_batches=True).argmax(dim=1).numpy().astype(np.uint8)
    distance, _ = kid(real_nD, made_nD, PERMUTATIONS, np.random.default_rng(0))
    overlap = float(np.mean(mean_iou(masks, classes, classes=CLASSES)))
    metrics = {"frechet": frechet(real_nD, made_nD), "kid": distance, "iou_mean": overlap}
    return Judged(images, made_nD, classes, metrics)
