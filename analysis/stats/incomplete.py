"""Do the arms differ where trials left holes? Skillings and Mack's test over whatever each patient has.

A sensitivity beside the complete cases, for holes that do not depend on the score (a job that crashed). A missed
structure or a diverged training is a score, not a hole.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from medsweep.analysis.records import Array
from medsweep.analysis.stats.adjust import SMALLEST
from medsweep.analysis.stats.omnibus import ALIKE, TWO_ARMS, NoOmnibus


@dataclass(frozen=True)
class SkillingsMack:
    """Statistic over ``n`` patients with two scores or more, of whom ``complete`` have all.

    ``scores`` are the arms' weighted, centred rank sums: the lowest is best. ``dropped`` patients have fewer than two
    scores, ``missing`` cells are empty among the n patients, ``ties`` patients have tied scores.
    """

    arms: tuple[str, ...]
    n: int
    complete: int
    dropped: int
    missing: int
    ties: int
    scores: tuple[float, ...]
    statistic: float
    df: int
    p: float
    note: str = ""
    method: str = "Skillings-Mack, permutation covariance"


def skillings_mack(wide: pd.DataFrame, *, higher_is_better: bool) -> SkillingsMack | NoOmnibus:
    """Friedman's test for incomplete blocks (Skillings and Mack 1981), T = A' Cov^- A ~ chi2(k - 1).

    ``wide``: patients x arms, NaN for a missing cell, infinity is a score. Patient i ranks its k_i scores; a missing
    one has the middle rank; A_j = sum_i sqrt(12 / (k_i + 1)) (r_ij - (k_i + 1) / 2). Ties shrink the covariance to
    that of the permutations of each patient's ranks, so that complete data give Friedman's tied chi2, and a balanced
    incomplete design Durbin's. Assumes holes unrelated to the scores; the chi2 is rough below about 10 patients.
    """
    values = wide.to_numpy(dtype=np.float64).round(12)
    k = values.shape[1]
    if k <= 2:
        return NoOmnibus(TWO_ARMS if k == 2 else f"{k} arm: nothing to compare")
    here = ~np.isnan(values)
    used = here.sum(axis=1) >= 2
    here, values = here[used], values[used]
    arms = tuple(str(arm) for arm in wide.columns)
    unlinked = _unlinked(here)
    if unlinked:
        names = ", ".join(repr(arms[arm]) for arm in unlinked)
        return NoOmnibus(f"no chain of patients links {arms[0]!r} with {names}: their ranks do not compare")
    weighted_NK, spread_N, ties = _weighted_ranks(values if not higher_is_better else -values, here)
    scores = weighted_NK.sum(axis=0)
    covariance = _covariance(here, spread_N)
    counts = (len(values), int(here.all(axis=1).sum()), int((~used).sum()), int((~here).sum()), ties)
    if not spread_N.any():
        return SkillingsMack(arms, *counts, tuple(scores.tolist()), 0.0, k - 1, 1.0, ALIKE)
    statistic = float(scores @ np.linalg.pinv(covariance, hermitian=True) @ scores)
    df = int(np.linalg.matrix_rank(covariance, hermitian=True))
    note = "" if df == k - 1 else f"ties leave {df} of {k - 1} degrees of freedom"
    p = max(float(stats.chi2.sf(statistic, df)), SMALLEST)
    return SkillingsMack(arms, *counts, tuple(scores.tolist()), statistic, df, p, note)


def _weighted_ranks(values: Array, here: Array) -> tuple[Array, Array, int]:
    """Weighted centred ranks, 0 where missing; each patient's covariance scale (1 without ties); tied patients."""
    size = here.sum(axis=1)
    # missing cells sort behind all others, infinite scores included, so the ranks of the rest are their own
    filled = np.where(here, values, np.nan)
    ranks = stats.rankdata(filled, axis=1, nan_policy="omit")
    centred = np.where(here, ranks - (size[:, None] + 1) / 2, 0.0)
    untied = size * (size**2 - 1) / 12
    squares = (centred**2).sum(axis=1)
    return centred * np.sqrt(12 / (size + 1))[:, None], squares / untied, int((squares < untied - 1e-9).sum())


def _covariance(here: Array, spread_N: Array) -> Array:
    """Minus the (tie-shrunken) number of patients that two arms share; rows sum to 0."""
    together = (here * spread_N[:, None]).T @ here.astype(np.float64)
    covariance: Array = -together
    np.fill_diagonal(covariance, 0.0)
    np.fill_diagonal(covariance, -covariance.sum(axis=1))
    return covariance


def _unlinked(here: Array) -> list[int]:
    """Arms that no chain of shared patients links with the first arm."""
    shared = here.T.astype(np.float64) @ here.astype(np.float64) > 0
    reached = np.zeros(len(shared), dtype=bool)
    reached[0] = True
    for _ in range(len(shared)):
        reached |= shared[reached].any(axis=0)
    return np.flatnonzero(~reached).tolist()
