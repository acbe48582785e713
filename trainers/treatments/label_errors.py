"""Errors of whole components of a mask: wrong classes, components too many, components too few.

Shapes: R resolution in pixels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from medsweep.trainers.law import PoolLaw
from medsweep.trainers.measures.displacements import components

Masks = NDArray[np.uint8]
TRIES = 20
"""Places at which a component too many is tried."""


class ComponentErrors(NamedTuple):
    """Shares of components, from 0 to 1."""

    flips: float = 0.0
    """That get another foreground class."""
    lost: float = 0.0
    """Of the components of the spoiled mask, those that no image shows."""
    invented: float = 0.0
    """That the image shows and the mask no longer has."""

    @classmethod
    def shown(cls, law: PoolLaw) -> "ComponentErrors":
        """Those of a law whose interval lies above 0; what may as well be chance is not planted."""
        return cls(*(law.values.get(name, 0.0) * (law.values.get(f"{name}_low", 0.0) > 0) for name in cls._fields))

    def spoil(self, mask_RR: Masks, classes: int, rng: np.random.Generator) -> Masks:
        """The mask with each component spoiled at random; one too many is a copy of one at a place that is free."""
        spoiled = mask_RR.copy()
        added = self.lost / (1 - self.lost) if self.lost < 1 else 1.0
        for index, piece in components(mask_RR):
            flip, more, less = rng.random(3)
            others = [other for other in range(1, classes) if other != index]
            if less < self.invented:
                spoiled[piece] = 0
            elif flip < self.flips and others:
                spoiled[piece] = rng.choice(others)
            if more < added:
                _add_copy(spoiled, piece, index, rng)
        return spoiled


def _add_copy(mask_RR: Masks, piece_RR: NDArray[np.bool_], index: int, rng: np.random.Generator) -> None:
    """Where none of ``TRIES`` places is free of foreground, also at its border, nothing is added."""
    taken, places = binary_dilation(mask_RR > 0, iterations=2), np.argwhere(piece_RR)
    height, width = places.max(axis=0) - places.min(axis=0)
    for _ in range(TRIES):
        corner = rng.integers((len(mask_RR) - height, len(mask_RR) - width))
        rows, columns = (places - places.min(axis=0) + corner).T
        if not taken[rows, columns].any():
            mask_RR[rows, columns] = index
            return
