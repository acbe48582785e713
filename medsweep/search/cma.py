"""Suggestions of CMA-ES (Hansen 2016, arXiv:1604.00772) as a function of the results, like those of other samplers.

Optuna's own sampler keeps its state in the trials of a study, which is built anew here each time. So the results are
told in the order in which they came, a population at a time, whichever generation suggested them.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from medsweep.search.results import Result
from medsweep.sweep.space import Params, Range, SearchSection
from medsweep.trial import COMPLETE

WIDTH: Final = 0.3
"""First standard deviation, as a share of each range: most of the space lies within two of the middle."""


def ask_cma(
    section: SearchSection, space: dict[str, Range], results: Sequence[Result], count: int, seed: int
) -> list[Params]:
    """The next ``count`` points. A result that was not measured says nothing of where to look, and is left out."""
    from cmaes import CMA

    size = len(space)
    optimizer = CMA(mean=np.full(size, 0.5), sigma=WIDTH, bounds=np.tile([0.0, 1.0], (size, 1)), seed=seed)
    known = [result for result in results if result.outcome == COMPLETE]
    for first in range(0, len(known) - optimizer.population_size + 1, optimizer.population_size):
        group = sorted(known[first : first + optimizer.population_size], key=lambda result: _badness(section, result))
        optimizer.tell([(_unit(space, result.params), float(rank)) for rank, result in enumerate(group)])
    return [_point(space, optimizer.ask()) for _ in range(count)]


def _badness(section: SearchSection, result: Result) -> tuple[float, float]:
    """Sorts the feasible first, best first; then by how far constraints are exceeded."""
    sign = -1.0 if section.objectives[0].goal == "maximise" else 1.0
    excess = sum(max(0.0, amount) for amount in result.excess.values())
    return excess, sign * result.values[0]


def _unit(space: dict[str, Range], params: Params) -> np.ndarray:
    """A point with each range as 0 to 1, shape ``(fields,)``."""
    shares = []
    for dotted, domain in space.items():
        low, high, value = (math.log(x) if domain.log else x for x in (domain.low, domain.high, params[dotted]))
        shares.append((value - low) / (high - low))
    return np.array(shares)


def _point(space: dict[str, Range], unit: np.ndarray) -> Params:
    """The values at ``unit``, on the steps of their ranges."""
    params: Params = {}
    for (dotted, domain), share in zip(space.items(), unit, strict=True):
        low, high = (math.log(x) if domain.log else x for x in (domain.low, domain.high))
        value = math.exp(low + share * (high - low)) if domain.log else low + share * (high - low)
        step = domain.step or (1.0 if domain.whole else None)
        if step is not None:
            value = domain.low + step * round((value - domain.low) / step)
        params[dotted] = domain.decode(value)
    return params
