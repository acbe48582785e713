"""The label law of a pool: how its masks lie beside what a judge sees, freed of what the judge does on real slices.

Shapes: n samples, Q quantities summed over samples, D draws, L lags, R resolution in pixels.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.assessment.masks import Masks, evenly_spread
from medsweep.trainers.measures.displacements import components, displacements
from medsweep.trainers.measures.mask_validity import ratio
from medsweep.trainers.measures.resampling import percentile_interval, resampled

Array = NDArray[np.float64]
Objects = NDArray[np.object_]

LAGS: Final = 16
"""Distances in pixels, from 1 on, at which displacements of one contour are compared."""
CONTOUR: Final = 128
"""Contour pixels of a sample at most, evenly spread, whose displacements are compared with each other."""
FALLEN: Final = np.exp(-1)
"""Correlation at which two displacements are a length apart."""

NAMES: Final = ("bias_px", "random_px", "smooth_px", "flips", "lost", "invented")
_SUMS: Final = ("pixels", "sum", "squares", "components", "flipped", "lost", "seen", "invented")


class LawValue(NamedTuple):
    """A value with its interval; NaN where there is none."""

    value: float
    low: float = np.nan
    high: float = np.nan


def mask_errors(masks_nRR: Masks, views_nRR: Masks) -> Array:
    """What ``label_law`` needs of each sample, (n, Q).

    Displacements of the boundary of all foreground run from the view to the mask, above 0 outwards, at the contour
    pixels of both. Samples without any overlap have none. Then come counts of components, and for each lag the sum of
    the products of two displacements of the mask's contour and the number of such pairs.
    """
    return np.array([_errors_of(mask, view) for mask, view in zip(masks_nRR, views_nRR, strict=True)])


def _errors_of(mask_RR: Masks, view_RR: Masks) -> Array:
    moments, lags = np.zeros(3), np.zeros((2, LAGS))
    found = displacements(view_RR, mask_RR)
    if found is not None:
        shifts = found.shifts
        moments[:] = len(shifts), shifts.sum(), np.square(shifts).sum()
        lags = _by_lag(found.places, found.at_places)
    return np.concatenate([moments, _components(mask_RR, view_RR), lags.ravel()])


def _by_lag(places_P2: NDArray[np.int64], shifts_P: Array) -> NDArray[np.float64]:
    """Sums of products of displacements, and pairs, by distance to the nearest pixel, (2, L)."""
    if len(places_P2) < 2:
        return np.zeros((2, LAGS))
    spread = evenly_spread(len(places_P2), CONTOUR)
    places, shifts = places_P2[spread], shifts_P[spread]
    one, other = np.triu_indices(len(places), 1)
    lag = np.rint(np.linalg.norm(places[one] - places[other], axis=1)).astype(int)
    near = lag <= LAGS
    lag, products = lag[near] - 1, (shifts[one] * shifts[other])[near]
    return np.stack([np.bincount(lag, products, LAGS), np.bincount(lag, minlength=LAGS)])


def _components(mask_RR: Masks, view_RR: Masks) -> Array:
    """Components of the mask, those that flip, those that the view lacks; of the view, and those that the mask lacks.

    A component flips where most of its pixels have another foreground class in the view.
    """
    drawn, seen = components(mask_RR), components(view_RR)
    flipped = [bool(np.mean((view_RR[piece] > 0) & (view_RR[piece] != index)) > 0.5) for index, piece in drawn]
    lost = [not view_RR[piece].any() for _, piece in drawn]
    invented = [not mask_RR[piece].any() for _, piece in seen]
    return np.array([len(drawn), sum(flipped), sum(lost), len(seen), sum(invented)], np.float64)


def label_law(
    pool_nQ: Array,
    real_NQ: Array,
    whose: tuple[NDArray[np.int64], Objects],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, LawValue]:
    """The law by ``NAMES``, of ``mask_errors`` of a pool and of real slices that the judge has not seen.

    ``bias_px`` is the difference of the mean displacements, ``random_px`` the square root of that of their variances
    over all boundary pixels (0 where reals vary more), ``smooth_px`` the SD of the Gaussian that smooths such a field,
    half the distance at which the difference of the autocovariances falls to 1/e of it. ``flips``, ``lost`` (seen in no
    pixel) and ``invented`` (seen and not in the mask) are differences of shares of components. What a side does not
    define is left out.

    Percentile intervals of 95 % over ``draws``, of whole groups of either side, independently (Efron 1979): real
    slices by patient, and so samples that were made from them. Fewer than two groups on a side have none.

    Args:
        pool_nQ: of the pool.
        real_NQ: of the real slices.
        whose: groups (n,) of the samples, then the patients (N,) of the real slices.
        draws: for the intervals.
        rng: for these draws.
    """
    values = _laws(pool_nQ.sum(axis=0)[None], real_NQ.sum(axis=0)[None])
    law = {name: LawValue(float(value[0])) for name, value in values.items() if np.isfinite(value[0])}
    sides = _by_group(pool_nQ, whose[0]), _by_group(real_NQ, whose[1].astype(str))
    if min(map(len, sides)) < 2:
        return law
    pool_DQ, real_DQ = (resampled(len(side), draws, rng).astype(np.float64) @ side for side in sides)
    spread = _laws(pool_DQ, real_DQ)
    for name, told in law.items():
        if np.isfinite(spread[name]).sum() > draws / 2:
            law[name] = LawValue(told.value, *percentile_interval(spread[name]))
    return law


def _by_group(sums_NQ: Array, of_N: NDArray[Any]) -> Array:
    names, place_N = np.unique(of_N, return_inverse=True)
    return np.stack([np.bincount(place_N, column, len(names)) for column in sums_NQ.T], axis=1)


def _laws(pool_DQ: Array, real_DQ: Array) -> dict[str, Array]:
    """``NAMES`` of sums over a pool and over real slices, (D,) each, NaN where a sum is empty."""
    mean, variance, shares, covariance = zip(*(_moments(side) for side in (pool_DQ, real_DQ)), strict=True)
    excess_D = variance[0] - variance[1]
    law = {"bias_px": mean[0] - mean[1], "random_px": np.sqrt(np.maximum(excess_D, 0))}
    law["smooth_px"] = _lengths(covariance[0] - covariance[1], excess_D) / 2
    return law | {name: shares[0][name] - shares[1][name] for name in ("flips", "lost", "invented")}


def _moments(sums_DQ: Array) -> tuple[Array, Array, dict[str, Array], Array]:
    """Mean and variance of displacements (D,), shares of components (D,), autocovariance at each lag (D, L)."""
    of = dict(zip(_SUMS, sums_DQ.T, strict=False))
    products_DL, pairs_DL = np.split(sums_DQ[:, len(_SUMS) :], 2, axis=1)
    mean_D, square_D = (ratio(of[name], of["pixels"]) for name in ("sum", "squares"))
    shares = {
        "flips": ratio(of["flipped"], of["components"]),
        "lost": ratio(of["lost"], of["components"]),
        "invented": ratio(of["invented"], of["seen"]),
    }
    return mean_D, square_D - mean_D**2, shares, ratio(products_DL, pairs_DL) - mean_D[:, None] ** 2


def _lengths(covariance_DL: Array, variance_D: Array) -> Array:
    """Distance at which the correlation falls to ``FALLEN``, (D,): the last known lag where it never does.

    Linear between lags that some pair has. NaN without any variance or lag.
    """
    lengths = np.full(len(variance_D), np.nan)
    for draw, (covariance_L, variance) in enumerate(zip(covariance_DL, variance_D, strict=True)):
        known_L = np.isfinite(covariance_L)
        if not (variance > 0 and known_L.any()):
            continue
        lags = np.concatenate([[0], np.flatnonzero(known_L) + 1])
        correlation = np.concatenate([[1.0], covariance_L[known_L] / variance])
        below = np.flatnonzero(correlation < FALLEN)
        if not len(below):
            lengths[draw] = lags[-1]
            continue
        after = int(below[0])
        high, low = correlation[after - 1], correlation[after]
        part = (high - FALLEN) / (high - low)
        lengths[draw] = lags[after - 1] + part * (lags[after] - lags[after - 1])
    return lengths
