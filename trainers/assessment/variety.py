"""How many patients a pool is as varied as, read off a curve of real slices from few patients to many.

Shapes: N real slices, n samples of a pool, D features, K numbers of patients, S draws.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.assessment.masks import evenly_spread
from medsweep.trainers.measures import kernels
from medsweep.trainers.measures.neighbours import DENSITY_NEIGHBOUR, radii, squared_distances

Array = NDArray[np.float64]

SAMPLES: Final = 500
"""Most samples whose Vendi score is taken, which bounds the time; those of a pool are its first."""
DRAWS: Final = 5
"""Draws of patients behind each point of the curve."""
MOST_REAL: Final = 2000
"""Real slices, evenly spread, that set the width of the kernel."""
FIRST: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""Numbers of patients on the curve, below that of all patients, which ends it."""


@dataclass(frozen=True)
class AsVaried:
    """Patients whose slices have the Vendi score of a pool, the mean over draws and the least and the most of them."""

    patients: float
    low: float
    high: float


def curve(
    features_ND: NDArray[np.floating],
    owners_N: NDArray[np.object_],
    rng: np.random.Generator,
    samples: int = SAMPLES,
) -> Array:
    """Vendi score of at most ``samples`` slices of k patients, (K, 1 + S): k, then the score in each draw of patients.

    A pool that repeats these slices has the same score, whatever its size. (0, 1 + S) with fewer than two patients or
    where the kernel has no width.
    """
    names_N = owners_N.astype(str)
    patients, width = np.unique(names_N), _width(features_ND)
    if len(patients) < 2 or width is None:
        return np.empty((0, 1 + DRAWS))

    def score_of(k: int) -> float:
        rows = np.flatnonzero(np.isin(names_N, rng.permutation(patients)[:k]))
        return _vendi(features_ND[np.sort(rng.permutation(rows)[:samples])], width)

    points = (*(k for k in FIRST if k < len(patients)), len(patients))
    return np.array([[float(k), *(score_of(k) for _ in range(DRAWS))] for k in points])


def as_varied(curve_KS: Array, real_ND: NDArray[np.floating], pool_nD: NDArray[np.floating]) -> AsVaried | None:
    """Number of patients at which each draw of the curve has the pool's Vendi score, by interpolation in logarithms.

    Never more than all patients of the curve, for which a pool that is as varied as all of them would be told too few.
    So numbers are read off what real slices of k patients are told themselves, by the other draws. A score below that
    of one patient is told as a share of it. None where there is no curve.
    """
    score = vendi_of(real_ND, pool_nD)
    if not len(curve_KS) or score is None:
        return None
    told_K = _told_of_real(curve_KS)
    per_draw = [
        float(np.interp(_patients_at(curve_KS[:, 0], vendi_K, score), [0.0, *told_K], [0.0, *curve_KS[:, 0]]))
        for vendi_K in curve_KS[:, 1:].T
    ]
    return AsVaried(float(np.mean(per_draw)), min(per_draw), max(per_draw))


def vendi_of(real_ND: NDArray[np.floating], pool_nD: NDArray[np.floating]) -> float | None:
    """Vendi score of a pool on the scale of the curve of these real slices; None where their kernel has no width."""
    width = _width(real_ND)
    return None if width is None else _vendi(pool_nD[:SAMPLES], width)


def _told_of_real(curve_KS: Array) -> Array:
    """What each number of patients on the curve is told as, mean over all pairs of draws, (K,); it rises."""
    patients_K, draws = curve_KS[:, 0], range(1, curve_KS.shape[1])
    told_K = [
        np.mean([_patients_at(patients_K, curve_KS[:, by], vendi_S[of]) for by in draws for of in draws if by != of])
        for vendi_S in curve_KS
    ]
    return np.maximum.accumulate(np.array(told_K))


def _patients_at(patients_K: Array, vendi_K: Array, score: float) -> float:
    # a draw may fall by chance; numpy wants points that rise
    rising_K = np.maximum.accumulate(vendi_K)
    if score < rising_K[0]:
        return float(score / rising_K[0])
    return float(np.exp(np.interp(np.log(score), np.log(rising_K), np.log(patients_K))))


def _width(real_ND: NDArray[np.floating]) -> float | None:
    """Squared width of the kernel, as ``kernels.gaussian_similarity`` has it; None for too few or equal slices."""
    if len(real_ND) <= DENSITY_NEIGHBOUR:
        return None
    width = float(np.median(radii(real_ND[evenly_spread(len(real_ND), MOST_REAL)], DENSITY_NEIGHBOUR)))
    return width if width > 0 else None


def _vendi(x_ND: NDArray[np.floating], width: float) -> float:
    return kernels.vendi(np.exp(-squared_distances(x_ND, x_ND) / (2 * width)))
