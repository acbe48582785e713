"""Distances between the surfaces of two structures, measured once and told in four ways.

A surface is the set of voxels with a face neighbour outside their structure; everything beyond the volume is outside.
Every surface voxel counts once, as in MONAI. Tools that lay a mesh through the voxels and weight by its area (Nikolov
et al. 2018, arXiv 1809.04430) see other distances by fractions of a voxel: with a tolerance of about the error itself
their surface Dice is higher by up to 0.4, so compare values of one definition only. Voxel centres lie half a voxel
inside the boundary on both sides, so differences of position are not biased by it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Spacing = tuple[float, ...]
"""Distance of neighbours along each axis."""

TOLERANCE_MM = 2.0
"""Surfaces this near to each other agree."""
ROUNDING = 1e-6
"""Spacings come from float32 headers, so five steps of 0.4 mm are a little more than 2 mm."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Nearest distances in mm between the surfaces of a reference and of a prediction, neither of them empty."""

    of_reference_mm: NDArray[np.float64]
    """(n,) From each surface voxel of the reference to the surface of the prediction, >= 0."""
    of_prediction_mm: NDArray[np.float64]
    """(m,) From each surface voxel of the prediction to the surface of the reference, >= 0."""
    outwards: NDArray[np.bool_]
    """(m,) Whether that voxel of the prediction lies outside the reference."""


def surface_distances(
    reference_ZHW: NDArray[np.bool_], prediction_ZHW: NDArray[np.bool_], spacing_mm: Spacing
) -> SurfaceDistances:
    """Exact Euclidean distances by one distance transform per surface, inside the box that holds both structures.

    Raises:
        ValueError: one of the structures is empty.
    """
    if not (reference_ZHW.any() and prediction_ZHW.any()):
        raise ValueError("surface distances need two structures that are not empty")
    box = ndimage.find_objects((reference_ZHW | prediction_ZHW).view(np.uint8))[0]
    reference, prediction = reference_ZHW[box], prediction_ZHW[box]
    reference_surface, prediction_surface = _surface(reference), _surface(prediction)
    to_reference = ndimage.distance_transform_edt(~reference_surface, sampling=spacing_mm)
    to_prediction = ndimage.distance_transform_edt(~prediction_surface, sampling=spacing_mm)
    return SurfaceDistances(
        of_reference_mm=to_prediction[reference_surface],
        of_prediction_mm=to_reference[prediction_surface],
        outwards=~reference[prediction_surface],
    )


def _surface(structure_ZHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    surface: NDArray[np.bool_] = structure_ZHW & ~ndimage.binary_erosion(structure_ZHW)
    return surface


def hd95_mm(found: SurfaceDistances) -> float:
    """Robust Hausdorff distance in mm, >= 0: the larger of the two directed 95th percentiles, interpolated linearly.

    Huttenlocher et al. 1993 take any rank of the directed distances; symmetric in reference and prediction.
    """
    return float(max(np.percentile(found.of_reference_mm, 95), np.percentile(found.of_prediction_mm, 95)))


def assd_mm(found: SurfaceDistances) -> float:
    """Average symmetric surface distance in mm, >= 0: the mean over the voxels of both surfaces (Heimann et al. 2009).

    The larger surface weighs more, unlike in the mean of the two directed means.
    """
    total = found.of_reference_mm.sum() + found.of_prediction_mm.sum()
    return float(total / (found.of_reference_mm.size + found.of_prediction_mm.size))


def surface_dice(found: SurfaceDistances, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Share of both surfaces that lies within ``tolerance_mm`` of the other, in [0, 1] (Nikolov et al. 2018, eq. 6).

    Surface elements are voxels here, not areas.
    """
    limit = tolerance_mm * (1 + ROUNDING)
    near = np.count_nonzero(found.of_reference_mm <= limit) + np.count_nonzero(found.of_prediction_mm <= limit)
    return float(near / (found.of_reference_mm.size + found.of_prediction_mm.size))


def boundary_bias_mm(found: SurfaceDistances) -> float:
    """Mean signed distance in mm of the predicted surface from the reference's: positive = grown, negative = shrunk.

    Not antisymmetric: the mean is over the predicted surface alone. A shift that is small against the
    structure gives about 0; a prediction that does not overlap its reference counts as grown.
    """
    return float(np.where(found.outwards, found.of_prediction_mm, -found.of_prediction_mm).mean())
