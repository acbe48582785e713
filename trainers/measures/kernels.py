"""What kernels say of feature sets: kernel distance with a permutation test, and how many modes a set has.

Shapes: N and M samples, D features, P labellings.
"""

import numpy as np
from numpy.typing import NDArray

from medsweep.trainers.measures.neighbours import radii, squared_distances

Array = NDArray[np.float64]


def cubic_kernel(x_ND: NDArray[np.floating]) -> Array:
    """k(x, y) = (x'y / D + 1)^3 of all pairs, (N, N) (Binkowski et al. 2018)."""
    x_ND = x_ND.astype(np.float64)
    base_NN = x_ND @ x_ND.T
    base_NN /= x_ND.shape[1]
    base_NN += 1
    # a power takes twenty times as long
    kernel: Array = np.square(base_NN)
    kernel *= base_NN
    return kernel


def mmd(kernel_NN: Array, first_PN: NDArray[np.bool_]) -> Array:
    """Squared maximum mean discrepancy of the samples flagged in each row of ``first_PN`` from all others, (P,).

    Unbiased, over all pairs (Gretton et al. 2012, eq. 3): mean 0 where both sets follow one law, so it may be negative.
    Every row needs two samples on each side.
    """
    flags_PN = first_PN.astype(np.float64)
    a_P, b_P = flags_PN.sum(axis=1), (1 - flags_PN).sum(axis=1)
    own_N = np.diag(kernel_NN)
    rows_PN = flags_PN @ kernel_NN - flags_PN * own_N
    within_a = (rows_PN * flags_PN).sum(axis=1)
    between = (rows_PN * (1 - flags_PN)).sum(axis=1)
    within_b = kernel_NN.sum() - own_N.sum() - within_a - 2 * between
    value_P: Array = within_a / (a_P * (a_P - 1)) + within_b / (b_P * (b_P - 1)) - 2 * between / (a_P * b_P)
    return value_P


def kid(
    real_ND: NDArray[np.floating], synthetic_MD: NDArray[np.floating], permutations: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Kernel distance (KID, Binkowski et al. 2018) over all samples, and its one-sided permutation p.

    p = (1 + labellings at least as far apart) / (1 + permutations). It takes samples for exchangeable; slices of a
    patient are alike, so with real slices it is too small.
    """
    kernel = cubic_kernel(np.concatenate([real_ND, synthetic_MD]))
    given_N = np.arange(len(kernel)) < len(real_ND)
    shuffled_PN = rng.permuted(np.tile(given_N, (permutations, 1)), axis=1)
    observed, *chance = mmd(kernel, np.vstack([given_N, shuffled_PN]))
    return float(observed), float((1 + (np.array(chance) >= observed).sum()) / (1 + permutations))


def gaussian_similarity(real_ND: NDArray[np.floating], x_MD: NDArray[np.floating], neighbour: int) -> Array | None:
    """Similarity exp(-d^2 / (2 r^2)) of all pairs of ``x_MD``, (M, M).

    r is the median distance from a real sample to its ``neighbour``-th nearest real one; None where r is 0.
    """
    scale = np.median(radii(real_ND, neighbour))
    return np.exp(-squared_distances(x_MD, x_MD) / (2 * scale)) if scale > 0 else None


def vendi(similarity_NN: Array) -> float:
    """Effective number of distinct samples, in [1, N]: exp of the entropy of the eigenvalues of K / N.

    The diagonal of K must be 1 (Friedman and Dieng 2023, definition 3.1).
    """
    share_N = np.linalg.eigvalsh(similarity_NN / len(similarity_NN))
    share_N = share_N[share_N > 0]
    return float(np.exp(-(share_N * np.log(share_N)).sum()))
