"""Grids, smooth random fields and ellipsoids: what made-up anatomy is drawn with.

Coordinates are in units of half the field of view, within (-1, 1), and grow to the right, to the front and upwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsweep.data.phantom.config import Shape, Spacing

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Triple = tuple[float, float, float]


def floats(values: ArrayLike) -> Floats:
    """``values`` as float32."""
    return np.asarray(values, dtype=np.float32)


def grid_of(shape: Shape) -> Floats:
    """Voxel centres in units of half the field of view, float32 (3, X, Y, Z) within (-1, 1)."""
    axes = [(2 * np.arange(size, dtype=np.float32) + 1) / size - 1 for size in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def smooth(rng: np.random.Generator, grid: Floats, amplitude: float, rate: float = 2.0) -> Floats:
    """A smooth random field (X, Y, Z) of SD ``amplitude``: six plane waves of about ``rate`` radians per unit."""
    field = np.zeros(grid.shape[1:], np.float32)
    for wave in rng.normal(0.0, rate, (6, 3)).astype(np.float32):
        field += np.cos(np.tensordot(wave, grid, 1) + np.float32(rng.uniform(0, 2 * np.pi)))
    return field * np.float32(amplitude / np.sqrt(3))


def squared_radius(grid: Floats, centre: ArrayLike, radii: ArrayLike) -> Floats:
    """Squared distance from ``centre`` in units of ``radii``, (X, Y, Z); below 1 inside the ellipsoid."""
    squared: Floats = (((grid - floats(centre)[:, None, None, None]) / floats(radii)[:, None, None, None]) ** 2).sum(0)
    return squared


@dataclass(frozen=True, eq=False)
class Canvas:
    """A volume of tissue codes on which one patient's anatomy is painted, later tissues over earlier ones."""

    rng: np.random.Generator
    half_mm: Floats
    """Half the field of view per axis."""
    bent: Floats
    """The grid, displaced by a smooth random field, so that no ellipsoid stays one; (3, X, Y, Z)."""
    tissue: NDArray[np.uint8]
    """Tissue codes (X, Y, Z), at first all 0."""

    @classmethod
    def blank(cls, rng: np.random.Generator, shape: Shape, spacing_mm: Spacing, bend: float = 0.06) -> "Canvas":
        """An empty canvas whose grid is displaced by ``bend`` (SD per axis)."""
        grid = grid_of(shape)
        bent = grid + np.stack([smooth(rng, grid, bend) for _ in range(3)])
        return cls(rng, floats(np.asarray(shape) * np.asarray(spacing_mm) / 2), bent, np.zeros(shape, np.uint8))

    def blob(
        self, centre: ArrayLike, radii: ArrayLike, *, shift: float = 0.03, stretch: float = 0.08, rough: float = 0.0
    ) -> Mask:
        """An ellipsoid with centre and radii jittered by SDs ``shift`` and ``stretch`` and an edge ``rough`` in shape.

        At least the voxel nearest to its centre is inside, however coarse the grid.
        """
        moved = floats(centre) + self.rng.normal(0.0, shift, 3)
        sized = floats(radii) * np.exp(self.rng.normal(0.0, stretch, 3))
        level = squared_radius(self.bent, moved, sized)
        ragged = level * np.exp(smooth(self.rng, self.bent, rough, 5.0)) if rough else level
        inside: Mask = ragged < 1
        inside.flat[int(level.argmin())] = True
        return inside

    def round(self, size: float) -> Floats:
        """Radii of a sphere in mm whose radius is ``size`` times half the shortest field of view."""
        return floats(size * self.half_mm.min() / self.half_mm)

    def paint(self, code: int, inside: Mask, over: Sequence[int] | None = None) -> None:
        """Give the voxels ``inside`` the tissue ``code``, only those of the tissues ``over`` where it is given."""
        self.tissue[inside if over is None else inside & np.isin(self.tissue, over)] = code

    def somewhere(self, within: Mask) -> Floats:
        """Coordinates (3,) of a random voxel of the mask ``within``, which must not be empty."""
        voxels = np.argwhere(within)
        return self.bent[:, *voxels[self.rng.integers(len(voxels))]]
