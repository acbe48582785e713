"""How well a predicted structure fits its reference in one volume: overlap, surfaces, and the rule for empty ones.

===================================  =========  =========  ============  =============
status                               Dice       HD95,ASSD  surface Dice  boundary bias
===================================  =========  =========  ============  =============
``ok``                               value      value      value         value
``empty-both``                       undefined  undefined  undefined     undefined
``empty-reference``                  undefined  undefined  undefined     undefined
``missed``, nothing predicted        0          infinite   0             undefined
``missed``, all predicted elsewhere  0          value      value         value
===================================  =========  =========  ============  =============

A structure of the reference is missed where no predicted voxel overlaps it.

Where the dataset ignores voxels, they are taken out of both masks before anything is counted. A patient who has some
then has no distances, and no surface Dice and boundary bias either, since the boundary may run through what nobody
labelled. Their status is ``ignored`` where the overlap has a value. The reference alone decides that, so it is the same
in all arms.

The counts and volumes are kept beside the values, so that any other rule can be applied afterwards.

A surface is the set of voxels with a face neighbour outside their structure; everything beyond the volume is outside.
Every surface voxel counts once, as in MONAI. Tools that lay a mesh through the voxels and weight by its area (Nikolov
et al. 2018, arXiv 1809.04430) see other distances by fractions of a voxel. With a tolerance of about the error itself
their surface Dice is higher by up to 0.4, so compare values of one definition only. Voxel centres lie half a voxel
inside the boundary on both sides, so differences of position are not biased by it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import ndimage

from medsweep.metrics import SCORES

Status = Literal["ok", "empty-both", "empty-reference", "missed"]
Spacing = tuple[float, ...]
"""Distance of neighbours along each axis."""

BAND_PX = 1.5
"""Pixels at most so far from the boundary of the foreground are its band."""
TOLERANCE_MM = 2.0
"""Surfaces this near to each other agree."""
ALL_PAIRS = 50_000
"""Pairs of points up to which comparing each with each is faster than a tree."""
ROUNDING = 1e-6
"""Spacings come from float32 headers, so five steps of 0.4 mm are a little more than 2 mm."""


@dataclass(frozen=True)
class Counts:
    """Voxels of one class of one patient: in the reference, in the prediction, and in both (``tp``)."""

    n_ref: int
    n_pred: int
    tp: int

    @classmethod
    def of(cls, reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> "Counts":
        """Those of two masks of one shape."""
        both = np.count_nonzero(reference & prediction)
        return cls(int(np.count_nonzero(reference)), int(np.count_nonzero(prediction)), int(both))

    @property
    def fp(self) -> int:
        """Of the prediction alone."""
        return self.n_pred - self.tp

    @property
    def fn(self) -> int:
        """Of the reference alone."""
        return self.n_ref - self.tp


@dataclass(frozen=True)
class SurfaceDistances:
    """Nearest distances in mm between the surfaces of a reference and of a prediction, neither of them empty."""

    of_reference_mm: NDArray[np.float64]
    """(n,) From each surface voxel of the reference to the surface of the prediction, >= 0."""
    of_prediction_mm: NDArray[np.float64]
    """(m,) From each surface voxel of the prediction to the surface of the reference, >= 0."""
    outwards: NDArray[np.bool_]
    """(m,) Whether that voxel of the prediction lies outside the reference."""
    uncovered: NDArray[np.bool_]
    """(n,) Whether that voxel of the reference lies outside the prediction."""


def surface_distances(
    reference_ZHW: NDArray[np.bool_], prediction_ZHW: NDArray[np.bool_], spacing_mm: Spacing
) -> SurfaceDistances:
    """Exact Euclidean distances, to rounding, by a search for the nearest neighbour inside the box of both structures.

    Raises:
        ValueError: one of the structures is empty.
    """
    if not (reference_ZHW.any() and prediction_ZHW.any()):
        raise ValueError("surface distances need two structures that are not empty")
    box = bounding_box(reference_ZHW | prediction_ZHW)
    reference, prediction = reference_ZHW[box], prediction_ZHW[box]
    reference_surface, prediction_surface = surface(reference), surface(prediction)
    of_reference_mm, of_prediction_mm = _nearest_mm(
        np.argwhere(reference_surface) * np.array(spacing_mm), np.argwhere(prediction_surface) * np.array(spacing_mm)
    )
    return SurfaceDistances(
        of_reference_mm,
        of_prediction_mm,
        outwards=~reference[prediction_surface],
        uncovered=~prediction[reference_surface],
    )


def surface(region_ZHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a region with a face neighbour outside it; everything beyond the array is outside."""
    inner = region_ZHW.copy()
    for axis in range(region_ZHW.ndim):
        region, within = np.moveaxis(region_ZHW, axis, 0), np.moveaxis(inner, axis, 0)
        within[1:] &= region[:-1]
        within[:-1] &= region[1:]
        within[[0, -1]] = False
    surface_ZHW: NDArray[np.bool_] = region_ZHW & ~inner
    return surface_ZHW


def bounding_box(region_ZHW: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Smallest box that holds a region, which is not empty."""
    box: tuple[slice, ...] = ()
    for axis in range(region_ZHW.ndim):
        # the first axis of what is left is looked at and then cut, so later axes see less
        inside = region_ZHW.any(axis=tuple(other for other in range(region_ZHW.ndim) if other != axis))
        first, last = np.flatnonzero(inside)[[0, -1]]
        box += (slice(int(first), int(last) + 1),)
        region_ZHW = region_ZHW[(slice(None),) * axis + box[-1:]]
    return box


def _nearest_mm(a_NA: NDArray[np.float64], b_MA: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Distance from each point of one set to the nearest of the other, (N,) and (M,)."""
    if len(a_NA) * len(b_MA) <= ALL_PAIRS:
        squares_NM = sum(np.square(np.subtract.outer(a_N, b_M)) for a_N, b_M in zip(a_NA.T, b_MA.T, strict=True))
        return np.sqrt(squares_NM.min(axis=1)), np.sqrt(squares_NM.min(axis=0))
    # a tree that is not balanced is built faster and searched as fast
    trees = [scipy.spatial.KDTree(points, balanced_tree=False, compact_nodes=False) for points in (a_NA, b_MA)]
    return trees[1].query(a_NA)[0], trees[0].query(b_MA)[0]


def dice(counts: Counts) -> float:
    """2 |A and B| / (|A| + |B|) (Dice 1945).

    Raises:
        ZeroDivisionError: both structures are empty.
    """
    return 2 * counts.tp / (counts.n_ref + counts.n_pred)


def hd95_mm(distances: SurfaceDistances) -> float:
    """Robust Hausdorff distance in mm, >= 0: the larger of the two directed 95th percentiles, interpolated linearly.

    Huttenlocher et al. 1993 take any rank of the directed distances; symmetric in reference and prediction.
    """
    return float(max(_percentile_95(distances.of_reference_mm), _percentile_95(distances.of_prediction_mm)))


def _percentile_95(values: NDArray[np.float64]) -> float:
    # as np.percentile, whose checks take ten times as long as a slice's surface
    place = 0.95 * (len(values) - 1)
    below = int(place)
    parted = np.partition(values, (below, min(below + 1, len(values) - 1)))
    low, high = parted[below], parted[min(below + 1, len(values) - 1)]
    share = place - below
    return float(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)


def assd_mm(distances: SurfaceDistances) -> float:
    """Average symmetric surface distance in mm, >= 0: the mean over the voxels of both surfaces (Heimann et al. 2009).

    The larger surface weighs more, unlike in the mean of the two directed means.
    """
    total = distances.of_reference_mm.sum() + distances.of_prediction_mm.sum()
    return float(total / (distances.of_reference_mm.size + distances.of_prediction_mm.size))


def surface_dice(distances: SurfaceDistances, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Share of both surfaces that lies within ``tolerance_mm`` of the other, in [0, 1] (Nikolov et al. 2018, eq. 6).

    Surface elements are voxels here, not areas.
    """
    limit = tolerance_mm * (1 + ROUNDING)
    near = np.count_nonzero(distances.of_reference_mm <= limit) + np.count_nonzero(distances.of_prediction_mm <= limit)
    return float(near / (distances.of_reference_mm.size + distances.of_prediction_mm.size))


def boundary_bias_mm(distances: SurfaceDistances) -> float:
    """Mean signed distance in mm of the predicted surface from the reference's: positive = grown, negative = shrunk.

    Not antisymmetric: the mean is over the predicted surface alone. A shift that is small against the
    structure gives about 0; a prediction that does not overlap its reference counts as grown.
    """
    return float(np.where(distances.outwards, distances.of_prediction_mm, -distances.of_prediction_mm).mean())


def boundary_shift_mm(distances: SurfaceDistances) -> float:
    """Mean signed distance in mm by which the prediction reaches beyond the reference, over both surfaces.

    Positive = grown. Antisymmetric, unlike ``boundary_bias_mm``: what grows here and shrinks as much there gives 0.
    """
    of_reference, of_prediction = signed_shifts_mm(distances)
    return float((of_reference.sum() + of_prediction.sum()) / (of_reference.size + of_prediction.size))


def signed_shifts_mm(distances: SurfaceDistances) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the prediction reaches beyond the reference, above 0 outwards, at the surface voxels of each, in mm.

    Those of the reference (n,), then those of the prediction (m,).
    """
    of_reference, of_prediction = distances.of_reference_mm, distances.of_prediction_mm
    return (
        np.where(distances.uncovered, -of_reference, of_reference),
        np.where(distances.outwards, of_prediction, -of_prediction),
    )


@dataclass(frozen=True)
class StructurePair:
    """What metrics are computed from: a reference and a prediction, neither of them empty."""

    counts: Counts
    distances: SurfaceDistances


METRICS: Final[Mapping[str, Callable[[StructurePair], float]]] = {
    "dice": lambda pair: dice(pair.counts),
    "hd95_mm": lambda pair: hd95_mm(pair.distances),
    "assd_mm": lambda pair: assd_mm(pair.distances),
    "surface_dice": lambda pair: surface_dice(pair.distances),
}
"""Every metric of a segmentation. A new one needs its function and its line here, and its record in
``medsweep.metrics``, which says among other things what a missed structure scores."""

OVERLAPS: Final = ("dice",)
"""Metrics of counts alone, which are known where voxels are ignored; all others are taken for metrics of surfaces."""


@dataclass(frozen=True)
class StructureScore:
    """Scores of one class of one patient; undefined values are NaN."""

    status: Status
    counts: Counts
    values: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(METRICS, math.nan))
    """By name, in the order of ``METRICS``."""
    boundary_bias_mm: float = math.nan
    """Positive where the prediction is too large, negative where it is too small."""


def score(reference_ZHW: NDArray[np.bool_], prediction_ZHW: NDArray[np.bool_], spacing_mm: Spacing) -> StructureScore:
    """Score one structure by the rule at the top of this file."""
    counts = Counts.of(reference_ZHW, prediction_ZHW)
    if counts.n_ref == 0:
        return StructureScore("empty-both" if counts.n_pred == 0 else "empty-reference", counts)
    if counts.n_pred == 0:
        return StructureScore("missed", counts, {name: SCORES[name].worst for name in METRICS})
    pair = StructurePair(counts, surface_distances(reference_ZHW, prediction_ZHW, spacing_mm))
    values = {name: metric(pair) for name, metric in METRICS.items()}
    return StructureScore("ok" if counts.tp else "missed", counts, values, boundary_bias_mm(pair.distances))


def volume_ml(voxels: int, spacing_mm: Spacing) -> float:
    """Volume in millilitres of that many voxels."""
    return voxels * math.prod(spacing_mm) / 1000


def diagonal_mm(shape: tuple[int, ...], spacing_mm: Spacing) -> float:
    """Length of the diagonal of a volume: the worst distance possible, for means over missed structures."""
    return math.hypot(*(count * step for count, step in zip(shape, spacing_mm, strict=True)))


def signed_distance(region_RR: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of pixel centres to the region's boundary in pixels, above 0 inside; infinite where there is none.

    Boundaries run midway between pixel centres, hence the half pixel.
    """
    if region_RR.all() or not region_RR.any():
        return np.where(region_RR, np.inf, -np.inf)
    inside = ndimage.distance_transform_edt(region_RR)
    distance: NDArray[np.float64] = np.where(region_RR, inside - 0.5, 0.5 - ndimage.distance_transform_edt(~region_RR))
    return distance
