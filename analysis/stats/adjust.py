"""Correction for many comparisons: Holm for any family; Shaffer and Bergmann-Hommel for all pairs of arms.

All three hold the family-wise error whatever the dependence of the tests. The last two use that equalities of arms
imply one another: if A differs from B, then C cannot equal both.
"""

import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from medsweep.analysis.records import Array
from medsweep.errors import UserError

SMALLEST: Final = sys.float_info.min
"""The least p that is printed or adjusted: one that underflows is tiny, not 0."""
LARGEST_POOL: Final = 10
"""Arms up to which Bergmann-Hommel is computed: 115,975 partitions; twelve arms have 4.2 million."""


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjustment (Holm 1979); a NaN stays NaN and counts as a comparison."""
    raw = np.asarray(p, dtype=np.float64)
    adjusted = _step_down(raw, np.arange(len(raw), 0, -1))
    return tuple(adjusted.tolist())


def holm_pairs(p_KK: Array) -> Array:
    """Holm over the k (k-1) / 2 pairs of a symmetric k x k matrix; the diagonal is 1."""
    raw = upper(p_KK)
    return symmetric(_step_down(raw, np.arange(len(raw), 0, -1)), len(p_KK))


def shaffer(p_KK: Array) -> Array:
    """Shaffer's static procedure (Shaffer 1986, S1): p_(i) times the most hypotheses that can still all be true.

    ``p_KK``: symmetric k x k matrix of all pairs' p; the adjusted one is returned, never above Holm's. Not for a
    family of comparisons with one control, where it equals Holm. A NaN counts as 1 and stays NaN.

    Raises:
        ValueError: the matrix is not square and symmetric.
    """
    raw, k = upper(p_KK), len(p_KK)
    possible = np.array(sorted(true_counts(k)))
    left = np.arange(len(raw), 0, -1)
    factors = possible[np.searchsorted(possible, left, side="right") - 1]
    return symmetric(_step_down(raw, factors), k)


def true_counts(k: int) -> frozenset[int]:
    """Numbers of pairwise equalities of k arms that can hold at once: S(k) = union of C(j, 2) + S(k - j)."""
    found: list[frozenset[int]] = [frozenset({0}), frozenset({0})]
    for size in range(2, k + 1):
        found.append(frozenset(math.comb(j, 2) + rest for j in range(1, size + 1) for rest in found[size - j]))
    return found[k]


def bergmann_hommel(p_KK: Array) -> Array:
    """Bergmann and Hommel 1988, by exhaustive sets: adjusted p = max over sets I that hold the pair of |I| min p(I).

    A set is exhaustive where exactly its equalities can be true, that is, one per partition of the arms. The most
    powerful of the three, never above Shaffer's. A NaN counts as 1 and stays NaN.

    Raises:
        UserError: more than 10 arms, whose partitions are too many; Shaffer's procedure is the next best.
        ValueError: the matrix is not square and symmetric.
    """
    raw, k = upper(p_KK), len(p_KK)
    if k > LARGEST_POOL:
        raise UserError(
            f"Bergmann-Hommel goes through every partition of the arms, feasible up to {LARGEST_POOL} arms, got {k}; "
            "write shaffer instead of bergmann-hommel"
        )
    known = np.where(np.isnan(raw), 1.0, raw)
    blocks = _partitions(k)
    pairs = list(zip(*np.triu_indices(k, 1), strict=True))
    size = np.zeros(len(blocks))
    smallest = np.ones(len(blocks))
    for (i, j), p in zip(pairs, known, strict=True):
        together = blocks[:, i] == blocks[:, j]
        size += together
        np.minimum(smallest, p, out=smallest, where=together)
    bound = size * smallest
    adjusted = np.array([bound[blocks[:, i] == blocks[:, j]].max() for i, j in pairs])
    return symmetric(np.where(np.isnan(raw), np.nan, np.minimum(adjusted, 1.0)), k)


@lru_cache(maxsize=1)
def _partitions(k: int) -> NDArray[np.int8]:
    """All partitions of k arms, Bell(k) x k block labels: an arm joins a block met before it or opens the next."""
    labels = np.zeros((1, 1), dtype=np.int8)
    for _ in range(1, k):
        choices = labels.max(axis=1).astype(np.intp) + 2
        parents = np.repeat(np.arange(len(labels)), choices)
        joined = np.arange(len(parents)) - np.repeat(np.cumsum(choices) - choices, choices)
        labels = np.column_stack([labels[parents], joined.astype(np.int8)])
    return labels


def _step_down(raw: Array, factors: NDArray[Any]) -> Array:
    """Ascending p times ``factors``, made monotone and cut at 1, in the given order again."""
    known = np.where(np.isnan(raw), 1.0, raw)
    order = np.argsort(known, kind="stable")
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(np.maximum.accumulate(known[order] * factors), 1.0)
    return np.where(np.isnan(raw), math.nan, adjusted)


def upper(p_KK: Array) -> Array:
    """The pairs above the diagonal, row by row.

    Raises:
        ValueError: the matrix is not square and symmetric.
    """
    matrix = np.asarray(p_KK, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"p values of all pairs form a square matrix, got shape {matrix.shape}")
    if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=0, equal_nan=True):
        raise ValueError("p values of all pairs form a symmetric matrix, this one is not")
    return matrix[np.triu_indices(len(matrix), 1)]


def symmetric(pairs: Array, k: int) -> Array:
    """The k x k matrix with ``pairs`` above and below the diagonal, which is 1."""
    matrix = np.ones((k, k))
    rows, columns = np.triu_indices(k, 1)
    matrix[rows, columns] = matrix[columns, rows] = pairs
    return matrix
