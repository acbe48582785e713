"""From stored values to network inputs: windows for CT, z-scores for MR, and constants fitted on training patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsweep.data.dataset import Intensity
from medsweep.errors import UserError

CLIP = 5.0
"""Normalised intensities are cut off at this many SD."""

ZERO_BACKGROUND = 0.05
"""From this share of exact zeros on, zero means "outside" rather than a measured value."""

SAMPLED = 100_000
"""Labelled voxels per patient and modality that cohort constants are taken from."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Constants:
    """Cohort constants of one modality, in the image's unit."""

    low: float
    high: float
    mean: float
    sd: float


def normalise(volume: Floats, recipe: Intensity, constants: Constants | None = None) -> tuple[Floats, float]:
    """Scale one modality of one volume, of any shape, by ``recipe``; a constant one gives zeros.

    Returns the volume as networks see it and the value that stands for "outside the picture" there. ``window``: cut off
    and mapped to [-1, 1]. ``z-score``: see ``_z_score``. ``cohort``: cut off and z-scored by ``constants``; then, as
    for every z-score, cut off at +-5 SD.

    Raises:
        ValueError: the recipe needs constants and there are none.
    """
    if recipe.scale == "window":
        low, high = recipe.window or (0.0, 1.0)
        return (np.clip(volume, low, high) - np.float32(low)) * np.float32(2 / (high - low)) - 1, -1.0
    if recipe.scale == "cohort":
        if constants is None:
            raise ValueError("cohort intensities need the constants of the fold's training patients")
        low, high = constants.low, constants.high
        scaled = _cut((np.clip(volume, low, high) - np.float32(constants.mean)) / np.float32(constants.sd))
        return scaled, float(_cut(np.float32((low - constants.mean) / constants.sd)))
    return _z_score(volume, recipe)


def _z_score(volume: Floats, recipe: Intensity) -> tuple[Floats, float]:
    """z-score over the voxels that ``recipe.inside`` names, cut off at +-5 SD.

    With ``nonzero`` (and with ``auto`` where at least 5 % of the voxels are exactly 0) zeros stay 0 and stand for
    "outside"; else all voxels count and the lowest stands for it. Negative values are kept either way.
    """
    inside = volume != 0
    share_of_zeros = 1 - np.count_nonzero(inside) / volume.size
    masked = recipe.inside == "nonzero" or (recipe.inside == "auto" and share_of_zeros >= ZERO_BACKGROUND)
    if not masked:
        inside[...] = True
    cut = volume
    if recipe.percentiles is not None and inside.any():
        low, high = np.percentile(volume[inside], recipe.percentiles)
        cut = np.clip(volume, np.float32(low), np.float32(high))
    if cut.min(where=inside, initial=np.inf) >= cut.max(where=inside, initial=-np.inf):
        return np.zeros_like(volume), 0.0
    centred = cut - np.float32(cut.mean(where=inside, dtype=np.float64))
    sd = np.sqrt(np.square(centred).mean(where=inside, dtype=np.float64))
    scaled = np.where(inside, _cut(centred / np.float32(sd)), np.float32(0))
    return scaled, 0.0 if masked else float(scaled.min())


def sample(volume: Floats, labels: NDArray[np.uint8]) -> Floats:
    """Up to ``SAMPLED`` labelled voxels of one volume, evenly spread."""
    values = volume[labels > 0]
    chosen: Floats = values[np.linspace(0, len(values) - 1, min(len(values), SAMPLED)).astype(np.int64)]
    return chosen


def fit(samples: Sequence[Floats], recipe: Intensity, modality: str) -> Constants:
    """Cohort constants from the samples of the training patients (Isensee et al. 2021, supplement, CT scheme).

    Raises:
        UserError: no labelled voxel, or all of one value.
    """
    values = np.concatenate(samples) if samples else np.empty(0, np.float32)
    if len(values) == 0 or values.min() == values.max():
        raise UserError(
            f"the training patients have {len(values)} labelled voxels in {modality}, or all of one value, so cohort "
            "intensities cannot be fitted; use data.intensity: {scale: z-score}"
        )
    low, high = np.percentile(values, recipe.percentiles or (0.5, 99.5))
    return Constants(float(low), float(high), float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)))


def _cut(values: Any) -> Any:
    return np.clip(values, np.float32(-CLIP), np.float32(CLIP))
