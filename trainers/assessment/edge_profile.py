"""Where the edge of the foreground lies in images, relative to that of their masks: told without any segmenter.

Shapes: n slices, C modalities, B bins of the distance from the mask's boundary, D draws, S shifts, R resolution.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from medsweep.trainers.measures.mask_validity import ratio
from medsweep.trainers.measures.structures import signed_distance

REACH: Final = 6
"""Pixels on either side of the boundary at which intensities are looked at, in bins of 1 px."""
COMPARED: Final = 4
"""Pixels on either side that are compared."""
STEEP: Final = 3
"""Pixels on either side of the edge in which its width is taken."""
SHIFTS: Final = np.arange(-40, 41) * 0.05
"""Offsets that are tried, in pixels."""
CENTRES: Final = np.arange(-REACH, REACH) + 0.5
FEWEST: Final = 2
"""Bins on each side of the boundary that must be compared at every shift."""

Array = NDArray[np.float64]


def edge_sums(images_nCRR: NDArray[np.floating], masks_nRR: NDArray[np.uint8]) -> Array:
    """Sum of the intensities of each slice by distance, and in the last row the number of pixels, (n, C + 1, B).

    Distances are those of ``signed_distance`` from the boundary of all foreground. Bins of 1 px, since on a grid
    narrower ones would be empty.
    """
    found = np.zeros((len(masks_nRR), images_nCRR.shape[1] + 1, 2 * REACH))
    for sums_CB, image_CRR, mask_RR in zip(found, images_nCRR, masks_nRR, strict=True):
        d_RR = signed_distance(mask_RR > 0)
        near = np.abs(d_RR) < REACH
        bins_P = np.floor(d_RR[near]).astype(int) + REACH
        weights = (*image_CRR[:, near], np.ones(len(bins_P)))
        sums_CB[:] = [np.bincount(bins_P, values_P, 2 * REACH) for values_P in weights]
    return found


def profiles(sums_DCB: Array) -> Array:
    """Mean intensity by distance, (..., C, B), of sums of ``edge_sums``; NaN in a bin without a pixel."""
    return ratio(sums_DCB[..., :-1, :], sums_DCB[..., -1:, :])


@dataclass(frozen=True)
class EdgeFit:
    """How the profiles of a pool lie beside those of real slices."""

    offset_px: Array
    """(D,): a pool with offset o has the real profile o px further in, so above 0 its masks are larger. Within 2 px."""
    width_ratio: Array
    """(D,): width of the edge over that of reals, mean over modalities, above 1 where it is blurred; NaN where it is
    not known."""


def edge_fit(pool_DCB: Array, real_DCB: Array) -> EdgeFit | None:
    """Compare profiles draw by draw; None where too few bins have pixels in all of them.

    The offset o is where sum over modalities of min over a >= 0 and c of sum_d (P_pool(d) - a P_real(d - o) - c)^2 over
    the variance of P_real is least. The width is the SD of d under the weights |P'(d)| within ``STEEP`` px of the
    boundary, and of it moved by o in the pool. Between bins profiles are cubic splines.
    """
    real_B, pool_B = (_run_about_0(np.asarray(np.isfinite(side).all(axis=(0, 1)))) for side in (real_DCB, pool_DCB))
    first, last = CENTRES[real_B].min(initial=0), CENTRES[real_B].max(initial=0)
    reached_B = (first + SHIFTS[-1] <= CENTRES) & (last + SHIFTS[0] >= CENTRES)
    used_B = pool_B & reached_B & (np.abs(CENTRES) <= COMPARED)
    if min(used_B[:REACH].sum(), used_B[REACH:].sum()) < FEWEST:
        return None
    spline = scipy.interpolate.CubicSpline(CENTRES[real_B], np.eye(real_B.sum()))
    weights_SBb = spline(CENTRES[used_B] - SHIFTS[:, None])
    shifted_DCSB = np.einsum("sub,dcb->dcsu", weights_SBb, real_DCB[..., real_B])
    x, y = _centred(shifted_DCSB), _centred(pool_DCB[..., used_B])[:, :, None]
    slope = np.maximum((x * y).sum(axis=-1) / np.maximum((x * x).sum(axis=-1), 1e-12), 0)
    squares_DCS = ((y - slope[..., None] * x) ** 2).sum(axis=-1)
    variance_DC = np.maximum(real_DCB[..., used_B].var(axis=-1), 1e-12)
    offset_D = SHIFTS[(squares_DCS / variance_DC[..., None]).sum(axis=1).argmin(axis=1)]
    widths = _widths(pool_DCB, pool_B, offset_D), _widths(real_DCB, real_B, np.zeros(len(real_DCB)))
    return EdgeFit(offset_D, (widths[0] / widths[1]).mean(axis=1))


def _run_about_0(known_B: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The bins around the boundary up to the first without a pixel on either side."""
    outside, inside = known_B[:REACH][::-1], known_B[REACH:]
    return np.concatenate([np.logical_and.accumulate(outside)[::-1], np.logical_and.accumulate(inside)])


def _centred(x: Array) -> Array:
    centred: Array = x - x.mean(axis=-1, keepdims=True)
    return centred


def _widths(profiles_DCB: Array, known_B: NDArray[np.bool_], offset_D: Array) -> Array:
    """SD of the distance from the offset under the steepness of the profile, (D, C); NaN where it is not known."""
    known, at = CENTRES[known_B], np.arange(-STEEP, STEEP)
    widths = np.full(profiles_DCB.shape[:2], np.nan)
    for width_C, profile_CB, offset in zip(widths, profiles_DCB, offset_D, strict=True):
        if offset - STEEP - 0.5 < known[0] or offset + STEEP - 0.5 > known[-1]:
            continue
        edges = np.append(at - 0.5, STEEP - 0.5) + offset
        steep_Cd = np.abs(np.diff(scipy.interpolate.CubicSpline(known, profile_CB[:, known_B], axis=1)(edges), axis=1))
        total_C = np.maximum(steep_Cd.sum(axis=1), 1e-12)
        mean_C = steep_Cd @ at / total_C
        width_C[:] = np.sqrt((steep_Cd * (at - mean_C[:, None]) ** 2).sum(axis=1) / total_C)
    return widths
