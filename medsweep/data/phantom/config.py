"""How large a made-up cohort is, and from which seed."""

from typing import Annotated

from pydantic import Field

from medsweep.config import Config

PHANTOM_VERSION = 1
"""Raised whenever the same config would give other voxels."""

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

Size = Annotated[int, Field(ge=8, le=512)]
Millimetres = Annotated[float, Field(gt=0)]


class PhantomConfig(Config):
    """How many patients, on which grid, from which seed."""

    patients: int = Field(default=20, ge=2, le=10000)
    seed: int = Field(default=0, ge=0)
    shape: Annotated[tuple[Size, Size, Size] | None, Field(strict=False)] = None
    """Voxels to the right, to the front and upwards, at least 8 each, however the files store them; None is the small
    grid of the dataset. Where the true number of slices varies, it is the greatest number of slices."""
    spacing_mm: Annotated[tuple[Millimetres, Millimetres, Millimetres] | None, Field(strict=False)] = None
    """Voxel size along the same axes, for all patients; None is that of the dataset, which may vary."""
