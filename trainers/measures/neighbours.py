"""What nearest neighbours say of two feature sets: fidelity, diversity, and copies of training samples.

Shapes: N real and M synthetic samples, D features. Distances are Euclidean.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Groups = NDArray[np.integer]

PRECISION_NEIGHBOUR = 3
"""Neighbour that sets the ball of a sample in precision and recall."""

DENSITY_NEIGHBOUR = 5
"""Neighbour that sets the ball of a sample in density and coverage."""

BLOCK = 512
"""Samples compared with all others at a time, which bounds the memory."""


def squared_distances(a_ND: NDArray[np.floating], b_MD: NDArray[np.floating]) -> Array:
    """Squared distances of all pairs, (N, M)."""
    # |a|^2 + |b|^2 - 2 a'b cancels where features lie far from the origin
    origin_D = b_MD.mean(axis=0, dtype=np.float64)
    a_ND, b_MD = a_ND - origin_D, b_MD - origin_D
    squares = np.square(a_ND).sum(axis=1)[:, None] + np.square(b_MD).sum(axis=1)
    distances: Array = np.maximum(squares - 2 * a_ND @ b_MD.T, 0)
    return distances


def radii(x_ND: NDArray[np.floating], neighbour: int) -> Array:
    """Squared distance from each sample to its ``neighbour``-th nearest other one, (N,)."""
    return _kth(squared_distances(x_ND, x_ND), neighbour)


def prdc(real_ND: NDArray[np.floating], synthetic_MD: NDArray[np.floating]) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019, eq. 2), density, coverage (Naeem et al. 2020).

    All but density lie in [0, 1], density in [0, inf), and higher is better. A sample's ball reaches to its k-th
    nearest neighbour in its own set. k is ``PRECISION_NEIGHBOUR`` for the first two and ``DENSITY_NEIGHBOUR`` for the
    others. The values depend on the sizes of the sets, so compare them at N = M, with N > ``DENSITY_NEIGHBOUR``.
    """
    within_NN = squared_distances(real_ND, real_ND)
    between_NM = squared_distances(real_ND, synthetic_MD)
    near_real_NM = between_NM <= _kth(within_NN, PRECISION_NEIGHBOUR)[:, None]
    near_synthetic_NM = between_NM <= radii(synthetic_MD, PRECISION_NEIGHBOUR)
    far_real_NM = between_NM <= _kth(within_NN, DENSITY_NEIGHBOUR)[:, None]
    return {
        "precision": float(near_real_NM.any(axis=0).mean()),
        "recall": float(near_synthetic_NM.any(axis=1).mean()),
        "density": float(far_real_NM.sum(axis=0).mean() / DENSITY_NEIGHBOUR),
        "coverage": float(far_real_NM.any(axis=1).mean()),
    }


def nearest(
    x_MD: NDArray[np.floating], train_ND: NDArray[np.floating], groups: tuple[Groups, Groups] | None = None
) -> tuple[Array, NDArray[np.integer]]:
    """Distance from each of ``x_MD`` to the nearest of ``train_ND``, and its number, (M,) each.

    Pairs with the same number in ``groups`` ((M,), (N,)) do not count; the distance is infinite where none is left.
    """
    distance_M, index_M = np.empty(len(x_MD)), np.empty(len(x_MD), int)
    for first in range(0, len(x_MD), BLOCK):
        block = slice(first, first + BLOCK)
        squares = squared_distances(x_MD[block], train_ND)
        if groups is not None:
            squares[groups[0][block, None] == groups[1]] = np.inf
        index_M[block] = squares.argmin(axis=1)
        distance_M[block] = np.sqrt(squares.min(axis=1))
    return distance_M, index_M


def nearest_other(x_ND: NDArray[np.floating]) -> Array:
    """Distance from each of two or more samples to the nearest other one, (N,)."""
    itself = np.arange(len(x_ND))
    return nearest(x_ND, x_ND, (itself, itself))[0]


def authenticity(train_ND: NDArray[np.floating], own_N: Array, x_MD: NDArray[np.floating]) -> float:
    """Share of samples farther from their nearest training sample than that is from any other one, in [0, 1].

    Alaa et al. 2022 (AuthPct in Stein et al. 2023). Copies give 0. ``own_N`` is ``nearest_other`` of the training
    samples.
    """
    distance_M, index_M = nearest(x_MD, train_ND)
    return float((distance_M > own_N[index_M]).mean())


def between_owners(x_ND: NDArray[np.floating], owners_N: NDArray[np.object_]) -> float | None:
    """Median distance from a sample to the nearest one of another owner; None with fewer than two owners."""
    names, owner_N = np.unique(owners_N.astype(str), return_inverse=True)
    return float(np.median(nearest(x_ND, x_ND, (owner_N, owner_N))[0])) if len(names) > 1 else None


def _kth(squares_NN: Array, neighbour: int) -> Array:
    # the diagonal, zero, takes place 0 of each row
    return np.partition(squares_NN, neighbour, axis=1)[:, neighbour]
