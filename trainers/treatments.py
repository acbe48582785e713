"""The treat stage: a pool in, the same pool with its images or masks changed by a list of treatments out.

What happens to sample i depends on the config and on i alone, so a treated pool keeps its nested prefixes.

Shapes: n samples, C modalities, R resolution in pixels.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import nn

from medsweep.config import Config
from medsweep.data.folds import Fold, split
from medsweep.data.provenance import fitted_on, require_unseen, write_fitted_on
from medsweep.data.slices import SliceSet
from medsweep.identity import derive_seed
from medsweep.trial import Progress, Trial
from trainers.pictures import grid_png
from trainers.pool import Pool
from trainers.segmentation.network import load_segmenter, predict

Images = NDArray[np.float32]
Masks = NDArray[np.uint8]

SHOWN_SAMPLES = 16


class Noise(Config):
    """Add white Gaussian noise."""

    kind: Literal["noise"]
    sd: float = Field(gt=0)
    """In units of the prepared slices, whose SD is about 1."""


class Blur(Config):
    """Convolve with a Gaussian."""

    kind: Literal["blur"]
    sigma_px: float = Field(gt=0)


class Relabel(Config):
    """Replace each mask by what the reference segmenter sees in the image."""

    kind: Literal["relabel"]


class Histogram(Config):
    """Give each image, per modality, the mean histogram of the real training slices."""

    kind: Literal["histogram"]


Treatment = Annotated[Noise | Blur | Relabel | Histogram, Field(discriminator="kind")]


class TreatSettings(Config):
    """The ``treat:`` section of a sweep."""

    treatments: tuple[Treatment, ...] = ()
    """Applied in this order."""


class TreatConfig(TreatSettings):
    """All that a treat trial computes from."""

    fold: Fold
    seed: int


def needs_reference(settings: TreatSettings) -> bool:
    """Whether the stage reads the reference segmenter."""
    return any(isinstance(treatment, Relabel) for treatment in settings.treatments)


def hours(config: TreatConfig) -> float:
    """CPU hours on one core: loading, and a pass over a pool of some hundred samples per treatment."""
    return (5.0 + 5.0 * len(config.treatments)) / 3600


def run(config: TreatConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Stage function. Inputs: ``prepare``, ``pool``, and ``reference`` where ``needs_reference``.

    Leaves a pool, grid.png, and fitted_on.json with the patients of the input pool.

    Raises:
        UserError: an input has seen a test patient of the fold.
    """
    torch.set_num_threads(trial.threads)
    data, pool = SliceSet.open(inputs["prepare"]), Pool.open(inputs["pool"])
    parts = split(data.patients, config.fold)
    for role in sorted(inputs):
        require_unseen(inputs[role], (*parts.test, *parts.validation))
    images, masks = np.array(pool.images), np.array(pool.masks)
    total = len(config.treatments) + 1
    for place, treatment in enumerate(config.treatments):
        if isinstance(treatment, Noise):
            images = add_noise(images, treatment.sd, derive_seed("treat", config.fold.index, config.seed, place))
        elif isinstance(treatment, Blur):
            images = blur(images, treatment.sigma_px)
        elif isinstance(treatment, Relabel):
            masks = relabel(images, load_segmenter(inputs["reference"], trial.device))
        else:
            rows = data.rows(parts.train, foreground_only=True)
            images = match_histogram(images, mean_quantiles(data.image_rows(rows)))
        yield Progress(step=place + 1, total=total)
    Pool(images=images, masks=masks, slices_per_patient=pool.slices_per_patient).save(trial.output)
    write_fitted_on(trial.output, sorted(fitted_on(inputs["pool"])))
    grid = grid_png(trial.output / "grid.png", images[:SHOWN_SAMPLES], masks[:SHOWN_SAMPLES], columns=4)
    yield Progress(step=total, total=total, pictures={"grid": grid})


def add_noise(images_nCRR: Images, sd: float, seed: int) -> Images:
    """Add independent Gaussian noise of the given SD to every pixel; each sample has a generator of its own."""
    noise = [
        np.random.default_rng(derive_seed("noise", seed, sample)).standard_normal(images_nCRR.shape[1:], np.float32)
        for sample in range(len(images_nCRR))
    ]
    return images_nCRR + np.float32(sd) * np.stack(noise)


def blur(images_nCRR: Images, sigma_px: float) -> Images:
    """Convolve every plane with a Gaussian of SD ``sigma_px``; edges are extended."""
    return gaussian_filter(images_nCRR, (0, 0, sigma_px, sigma_px), mode="nearest")


def relabel(images_nCRR: Images, model: nn.Module) -> Masks:
    """The most probable class of every pixel under ``model``, uint8 (n, R, R)."""
    return predict(model, torch.from_numpy(images_nCRR), whole_batches=True).argmax(dim=1).numpy().astype(np.uint8)


def mean_quantiles(images_NCRR: Images) -> NDArray[np.float64]:
    """Mean over images of the sorted pixel values of each modality, ascending, (C, R * R).

    It is the quantile function of the Wasserstein barycentre of the images' histograms (Agueh and Carlier 2011).
    """
    flat = images_NCRR.reshape(*images_NCRR.shape[:2], -1)
    return np.sort(flat, axis=2).mean(axis=0, dtype=np.float64)


def match_histogram(images_nCRR: Images, quantiles_CP: NDArray[np.float64]) -> Images:
    """Map each plane monotonically onto the given quantiles; equal pixels stay equal, at the mean of their ranks."""
    matched = np.empty_like(images_nCRR, dtype=np.float32)
    for sample, channel in np.ndindex(images_nCRR.shape[:2]):
        plane = images_nCRR[sample, channel]
        _, rank, counts = np.unique(plane, return_inverse=True, return_counts=True)
        starts = np.cumsum(counts) - counts
        levels = np.add.reduceat(quantiles_CP[channel], starts) / counts
        matched[sample, channel] = levels[rank].reshape(plane.shape)
    return matched
