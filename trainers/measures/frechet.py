"""Fréchet distance between two sets of features: plug-in, interval over patients, and for endlessly many samples.

Shapes: N and M samples, D features, K = min(M, D). Distances are squared and in squared feature units.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.measures.resampling import resampled

Array = NDArray[np.float64]

SIZES, REPEATS, SPREAD = 10, 4, 4
"""Of the extrapolation: numbers of samples, draws of each, and the largest number over the smallest."""

DRAWS = 16
"""Draws, and patients, worked at a time, which bounds the memory."""


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian fitted to a feature set."""

    mean: Array
    """(D,)"""
    root: Array
    """R (K, D) with R' R the covariance."""

    @classmethod
    def of(cls, x_ND: NDArray[np.floating]) -> "Gaussian":
        """That of a feature set with two samples or more."""
        mean_D = x_ND.mean(axis=0, dtype=np.float64)
        return cls(mean_D, _covariance_root(x_ND, mean_D))


def frechet(a_ND: NDArray[np.floating], b_MD: NDArray[np.floating]) -> float:
    """``distance`` of the Gaussians fitted to two feature sets.

    Raises:
        ValueError: fewer than two samples in a set.
    """
    if min(len(a_ND), len(b_MD)) < 2:
        raise ValueError(f"a covariance needs two samples, got {len(a_ND)} and {len(b_MD)}")
    return distance(Gaussian.of(a_ND), Gaussian.of(b_MD))


def distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet distance of two Gaussians (Heusel et al. 2017, eq. 6).

    With A, B the centred features over sqrt(n - 1), the trace term tr (S_a S_b)^(1/2) is the nuclear norm of A B',
    so no matrix root is taken and covariances without full rank (N <= D) are exact.
    """
    cross = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    shift = np.square(a.mean - b.mean).sum()
    return float(max(0.0, shift + np.square(a.root).sum() + np.square(b.root).sum() - 2 * cross))


def frechet_spread(
    real_ND: NDArray[np.floating],
    owners_N: NDArray[np.object_],
    synthetic_MD: NDArray[np.floating],
    draws: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """2.5 and 97.5 % points of the distance over resampled patients, as deviations from the mean over the draws.

    Patients, three or more, are drawn with replacement, each with all its samples, since slices of a patient are alike.
    Repeated patients raise every draw, so only how far the draws lie apart is used, not where they lie.
    """
    patients, place_N = np.unique(owners_N.astype(str), return_inverse=True)
    mean_D = synthetic_MD.mean(axis=0, dtype=np.float64)
    root_KD, x_ND = _covariance_root(synthetic_MD, mean_D), real_ND - mean_D
    # tr (S_a S_b)^(1/2) is the sum of the roots of the eigenvalues of R S_a R', with R' R = S_b the same in every draw
    seen_NK, square_N = x_ND @ root_KD.T, np.square(x_ND).sum(axis=1)
    counts = resampled(len(patients), draws, rng)
    values: list[float] = []
    for first in range(0, draws, DRAWS):
        block = counts[first : first + DRAWS]
        weighted = zip(block, _products(seen_NK, place_N, block), strict=True)
        values += [_weighted(x_ND, seen_NK, square_N, count[place_N], products) for count, products in weighted]
    low, high = np.quantile(np.array(values) - np.mean(values), (0.025, 0.975))
    return float(low), float(high)


def frechet_infinity(
    real_ND: NDArray[np.floating], synthetic_MD: NDArray[np.floating], rng: np.random.Generator
) -> float:
    """Distance extrapolated to endlessly many samples of both sets (after Chong and Forsyth 2020).

    The bias is about linear in 1 / n: the intercept of a line through the distances at ``SIZES`` sizes, both sets cut
    to the same n without replacement, ``REPEATS`` times each. Needs 100 samples in a set. May fall below 0 by chance.
    """
    most = min(len(real_ND), len(synthetic_MD))
    sizes = np.repeat(np.linspace(most // SPREAD, most, SIZES).astype(int), REPEATS)
    values = [
        frechet(real_ND[rng.permutation(len(real_ND))[:n]], synthetic_MD[rng.permutation(len(synthetic_MD))[:n]])
        for n in sizes
    ]
    return float(np.polynomial.polynomial.polyfit(1 / sizes, values, 1)[0])


def _products(seen_NK: Array, place_N: NDArray[np.integer], counts_BP: NDArray[np.integer]) -> Array:
    """Sum of y' y over samples y, as often as their patient was drawn, (B, K, K); one product per patient."""
    size = seen_NK.shape[1]
    products_BQ = np.zeros((len(counts_BP), size**2))
    for first in range(0, counts_BP.shape[1], DRAWS):
        places = range(first, min(first + DRAWS, counts_BP.shape[1]))
        own = np.array([(y := seen_NK[place_N == place]).T @ y for place in places])
        products_BQ += counts_BP[:, places].astype(np.float64) @ own.reshape(len(places), -1)
    return products_BQ.reshape(-1, size, size)


def _weighted(x_ND: Array, seen_NK: Array, square_N: Array, weight_N: NDArray[np.integer], products_KK: Array) -> float:
    """Distance, less tr S, of samples repeated ``weight_N`` times from a Gaussian of mean 0 and covariance S = R' R.

    ``seen_NK`` is x R', and ``products_KK`` the sum over those of y' y; tr S is the same in every draw.
    """
    weight_N = weight_N.astype(np.float64)
    total = weight_N.sum()
    mean_D, mean_K = weight_N @ x_ND / total, weight_N @ seen_NK / total
    shift = np.square(mean_D).sum()
    inner_KK = (products_KK - total * np.outer(mean_K, mean_K)) / (total - 1)
    trace = (weight_N @ square_N - total * shift) / (total - 1)
    roots_K = np.sqrt(np.maximum(np.linalg.eigvalsh(inner_KK), 0))
    return float(shift + trace - 2 * roots_K.sum())


def _covariance_root(x_ND: NDArray[np.floating], mean_D: Array) -> Array:
    """R with R' R = covariance, at most (D, D): the triangle of a QR keeps every inner product."""
    return np.asarray(np.linalg.qr((x_ND - mean_D) / np.sqrt(len(x_ND) - 1), mode="r"))
