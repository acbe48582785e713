"""Overlap and surface agreement of one structure in one volume, and the declared rule for empty ones.

====================  =========  =========  ============  =============
status                Dice       HD95,ASSD  surface Dice  boundary bias
====================  =========  =========  ============  =============
``ok``                value      value      value         value
``empty-both``        undefined  undefined  undefined     undefined
``empty-reference``   undefined  undefined  undefined     undefined
``missed``            0          infinite   0             undefined
====================  =========  =========  ============  =============

The counts and volumes are kept beside the values, so that any other rule can be applied afterwards.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.measures.surfaces import (
    Spacing,
    assd_mm,
    boundary_bias_mm,
    hd95_mm,
    surface_dice,
    surface_distances,
)

Status = Literal["ok", "empty-both", "empty-reference", "missed"]

MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class Counts:
    """Voxels of one class of one patient."""

    n_ref: int
    """Of the reference."""
    n_pred: int
    """Of the prediction."""
    tp: int
    """Of both."""

    @property
    def fp(self) -> int:
        """Of the prediction alone."""
        return self.n_pred - self.tp

    @property
    def fn(self) -> int:
        """Of the reference alone."""
        return self.n_ref - self.tp


@dataclass(frozen=True)
class StructureScore:
    """Scores of one class of one patient; undefined values are NaN."""

    status: Status
    counts: Counts
    dice: float = math.nan
    """In [0, 1], higher is better."""
    hd95_mm: float = math.nan
    """>= 0, lower is better, as for ``assd_mm``."""
    assd_mm: float = math.nan
    surface_dice: float = math.nan
    """In [0, 1], higher is better; surfaces agree within ``surfaces.TOLERANCE_MM``."""
    boundary_bias_mm: float = math.nan
    """Positive where the prediction is too large, negative where it is too small."""


def score(reference_ZHW: NDArray[np.bool_], prediction_ZHW: NDArray[np.bool_], spacing_mm: Spacing) -> StructureScore:
    """Score one structure by the rule at the top of this file."""
    counts = Counts(
        n_ref=int(np.count_nonzero(reference_ZHW)),
        n_pred=int(np.count_nonzero(prediction_ZHW)),
        tp=int(np.count_nonzero(reference_ZHW & prediction_ZHW)),
    )
    if counts.n_ref == 0:
        return StructureScore("empty-both" if counts.n_pred == 0 else "empty-reference", counts)
    if counts.n_pred == 0:
        return StructureScore("missed", counts, dice=0.0, hd95_mm=math.inf, assd_mm=math.inf, surface_dice=0.0)
    found = surface_distances(reference_ZHW, prediction_ZHW, spacing_mm)
    return StructureScore(
        "ok",
        counts,
        dice=dice(counts),
        hd95_mm=hd95_mm(found),
        assd_mm=assd_mm(found),
        surface_dice=surface_dice(found),
        boundary_bias_mm=boundary_bias_mm(found),
    )


def dice(counts: Counts) -> float:
    """2 |A and B| / (|A| + |B|) (Dice 1945).

    Raises:
        ZeroDivisionError: both structures are empty.
    """
    return 2 * counts.tp / (counts.n_ref + counts.n_pred)


def volume_ml(voxels: int, spacing_mm: Spacing) -> float:
    """Volume in millilitres of that many voxels."""
    return voxels * math.prod(spacing_mm) / MM3_PER_ML


def diagonal_mm(shape: tuple[int, ...], spacing_mm: Spacing) -> float:
    """Length of the diagonal of a volume: the worst distance possible, for means over missed structures."""
    return math.hypot(*(count * step for count, step in zip(shape, spacing_mm, strict=True)))
