"""All pairs of arms: the matrix beside Nemenyi's test, sharper corrections on request, and how far the pool decides.

Every record here is over patients as blocks, complete. Signed-rank p of a pair depend on that pair alone; those that
start from mean ranks (Nemenyi, Conover, exact rank sums) move with the other arms.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from scipy import stats

from medsweep.analysis.records import Array, Estimate, mean_estimate
from medsweep.analysis.stats.adjust import SMALLEST, bergmann_hommel, holm_pairs, shaffer, symmetric
from medsweep.analysis.stats.omnibus import ranks_of, refuse_holes
from medsweep.analysis.stats.posthoc import critical_difference, standard_error
from medsweep.analysis.stats.signed_rank import signed_rank_ps
from medsweep.analysis.stats.studentised import range_sf
from medsweep.analysis.table.tables import difference
from medsweep.errors import UserError, nearest

Method = Literal["conover", "exact", "shaffer", "bergmann-hommel"]
METHODS: Final = ("conover", "exact", "shaffer", "bergmann-hommel")
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Pair:
    """``first`` minus ``second`` in units of the metric; ``wins`` are patients for whom ``first`` is better.

    The mean is over the ``n_finite`` patients with a finite difference; p and wins are over all.
    """

    first: str
    second: str
    n_finite: int
    mean: Estimate
    wins: int
    ties: int
    losses: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Pairwise:
    """Every pair once, in the order of ``arms``; signed-rank p with Holm over all k (k-1) / 2 pairs.

    ``order`` are positions in ``arms``, best mean first (an arm with an infinite score last, by mean rank).
    """

    arms: tuple[str, ...]
    n: int
    alpha: float
    level: float
    higher_is_better: bool
    order: tuple[int, ...]
    pairs: tuple[Pair, ...]
    method: str = "Wilcoxon signed-rank, Pratt zeros; Holm over all pairs"

    @property
    def k(self) -> int:
        """Number of arms."""
        return len(self.arms)


@dataclass(frozen=True)
class AllPairs:
    """p of all pairs, raw and adjusted, k x k in the order of ``arms``; ``note`` says where a rule was bent.

    NaN where the procedure does not fit the data, and ``note`` says why.
    """

    arms: tuple[str, ...]
    n: int
    method: str
    test: str
    correction: str
    p_raw: Matrix
    p: Matrix
    note: str = ""


@dataclass(frozen=True)
class Flip:
    """Nemenyi's p of a pair with all arms, and with ``left_out`` gone; one is below alpha, the other is not."""

    first: str
    second: str
    left_out: str
    p_all: float
    p_without: float


@dataclass(frozen=True)
class LeaveOneOut:
    """Verdicts of Nemenyi's test that another arm decides, of ``checked`` pairs x arms left out."""

    arms: tuple[str, ...]
    n: int
    alpha: float
    checked: int
    flips: tuple[Flip, ...]
    note: str = ""


def pairwise(wide: pd.DataFrame, *, higher_is_better: bool, alpha: float, level: float) -> Pairwise:
    """Mean difference, win/tie/loss, and signed-rank p with Holm for every pair (Ismail-Fawaz et al. 2023, the MCM).

    ``wide``: n patients x k arms, complete; intervals of the mean are t intervals at ``level``. Two infinite scores
    of a patient differ by 0.

    Raises:
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    values = wide.to_numpy(dtype=np.float64)
    n, k = values.shape
    rows, columns = np.triu_indices(k, 1)
    delta = difference(values[:, rows], values[:, columns])
    raw = signed_rank_ps(delta)
    adjusted = holm_pairs(symmetric(raw, k))[rows, columns]
    gains = delta if higher_is_better else -delta
    wins, ties = (gains > 0).sum(axis=0).tolist(), (gains == 0).sum(axis=0).tolist()
    arms = tuple(str(arm) for arm in wide.columns)
    pairs = []
    for at, (i, j) in enumerate(zip(rows, columns, strict=True)):
        finite = delta[np.isfinite(delta[:, at]), at]
        counts = (wins[at], ties[at], n - wins[at] - ties[at])
        estimate = mean_estimate(finite, level)
        pairs.append(Pair(arms[i], arms[j], len(finite), estimate, *counts, float(raw[at]), float(adjusted[at])))
    return Pairwise(arms, n, alpha, level, higher_is_better, _order(wide, higher_is_better), tuple(pairs))


def _order(wide: pd.DataFrame, higher_is_better: bool) -> tuple[int, ...]:
    means = wide.to_numpy(dtype=np.float64).mean(axis=0).round(12)
    ranks = ranks_of(wide, higher_is_better=higher_is_better).to_numpy().mean(axis=0)
    oriented = -means if higher_is_better else means
    return tuple(sorted(range(len(means)), key=lambda i: (oriented[i], ranks[i], i)))


def all_pairs(wide: pd.DataFrame, method: Method, *, higher_is_better: bool) -> AllPairs:
    """All pairs by a sharper procedure than Nemenyi's, on request.

    ``shaffer`` and ``bergmann-hommel`` correct signed-rank p, which do not depend on the pool; ``conover`` is the t
    test on rank sums (Conover 1999, 5.8) with Holm, which does, and which assumes that the omnibus test rejects;
    ``exact`` is the exact p of the difference of two rank sums (Eisinga et al. 2017) with Holm, where few patients make
    Nemenyi's approximation rough, and where none of them ties arms.

    Raises:
        UserError: an unknown method, or more arms than Bergmann-Hommel can take.
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    arms, (n, k) = tuple(str(arm) for arm in wide.columns), wide.shape
    if method not in METHODS:
        raise UserError(f"analysis.post_hoc: no procedure is called {method!r}; {nearest(method, METHODS)}")
    if method in ("conover", "exact"):
        ranks = ranks_of(wide, higher_is_better=higher_is_better).to_numpy()
        raw, note = _conover(ranks) if method == "conover" else _exact(ranks)
        test = "Conover's t on rank sums" if method == "conover" else "exact difference of rank sums"
        adjusted = raw if np.isnan(raw).any() else holm_pairs(raw)
        return AllPairs(arms, n, method, test, "Holm", matrix(raw), matrix(adjusted), note)
    values = wide.to_numpy(dtype=np.float64)
    rows, columns = np.triu_indices(k, 1)
    raw = symmetric(signed_rank_ps(difference(values[:, rows], values[:, columns])), k)
    adjusted = shaffer(raw) if method == "shaffer" else bergmann_hommel(raw)
    correction = "Shaffer (static)" if method == "shaffer" else "Bergmann-Hommel"
    return AllPairs(arms, n, method, "Wilcoxon signed-rank", correction, matrix(raw), matrix(adjusted))


def _conover(ranks_NK: Array) -> tuple[Array, str]:
    """|S_i - S_j| / sqrt(2 (n A - sum S^2) / ((n-1)(k-1))) ~ t((n-1)(k-1)), A = sum r^2, S rank sums.

    One order in every patient leaves no error term; the sign test of each pair is exact there.
    """
    n, k = ranks_NK.shape
    sums = ranks_NK.sum(axis=0)
    apart = np.abs(sums[:, None] - sums[None, :])
    error = n * float((ranks_NK**2).sum()) - float((sums**2).sum())
    df = (n - 1) * (k - 1)
    if df == 0 or error < 1e-9 * n * float((ranks_NK**2).sum()):
        p = np.where(apart > 0, min(1.0, 2.0 ** (1 - n)), 1.0)
        return p, "every patient ranks the arms in the same order, so Conover's t has no error term: sign test instead"
    p = np.maximum(2 * stats.t.sf(apart / math.sqrt(2 * error / df), df), SMALLEST)
    np.fill_diagonal(p, 1.0)
    return p, ""


def _exact(ranks_NK: Array) -> tuple[Array, str]:
    """P(|D| >= d) of two arms' rank-sum difference, by convolution over patients (Eisinga et al. 2017, eq. 7).

    In one patient D = +-d has probability (k - d) / (k (k-1)) under random order, d = 1 .. k-1. NaN with ties, whose
    orders are fewer.
    """
    n, k = ranks_NK.shape
    tied = int((np.diff(np.sort(ranks_NK, axis=1), axis=1) == 0).any(axis=1).sum())
    if tied:
        note = f"none, since {tied} of {n} patients tie arms and the exact distribution is for untied ranks"
        return np.full((k, k), math.nan), note
    steps = np.abs(np.arange(1 - k, k))
    one = np.where(steps > 0, (k - steps) / (k * (k - 1)), 0.0)
    pmf = np.ones(1)
    for _ in range(n):
        pmf = np.convolve(pmf, one)
    tail = np.cumsum(pmf[::-1])[::-1][n * (k - 1) :]
    sums = ranks_NK.sum(axis=0)
    apart = np.abs(sums[:, None] - sums[None, :]).round().astype(int)
    return np.where(apart == 0, 1.0, np.clip(2 * tail[apart], SMALLEST, 1.0)), ""


def leave_one_arm_out(wide: pd.DataFrame, *, higher_is_better: bool, alpha: float) -> LeaveOneOut:
    """Which of Nemenyi's verdicts another arm decides (Benavoli, Corani and Mangili 2016): each is left out in turn.

    Without arm a, the mean rank of j falls by the share of patients for whom a beats j, ties counting half. Needs
    four arms, since two are no pool.

    Raises:
        ValueError: a cell has no score.
    """
    refuse_holes(wide)
    arms, (n, k) = tuple(str(arm) for arm in wide.columns), wide.shape
    if k < 4:
        return LeaveOneOut(arms, n, alpha, 0, (), f"{k} arms: leaving one out leaves no pool of three")
    values = wide.to_numpy(dtype=np.float64).round(12)
    oriented = values if higher_is_better else -values
    beats = np.stack([((one > oriented) + 0.5 * (one == oriented)).mean(axis=0) for one in oriented.T[:, :, None]])
    ranks = 0.5 + beats.sum(axis=0)
    far, i, j = critical_difference(k, n, alpha), *np.triu_indices(k, 1)
    apart = _gaps(ranks, i, j)
    flips = []
    for left_out in range(k):
        without = _gaps(ranks - beats[left_out], i, j)
        flipped = (apart >= far) != (without >= critical_difference(k - 1, n, alpha))
        for at in np.flatnonzero(flipped & (i != left_out) & (j != left_out)):
            p = (_nemenyi_p(apart[at], k, n), _nemenyi_p(without[at], k - 1, n))
            flips.append(Flip(arms[i[at]], arms[j[at]], arms[left_out], *p))
    return LeaveOneOut(arms, n, alpha, k * math.comb(k - 1, 2), tuple(flips))


def _gaps(ranks: Array, i: Any, j: Any) -> Array:
    """Differences of mean ranks; rounding keeps one that equals the critical difference on one side of it."""
    gaps: Array = np.abs(ranks[i] - ranks[j]).round(12)
    return gaps


def _nemenyi_p(gap: float, k: int, n: int) -> float:
    return float(range_sf(np.array(gap * math.sqrt(2) / standard_error(k, n)), k))


def matrix(p_KK: Any) -> Matrix:
    """A square array as the records hold it."""
    return tuple(tuple(row) for row in np.asarray(p_KK).tolist())
