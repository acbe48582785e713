"""One bootstrap draw for all arms: how often each patient is drawn, as weights, so that means are a matrix product."""

from functools import lru_cache
from typing import Final

import numpy as np

from medsweep.analysis.records import Array
from medsweep.identity import derive_seed

RESAMPLES: Final = 10_000
CHUNK: Final = 2_000_000
"""Patients drawn at a time, which bounds the memory beside the matrix itself."""


@lru_cache(maxsize=2)
def patient_weights(n: int, resamples: int, purpose: str) -> Array:
    """``resamples`` x ``n`` weights, each row multinomial counts / n, so that ``weights @ scores`` are bootstrap means.

    The seed depends on ``purpose`` alone: all arms and metrics of one data set see the same patients drawn. The
    result is shared between callers and cannot be written to. Patients must be exchangeable: this is not a draw for
    clustered or stratified patients.
    """
    rng = np.random.default_rng(derive_seed("analysis", purpose))
    weights = np.empty((resamples, n))
    rows = max(1, CHUNK // n)
    for start in range(0, resamples, rows):
        block = weights[start : start + rows]
        cells = rng.integers(n, size=block.shape) + n * np.arange(len(block))[:, None]
        block[:] = np.bincount(cells.ravel(), minlength=block.size).reshape(block.shape)
    weights /= n
    weights.flags.writeable = False
    return weights


def resampled_means(weights: Array, scores: Array) -> Array:
    """``weights @ scores`` (resamples x arms) to 1e-12; a drawn infinite score makes the mean infinite, never NaN.

    Raises:
        ValueError: a score is missing, or a column holds both infinities.
    """
    infinite = np.isinf(scores)
    if np.isnan(scores).any() or ((scores == np.inf).any(axis=0) & (scores == -np.inf).any(axis=0)).any():
        raise ValueError("means need scores without NaN and with infinities of one sign per arm")
    means: Array = (weights @ np.where(infinite, 0.0, scores)).round(12)
    for column in np.flatnonzero(infinite.any(axis=0)):
        drawn = weights[:, infinite[:, column]].any(axis=1)
        means[drawn, column] = scores[infinite[:, column], column][0]
    return means
