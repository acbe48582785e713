"""Real masks for a generator of images, as they are or perturbed on purpose.

Mask i depends on the seed and i alone. R pixels, n masks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.ndimage import map_coordinates

from medsweep.config import Config
from medsweep.data.slices import SliceSet
from medsweep.identity import derive_seed
from medsweep.trainers.treatments.boundaries import with_moved_boundaries
from medsweep.trainers.treatments.images import smooth_field
from medsweep.trainers.treatments.masks import boundary_shift

Labels = NDArray[np.uint8]

SMOOTH_PX = 8.0


class Perturbation(Config):
    """What is done to real masks before a generator sees them: first an elastic deformation, then moved boundaries."""

    bias_px: float = 0.0
    """How far the whole foreground grows; below 0 it shrinks. A broken number is rounded up or down by sample, such
    that its mean holds."""
    random_px: float = Field(default=0.0, ge=0)
    """SD of the displacement of every boundary between classes, smooth along it."""
    smooth_px: float = Field(default=SMOOTH_PX, gt=0)
    """SD of the Gaussian that smooths the random displacement."""
    elastic_px: float = Field(default=0.0, ge=0)
    """SD, by axis, of the smooth field along which all pixels of a mask are moved."""
    elastic_smooth_px: float = Field(default=SMOOTH_PX, gt=0)
    """SD of the Gaussian that smooths that field."""

    @model_validator(mode="after")
    def _smoothness_is_read(self) -> "Perturbation":
        for name, amount in (("smooth_px", "random_px"), ("elastic_smooth_px", "elastic_px")):
            if getattr(self, amount) == 0 and getattr(self, name) != SMOOTH_PX:
                raise ValueError(f"{name} ({getattr(self, name):g}) is read with a {amount} above 0 alone; remove it")
        return self

    @property
    def changes_nothing(self) -> bool:
        """Whether masks stay as they are."""
        return self.bias_px == self.random_px == self.elastic_px == 0


@dataclass(frozen=True)
class RealMasks:
    """The masks of ``rows``, every one once in a shuffled order, then all over again in another."""

    slices: SliceSet
    rows: NDArray[np.int64]
    seed: int
    how: Perturbation

    def row(self, index: int) -> int:
        """Row of the slice whose mask is mask ``index``."""
        cycle, place = divmod(index, len(self.rows))
        order = np.random.default_rng(derive_seed(self.seed, "masks", cycle)).permutation(len(self.rows))
        return int(self.rows[order[place]])

    def drawn(self, index: int) -> Labels:
        """Mask ``index`` as it was prepared, (R, R)."""
        return np.asarray(self.slices.masks[self.row(index)])

    def __call__(self, indices: Iterable[int]) -> Labels:
        """The masks to be painted, perturbed where that is asked for, (n, R, R)."""
        return np.stack([self._perturbed(index) for index in indices])

    def _perturbed(self, index: int) -> Labels:
        mask, how = self.drawn(index), self.how
        if how.changes_nothing:
            return mask
        classes, rng = len(self.slices.classes), np.random.default_rng(derive_seed(self.seed, "perturb", index))
        if how.elastic_px > 0:
            mask = deformed(mask, how.elastic_px, how.elastic_smooth_px, rng)
        return with_moved_boundaries(
            mask, range(1, classes), how.bias_px, (how.random_px, how.smooth_px), classes=classes, rng=rng
        )

    def effect(self, painted_nRR: Labels) -> dict[str, float]:
        """How far the boundary of the whole foreground of masks 0 to n went, as ``boundary_shift`` tells it."""
        before = (self.drawn(index) for index in range(len(painted_nRR)))
        return boundary_shift(before, painted_nRR, range(1, len(self.slices.classes)))


def deformed(mask_RR: Labels, sd_px: float, smooth_px: float, rng: np.random.Generator) -> Labels:
    """The mask looked up, to the nearest pixel, at places moved by a smooth random field (Simard et al. 2003).

    The field has the SD ``sd_px`` along each axis; places beyond the border take the nearest pixel inside.
    """
    size = mask_RR.shape[-1]
    field_2RR = sd_px * np.stack([smooth_field(size, smooth_px, rng) for _ in range(2)])
    looked_up: Labels = map_coordinates(mask_RR, np.indices(mask_RR.shape) + field_2RR, order=0, mode="nearest")
    return looked_up
