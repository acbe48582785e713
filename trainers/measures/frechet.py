"""Fréchet distance between two sets of features: plug-in, interval over patients, and for endlessly many samples.

Shapes: N and M samples, D features, K = min(M, D). Distances are squared and in squared feature units.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZES, REPEATS, SPREAD = 10, 4, 4
"""Of the extrapolation: numbers of samples, draws of each, and the largest number over the smallest."""


def frechet(a_ND: NDArray[np.floating], b_MD: NDArray[np.floating]) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two feature sets (Heusel et al. 2017, eq. 6).

    With A, B the centred features over sqrt(n - 1), the trace term tr (S_a S_b)^(1/2) is the nuclear norm of A B',
    so no matrix root is taken and covariances without full rank (N <= D) are exact.

    Raises:
        ValueError: fewer than two samples in a set.
    """
    if min(len(a_ND), len(b_MD)) < 2:
        raise ValueError(f"a covariance needs two samples, got {len(a_ND)} and {len(b_MD)}")
    mean_a, mean_b = a_ND.mean(axis=0, dtype=np.float64), b_MD.mean(axis=0, dtype=np.float64)
    root_a, root_b = _covariance_root(a_ND, mean_a), _covariance_root(b_MD, mean_b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    shift = np.square(mean_a - mean_b).sum()
    return float(max(0.0, shift + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross))


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
    counts = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=draws)
    values = [_weighted(x_ND, seen_NK, square_N, counts[draw][place_N]) for draw in range(draws)]
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


def _weighted(x_ND: Array, seen_NK: Array, square_N: Array, weight_N: NDArray[np.integer]) -> float:
    """Distance, less tr S, of samples repeated ``weight_N`` times from a Gaussian of mean 0 and covariance S = R' R.

    ``seen_NK`` is x R'; tr S is the same in every draw.
    """
    total = weight_N.sum()
    mean_D, mean_K = weight_N @ x_ND / total, weight_N @ seen_NK / total
    shift = np.square(mean_D).sum()
    inner_KK = (seen_NK.T @ (seen_NK * weight_N[:, None]) - total * np.outer(mean_K, mean_K)) / (total - 1)
    trace = (weight_N @ square_N - total * shift) / (total - 1)
    roots_K = np.sqrt(np.maximum(np.linalg.eigvalsh(inner_KK), 0))
    return float(shift + trace - 2 * roots_K.sum())


def _covariance_root(x_ND: NDArray[np.floating], mean_D: Array) -> Array:
    """R with R' R = covariance, at most (D, D): the triangle of a QR keeps every inner product."""
    return np.asarray(np.linalg.qr((x_ND - mean_D) / np.sqrt(len(x_ND) - 1), mode="r"))
