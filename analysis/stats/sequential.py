"""Looks at growing data: the level of each, so that all of them together err no more often than one would.

A test repeated at ``alpha`` errs more often than ``alpha`` (Armitage, McPherson and Rowe 1969). So the level is spent
over the looks by a function of the share of the data that is there (Lan and DeMets 1983). What one look may spend gives
it a nominal level, and a p value of any test is compared with that (the significance-level approach for t statistics,
Jennison and Turnbull 2000, chapter 3).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import scipy
from scipy import special

from medsweep.analysis.records import Array

Spending = Literal["obrien-fleming", "pocock"]

LEAST: Final = 1e-8
"""Level below which nothing is worth a number; a look as early stops for nothing."""
_NODES: Final = 200
_FARTHEST: Final = 30.0
"""Standard deviations beyond which a normal variable is not looked for."""


@dataclass(frozen=True)
class Look:
    """One of several planned analyses: ``seeds`` of ``most`` are in, and p values are held against ``alpha``."""

    number: int
    """From 1."""
    looks: int
    seeds: int
    most: int
    alpha: float
    overall: float
    """Level of all looks together."""
    spending: Spending


def looks_of(seeds: Sequence[int], overall: float, spending: Spending) -> tuple[Look, ...]:
    """The looks after so many ``seeds``, growing numbers; the last is the most."""
    alphas = nominal_levels([count / seeds[-1] for count in seeds], overall, spending)
    return tuple(
        Look(number, len(seeds), count, seeds[-1], alpha, overall, spending)
        for number, (count, alpha) in enumerate(zip(seeds, alphas, strict=True), start=1)
    )


def nominal_levels(fractions: Sequence[float], alpha: float, spending: Spending) -> tuple[float, ...]:
    """Two-sided level of each look; ``fractions`` are the growing shares of the data, the last one 1.

    Under no difference the first crossing lies at a look with the probability that is spent there.
    """
    spent, walk, levels = 0.0, _Walk(), list[float]()
    for fraction in fractions:
        due = _spent(fraction, alpha, spending)
        step = due - spent
        walk.go_to(fraction)
        reach = _FARTHEST * math.sqrt(fraction)
        bound = scipy.optimize.brentq(lambda bound, due=step: walk.beyond(bound) - due, 0.0, reach, xtol=1e-10)
        levels.append(max(2 * _tail(bound / math.sqrt(fraction)), LEAST))
        walk.stay_inside(bound)
        spent = due
    return tuple(levels)


def error_of_peeking(fractions: Sequence[float], levels: Sequence[float]) -> float:
    """Chance of a two-sided p below the level at any look, where there is no difference."""
    error, walk = 0.0, _Walk()
    for fraction, level in zip(fractions, levels, strict=True):
        bound = _quantile(level / 2) * math.sqrt(fraction)
        walk.go_to(fraction)
        error += walk.beyond(bound)
        walk.stay_inside(bound)
    return error


def _spent(fraction: float, alpha: float, spending: Spending) -> float:
    """Error allowed up to a share of the data; Lan and DeMets 1983, two-sided."""
    functions: dict[Spending, Callable[[], float]] = {
        "obrien-fleming": lambda: 4 * _tail(_quantile(alpha / 4) / math.sqrt(fraction)),
        "pocock": lambda: alpha * math.log(1 + (math.e - 1) * fraction),
    }
    return functions[spending]()


def _tail(z: float) -> float:
    """P(Z > z)."""
    return float(special.ndtr(-z))


def _quantile(tail: float) -> float:
    """z with P(Z > z) = ``tail``."""
    return float(-special.ndtri(tail))


class _Walk:
    """Density of a Brownian motion that has stayed within all bounds so far, on nodes of Gauss and Legendre."""

    def __init__(self) -> None:
        self._at = self._next = 0.0
        self._nodes: Array = np.zeros(1)
        self._mass: Array = np.ones(1)

    def go_to(self, fraction: float) -> None:
        self._at, self._next = self._next, fraction

    def beyond(self, bound: float) -> float:
        """Probability of having stayed inside before, and to lie beyond +-bound now."""
        step = math.sqrt(self._next - self._at)
        outside = special.ndtr((self._nodes - bound) / step) + special.ndtr((-self._nodes - bound) / step)
        return float(self._mass @ outside)

    def stay_inside(self, bound: float) -> None:
        step = math.sqrt(self._next - self._at)
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        nodes = bound * nodes
        density = np.exp(-(((nodes[:, None] - self._nodes) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        self._nodes, self._mass = nodes, bound * weights * (density @ self._mass)
