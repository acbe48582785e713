"""A look at what scaling makes of a volume: how much is cut off, and how much contrast and detail is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsweep.data.dataset import Intensity, Listing, Severity
from medsweep.data.geometry import as_in_memory
from medsweep.data.intensity import CLIP, ZERO_BACKGROUND, Constants, fit, normalise, sample
from medsweep.errors import UserError

SAMPLED = 50_000
"""Voxels of a volume that are scaled for the look."""

FLAT = 0.01
"""Scaled volumes with a lower SD are refused: networks would see nothing in them."""

MOSTLY_CUT = 0.99
"""Share of voxels at the limits from which on scaling is warned of."""

FEW_LEVELS = 8
"""Grey values that a sample needs for the lost ones to be counted."""


@dataclass(frozen=True)
class Scaled:
    """What scaling made of a sample of one modality."""

    low: float
    high: float
    """Least and greatest voxel before scaling, of all."""
    at_limits: float
    """Share of voxels at the lowest or highest value that scaling allows."""
    sd: float
    """SD after scaling."""
    levels: int
    """Different values before scaling, of voxels that are not cut off."""
    kept: int
    """Different values that are left of them."""


def look(volume: NDArray[Any], labels: NDArray[np.uint8], recipe: Intensity) -> Scaled:
    """Scale an even sample of one volume as ``prepare`` would; cohort constants, and what
    ``inside: auto`` means, are taken from this volume alone."""
    step = max(1, round((volume.size / SAMPLED) ** (1 / 3)))
    whole = as_in_memory(volume)
    drawn = volume[::step, ::step, ::step]
    constants: Constants | None = None
    if recipe.scale == "cohort":
        try:
            constants = fit([sample(volume, labels)], recipe, "")
        except UserError:
            recipe = Intensity(percentiles=recipe.percentiles)
    if recipe.inside == "auto":
        masked = np.count_nonzero(drawn == 0) >= ZERO_BACKGROUND * drawn.size
        recipe = recipe.model_copy(update={"inside": "nonzero" if masked else "all"})
    scaled, _ = normalise(drawn, recipe, constants)
    low, high = (-1.0, 1.0) if recipe.scale == "window" else (-CLIP, CLIP)
    free = (scaled > low) & (scaled < high)
    return Scaled(
        float(whole.min()), float(whole.max()), float(1 - free.mean()), float(scaled.std(dtype=np.float64)),
        len(np.unique(drawn[free])), len(np.unique(scaled[free])),
    )  # fmt: skip


def is_hounsfield(listing: Listing, modality: str) -> bool:
    """Whether a modality is said to be in HU: by its name, by the units of the dataset, or by a window below 0."""
    window = listing.intensity.window
    said = modality.strip().lower() == "ct" or listing.choices.get("units", "").strip().upper() == "HU"
    return said or (window is not None and window[0] < 0)


def remarks(scaled: Scaled, name: str, recipe: Intensity, *, hounsfield: bool) -> Iterator[tuple[Severity, str]]:
    """What is wrong with the scale of a modality, with numbers."""
    low, high = scaled.low, scaled.high
    if low == high:
        yield "error", f"{name} is constant: {low:g} everywhere; leave out the case or make the file again"
        return
    if hounsfield and low >= -2 and high <= 2:
        yield "warning", f"{name} goes from {low:g} to {high:g}, and HU are expected; it seems to be scaled already"
    elif hounsfield and low >= 0:
        yield "warning", f"{name} has no negative value, the least is {low:g}; HU are expected, is 1024 added to them?"
    if scaled.sd < FLAT:
        how = f"the window {recipe.window[0]:g} to {recipe.window[1]:g}" if recipe.window else f"a {recipe.scale}"
        yield (
            "error",
            f"{name} is almost constant once it is scaled, SD {scaled.sd:.2g}: its values from {low:g} to {high:g} do "
            f"not suit {how}",
        )
    elif scaled.at_limits >= MOSTLY_CUT:
        yield "warning", f"{scaled.at_limits:.1%} of {name} lie at the limits once it is scaled"
    if scaled.levels >= FEW_LEVELS and scaled.kept < scaled.levels / 2:
        yield "warning", f"{scaled.kept} of {scaled.levels} grey values of {name} are left once it is scaled"
