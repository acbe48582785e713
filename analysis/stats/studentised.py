"""The range of k independent standard normal values: the studentised range at infinite degrees of freedom."""

from functools import lru_cache

import numpy as np
from scipy import optimize, special

from medsweep.analysis.records import Array
from medsweep.analysis.stats.adjust import SMALLEST

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_REACH = 9.5
"""The integrand is below 1e-16 of its peak this far from q / 2."""


def range_sf(q: Array, k: int) -> Array:
    """P(Q >= q) for each q >= 0, relative accuracy about 1e-10 far into the tail.

    P(Q < q) = k int phi(z) [Phi(z) - Phi(z - q)]^(k-1) dz with z the largest value (Lund and Lund 1983). The tail is
    integrated itself, k int phi(z) Phi(z)^(k-1) (1 - [1 - Phi(z - q) / Phi(z)]^(k-1)) dz, since 1 - P would lose it.
    Never 0: below the smallest normal double, that double is returned.
    """
    q_M = np.asarray(q, dtype=np.float64).reshape(-1, 1)
    z_MZ = q_M / 2 + _REACH * _NODES
    with np.errstate(divide="ignore", under="ignore"):
        log_top = special.log_ndtr(z_MZ)
        beyond = np.minimum(np.exp(special.log_ndtr(z_MZ - q_M) - log_top), 1.0)
        share = -np.expm1((k - 1) * np.log1p(-beyond))
        density = np.exp(-(z_MZ**2) / 2 + (k - 1) * log_top) / np.sqrt(2 * np.pi)
        tail = k * _REACH * (share * density) @ _WEIGHTS
    tail = np.where(q_M[:, 0] == 0, 1.0, np.clip(tail, SMALLEST, 1.0))
    return tail.reshape(np.shape(q))


@lru_cache(maxsize=256)
def range_quantile(alpha: float, k: int) -> float:
    """The q with P(Q >= q) = ``alpha``, for k normal values.

    Raises:
        ValueError: fewer than two values, or an alpha outside (0, 1).
    """
    if k < 2 or not 0 < alpha < 1:
        raise ValueError(f"a critical range needs k >= 2 and 0 < alpha < 1, got k = {k}, alpha = {alpha:g}")

    def excess(q: float) -> float:
        """Difference of logarithms, which is nearly a parabola in q."""
        return float(np.log(range_sf(np.array([q]), k)[0]) - np.log(alpha))

    return float(optimize.brentq(excess, 1e-6, 60.0, xtol=1e-13, rtol=1e-14))
