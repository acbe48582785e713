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
Volume = NDArray[np.floating[Any]]
"""Voxels before scaling: 64-bit where 32 bits would lose grey values."""


@dataclass(frozen=True)
class Constants:
    """Cohort constants of one modality, in the image's unit."""

    low: float
    high: float
    mean: float
    sd: float


def normalise(volume: Volume, recipe: Intensity, constants: Constants | None = None) -> tuple[Floats, float]:
    """Scale one modality of one volume, of any shape, by ``recipe``; a constant one gives zeros.

    What is subtracted is subtracted in the type of ``volume``, before the result becomes float32.

    Returns the volume as networks see it and the value that stands for "outside the picture" there. ``window``: cut off
    and mapped to [-1, 1]. ``z-score``: see ``_z_score``. ``cohort``: cut off and z-scored by ``constants``; then, as
    for every z-score, cut off at +-5 SD.

    Raises:
        ValueError: the recipe needs constants and there are none, or leaves open which voxels are inside.
    """
    number = volume.dtype.type
    if recipe.scale == "window":
        low, high = recipe.window or (0.0, 1.0)
        above: Any = (np.clip(volume, low, high) - number(low)).astype(np.float32, copy=False)
        return above * np.float32(2 / (high - low)) - 1, -1.0
    if recipe.scale == "cohort":
        if constants is None:
            raise ValueError("cohort intensities need the constants of the fold's training patients")
        low, high = constants.low, constants.high
        centred: Any = (np.clip(volume, low, high) - number(constants.mean)).astype(np.float32, copy=False)
        return _cut(centred / np.float32(constants.sd)), float(_cut(np.float32((low - constants.mean) / constants.sd)))
    return _z_score(volume, recipe)


def _z_score(volume: Volume, recipe: Intensity) -> tuple[Floats, float]:
    """z-score over the voxels that ``recipe.inside`` names, cut off at +-5 SD.

    With ``nonzero`` zeros stay 0 and stand for "outside"; with ``all`` the lowest voxel stands for it. Negative values
    are kept either way.
    """
    if recipe.inside == "auto":
        raise ValueError("inside: auto is decided for the whole cohort before a volume is scaled")
    masked = recipe.inside == "nonzero"
    inside: Any = volume != 0 if masked else np.ones(volume.shape, bool)
    cut: Any = volume
    if recipe.percentiles is not None and inside.any():
        low, high = map(volume.dtype.type, np.percentile(volume[inside], recipe.percentiles))
        cut = np.clip(volume, low, high)
    if cut.min(where=inside, initial=np.inf) >= cut.max(where=inside, initial=-np.inf):
        return np.zeros(volume.shape, np.float32), 0.0
    mean = volume.dtype.type(cut.mean(where=inside, dtype=np.float64))
    centred = (cut - mean).astype(np.float32, copy=False)
    sd = np.sqrt(np.square(centred).mean(where=inside, dtype=np.float64))
    scaled = np.where(inside, _cut(centred / np.float32(sd)), np.float32(0))
    return scaled, 0.0 if masked else float(scaled.min())


def sample(volume: Volume, labels: NDArray[np.uint8]) -> Volume:
    """Up to ``SAMPLED`` labelled voxels of one volume, evenly spread."""
    values = volume[labels > 0]
    chosen: Volume = values[np.linspace(0, len(values) - 1, min(len(values), SAMPLED)).astype(np.int64)]
    return chosen


def fit(samples: Sequence[Volume], recipe: Intensity, modality: str) -> Constants:
    """Cohort constants from the samples of the training patients (Isensee et al. 2021, supplement, CT scheme).

    Raises:
        UserError: no labelled voxel, or all of one value.
    """
    values: Any = np.concatenate(samples) if samples else np.empty(0, np.float32)
    if len(values) == 0 or values.min() == values.max():
        raise UserError(
            f"the training patients have {len(values)} labelled voxels in {modality}, or all of one value, so cohort "
            "intensities cannot be fitted; use data.intensity: {scale: z-score}"
        )
    low, high = np.percentile(values, recipe.percentiles or (0.5, 99.5))
    return Constants(float(low), float(high), float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)))


def _cut(values: Any) -> Any:
    return np.clip(values, np.float32(-CLIP), np.float32(CLIP))
