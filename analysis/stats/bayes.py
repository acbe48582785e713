"""How probable is it that the arm is better, worse, or no different in practice? The Bayesian signed-rank test.

Benavoli, Mangili, Corani, Zaffalon, Ruggeri 2014 (a Bayesian Wilcoxon signed-rank test based on the Dirichlet process)
with the region of practical equivalence of Benavoli, Corani, Demsar, Zaffalon 2017. Exploratory beside TOST: the
verdict does not read it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from medsweep.analysis.records import Array
from medsweep.identity import derive_seed

PRIOR_STRENGTH: Final = 0.5
"""Pseudo-patients of the prior (Benavoli et al. 2017), all of them at no difference: for practical equivalence."""
MOST_DRAWS: Final = 50_000
FEWEST_DRAWS: Final = 10_000
WORK: Final = 5_000_000
"""Draws x patients by default: 50,000 draws up to 100 patients, 10,000 from 500; error of a probability below .005."""
EDGE: Final = 1e-11
CHUNK: Final = 256
"""Draws held at once: the arrays stay in the processor's cache."""


@dataclass(frozen=True)
class BayesSignedRank:
    """Posterior over ``n`` patients; ``p_better`` + ``p_rope`` + ``p_worse`` = 1, whatever the metric's direction.

    Each is the share of ``draws`` in which its region has the largest of the three masses theta; ``theta_*`` are the
    posterior means of the masses. ``rope`` in units of the metric, the prior ``prior_strength`` pseudo-patients at
    ``prior_at``. NaN throughout for no patient.
    """

    n: int
    rope: float
    p_better: float
    p_rope: float
    p_worse: float
    theta_better: float
    theta_rope: float
    theta_worse: float
    draws: int
    prior_strength: float = PRIOR_STRENGTH
    prior_at: float = 0.0


def bayes_signed_ranks(
    differences: Mapping[str, Array], rope: float, *, higher_is_better: bool, draws: int | None = None
) -> dict[str, BayesSignedRank]:
    """Posterior of every arm's N differences (arm minus control), a shared draw of weights for arms of equal N.

    Weights (w_0, w_1 .. w_N) ~ Dirichlet(s, 1 .. 1) on the prior's z_0 = 0 and the gains z_1 .. z_N give

        theta_better = sum_ij w_i w_j 1[z_i + z_j >  2 rope],  theta_worse = sum_ij w_i w_j 1[z_i + z_j < -2 rope]

    and theta_rope the rest (Benavoli et al. 2017, section 4.2; the edge of the region belongs to it). Assumes patients
    independent and gains symmetric about their centre; conditional on the trained models. Not for folds or seeds as
    the N. Infinite gains count as larger than all others; of opposite signs they cancel.

    Raises:
        ValueError: ``rope`` is negative, or a difference is NaN.
    """
    if not rope >= 0:
        raise ValueError(f"rope must be >= 0, got {rope!r}; give the margin in units of the metric")
    sizes: dict[int, dict[str, Array]] = {}
    for arm, values in differences.items():
        if np.isnan(values).any():
            raise ValueError(f"arm {arm!r}: {int(np.isnan(values).sum())} of {len(values)} differences are NaN")
        sizes.setdefault(len(values), {})[arm] = _sorted_gains(values, rope, higher_is_better=higher_is_better)
    found: dict[str, BayesSignedRank] = {}
    for n, gains in sizes.items():
        count = draws if draws is not None else min(MOST_DRAWS, max(FEWEST_DRAWS, WORK // max(n, 1)))
        found |= _posteriors(gains, n, rope, count)
    return {arm: found[arm] for arm in differences}


def _sorted_gains(differences: Array, rope: float, *, higher_is_better: bool) -> Array:
    """The N gains, ascending; infinities become finite and larger than any sum of others."""
    gains = differences if higher_is_better else -differences
    finite = gains[np.isfinite(gains)]
    far = 4 * (float(np.abs(finite).max(initial=0.0)) + rope) + 1
    return np.sort(np.clip(gains, -far, far))


def _posteriors(gains: Mapping[str, Array], n: int, rope: float, draws: int) -> dict[str, BayesSignedRank]:
    """Arms of one N. Weights are exchangeable, so one draw and its cumulative sums serve every arm's sorted gains."""
    if n == 0:
        nan = math.nan
        return {arm: BayesSignedRank(0, rope, nan, nan, nan, nan, nan, nan, draws) for arm in gains}
    rng = np.random.default_rng(derive_seed("analysis", "bayes signed rank"))
    masses = {arm: np.empty((3, draws)) for arm in gains}
    for start in range(0, draws, CHUNK):
        size = min(CHUNK, draws - start)
        w_NB = rng.standard_exponential((n, size))
        prior_B = rng.standard_gamma(PRIOR_STRENGTH, size)
        total_B = w_NB.sum(axis=0) + prior_B
        w_NB, prior_B = w_NB / total_B, prior_B / total_B
        sum_NB = np.concatenate([np.zeros((1, size)), np.cumsum(w_NB, axis=0)])
        # worse is better for the gains mirrored, which reverses their order and the sign alone
        mirrored_NB = sum_NB[-1] - sum_NB[::-1]
        for arm, z in gains.items():
            better_B = _mass_above(z, w_NB, sum_NB, prior_B, rope)
            worse_B = _mass_above(-z[::-1], w_NB[::-1], mirrored_NB, prior_B, rope)
            masses[arm][:, start : start + size] = better_B, 1 - better_B - worse_B, worse_B
    return {arm: _summary(mass_3B, n, rope) for arm, mass_3B in masses.items()}


def _mass_above(z: Array, w_NB: Array, sum_NB: Array, prior_B: Array, rope: float) -> Array:
    """sum_ij w_i w_j 1[z_i + z_j > 2 rope] over the sorted gains and the prior at 0, (B,); ``sum_NB`` starts at 0.

    Pairs are both above rope, or one (j) above and one (i) not, with z_i > 2 rope - z_j: cumulative sums give the
    weight of such i, so that no N x N table arises. The prior's pseudo-patient pairs with z_j > 2 rope.
    """
    # a sum that equals the edge up to the tables' rounding counts as the edge
    first, far = np.searchsorted(z, [rope + EDGE / 2, 2 * rope + EDGE], side="right")
    reach = np.searchsorted(z, 2 * rope + EDGE - z[first:], side="right")
    above_B = sum_NB[-1] - sum_NB[first]
    mixed_B = above_B * sum_NB[first] - np.einsum("nb,nb->b", w_NB[first:], sum_NB[reach])
    mass_B: Array = above_B**2 + 2 * mixed_B + 2 * prior_B * (sum_NB[-1] - sum_NB[far])
    return mass_B


def _summary(mass_3B: Array, n: int, rope: float) -> BayesSignedRank:
    winner = mass_3B.argmax(axis=0)
    shares = np.bincount(winner, minlength=3) / mass_3B.shape[1]
    means = mass_3B.mean(axis=1)
    return BayesSignedRank(
        n=n,
        rope=rope,
        p_better=float(shares[0]),
        p_rope=float(shares[1]),
        p_worse=float(shares[2]),
        theta_better=float(means[0]),
        theta_rope=float(means[1]),
        theta_worse=float(means[2]),
        draws=mass_3B.shape[1],
    )
