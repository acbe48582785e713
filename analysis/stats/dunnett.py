"""Many arms against one control at once: adjusted p and quantiles of simultaneous intervals (Dunnett 1955).

The differences share the control, so that any two of them correlate: by one half where all arms have as many units.
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np
import scipy
from scipy import special

from medsweep.analysis.records import Array

EQUAL: Final = 0.5
"""Correlation of two differences where arms and control have as many units."""
_NODES: Final = 32
_SCALES: Final = 120


def adjusted_p(t: float, df: float, arms: int, correlation: float = EQUAL) -> float:
    """P(max |T_i| >= |t|) over ``arms`` differences, T multivariate t on ``df``; NaN for NaN.

    Dunnett 1955; the correlation is a product of equal factors, so that one normal variable is shared.
    """
    if math.isnan(t) or math.isnan(df):
        return math.nan
    if math.isinf(t):
        return 0.0
    # never beyond one arm alone and Bonferroni, also where the integral is too coarse for so small a p
    alone = 2 * float(special.stdtr(df, -abs(t)))
    return min(max(1.0 - _inside(abs(t), df, arms, correlation), alone), arms * alone, 1.0)


def quantiles(df: Array, arms: int, level: float, correlation: float = EQUAL) -> Array:
    """c with P(max |T_i| < c) = ``level`` for each of the ``df``, by interpolation of log c over 1 / df.

    ``df`` below 1 count as 1.
    """
    inverse, logs = _table(arms, level, correlation)
    c: Array = np.exp(np.interp(1 / np.maximum(df, 1.0), inverse, logs))
    return c


@lru_cache(maxsize=64)
def _table(arms: int, level: float, correlation: float) -> tuple[Array, Array]:
    """Quantiles on a grid of 1/df that is dense where df are large."""
    inverse = np.linspace(0.0, 1.0, 29) ** 1.5
    dfs = np.divide(1.0, inverse, out=np.full_like(inverse, np.inf), where=inverse > 0)
    return inverse, np.log([_quantile(float(df), arms, level, correlation) for df in dfs])


def _quantile(df: float, arms: int, level: float, correlation: float) -> float:
    """Between Student's and Bonferroni's; the latter where the integral is too coarse for so extreme a level."""
    low, high = (-float(special.stdtrit(df, (1 - level) / 2 / count)) for count in (1, arms))
    if not _inside(low, df, arms, correlation) < level < _inside(high, df, arms, correlation):
        return high
    return float(scipy.optimize.brentq(lambda c: _inside(c, df, arms, correlation) - level, low, high))


@lru_cache(maxsize=1)
def _normal_nodes() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()


@lru_cache(maxsize=4096)
def _scale_nodes(df: float) -> tuple[Array, Array]:
    """Values of s = sqrt(chi2_df / df) with their weights: the trapezium rule over log s, which is smooth."""
    if math.isinf(df):
        return np.ones(1), np.ones(1)
    spread = 1 / math.sqrt(2 * df)
    logs = np.linspace(-9 * spread - 8 / df, 6 * spread, _SCALES)
    density = df * logs - df / 2 * np.exp(2 * logs)
    weights = np.exp(density - density.max())
    return np.exp(logs), weights / weights.sum()


def _inside(c: float, df: float, arms: int, correlation: float) -> float:
    """P(max |T_i| < c), given the shared normal variable and the scale the differences are independent."""
    nodes, weights = _normal_nodes()
    scales, shares = _scale_nodes(round(df, 6))
    own, shared = math.sqrt(1 - correlation), math.sqrt(correlation) * nodes
    reach = c * scales[:, None]
    each = special.ndtr((reach - shared) / own) - special.ndtr((-reach - shared) / own)
    return float(shares @ (each**arms @ weights))
