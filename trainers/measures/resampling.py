"""Draws with replacement, and the intervals that they give (Efron 1979). Shapes: D draws."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVEL: Final = 0.95


def resampled(count: int, draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each of ``count`` is drawn with replacement, (draws, count)."""
    counts: NDArray[np.int64] = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return counts


def percentile_interval(values_D: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the middle ``LEVEL`` of the draws that are finite; NaN where none is."""
    finite = values_D[np.isfinite(values_D)]
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if finite.size else (np.nan, np.nan)
    return float(low), float(high)
