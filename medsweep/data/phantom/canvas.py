"""Grids, smooth random fields and ellipsoids: what made-up anatomy is drawn with.

Coordinates are in units of half the field of view, within (-1, 1), and grow to the right, to the front and upwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]

BEND = 0.06
"""SD per axis by which the grid of a canvas is displaced."""

Tissue = IntEnum(
    "Tissue",
    "OUTSIDE FAT MUSCLE BONE SPINE LUNG LIVER BOWEL "
    "SULCUS GREY WHITE VENTRICLE GLIOSIS VESSEL NECROSIS OEDEMA ENHANCING "
    "VISCERAL_FAT METASTASIS STOMACH SPLEEN KIDNEY CYST TUMOUR AORTA GAS "
    "MYOCARDIUM BLOOD ATRIUM "
    "PELVIC_FAT BLADDER CENTRAL_GLAND PERIPHERAL_ZONE RECTUM STOOL",
    start=0,
)
"""Codes on a canvas: what several bodies have, then those of the brain, the abdomen, the chest and the pelvis."""


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


def bent_grid(rng: np.random.Generator, shape: Shape) -> Floats:
    """The grid (3, X, Y, Z), displaced by a smooth random field, so that no ellipsoid stays one."""
    grid = grid_of(shape)
    return grid + np.stack([smooth(rng, grid, BEND) for _ in range(3)])


@dataclass(frozen=True, eq=False)
class Canvas:
    """A volume of tissue codes on which one patient's anatomy is painted, later tissues over earlier ones."""

    rng: np.random.Generator
    half_mm: Floats
    """Half the field of view per axis."""
    bent: Floats
    """``bent_grid`` of the patient, (3, X, Y, Z)."""
    tissue: NDArray[np.uint8]
    """Tissue codes (X, Y, Z), at first all 0."""

    def blob(
        self, centre: ArrayLike, radii: ArrayLike, *, shift: float = 0.03, stretch: float = 0.08, rough: float = 0.0
    ) -> Mask:
        """An ellipsoid with centre and radii jittered by SDs ``shift`` and ``stretch`` and an edge ``rough`` in shape.

        At least the voxel nearest to its centre is inside, however coarse the grid.
        """
        moved = floats(centre) + self.rng.normal(0.0, shift, 3)
        sized = floats(radii) * np.exp(self.rng.normal(0.0, stretch, 3))
        squared = squared_radius(self.bent, moved, sized)
        ragged = squared * np.exp(smooth(self.rng, self.bent, rough, 5.0)) if rough else squared
        inside: Mask = ragged < 1
        inside.flat[int(squared.argmin())] = True
        return inside

    def round(self, size: float) -> Floats:
        """Radii of a sphere in mm whose radius is ``size`` times half the shortest field of view."""
        return floats(size * self.half_mm.min() / self.half_mm)

    def paint(self, tissue: Tissue, inside: Mask, over: Sequence[Tissue] | None = None) -> None:
        """Give the voxels ``inside`` ``tissue``, only those of the tissues ``over`` where it is given."""
        self.tissue[inside if over is None else inside & np.isin(self.tissue, over)] = tissue

    def somewhere(self, within: Mask) -> Floats:
        """Coordinates (3,) of a random voxel of the mask ``within``, which must not be empty."""
        voxels = np.argwhere(within)
        return self.bent[:, *voxels[self.rng.integers(len(voxels))]]

    def labels(self, values: Mapping[Tissue, int]) -> NDArray[np.uint8]:
        """Label values (X, Y, Z) by tissue, 0 for all others."""
        table = np.zeros(256, np.uint8)
        table[list(values)] = list(values.values())
        return table[self.tissue]
