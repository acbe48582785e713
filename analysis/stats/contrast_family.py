"""Contrasts of arms as one family, with the pooled error over runs: ladders, interactions, effects of a factorial.

A 2^k factorial reads every effect off all its runs, so that a cause is found with as many runs as all cells have
together, not with those of one arm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from medsweep.analysis.records import Array, Estimate, t_estimate
from medsweep.analysis.stats.arm_family import unit_means
from medsweep.analysis.stats.arm_tests import Patients, Units, shared_units
from medsweep.analysis.stats.dunnett import adjusted_p, quantiles
from medsweep.analysis.stats.equivalence import Evidence, Verdict, verdict
from medsweep.analysis.stats.run_error import RunError, blocked_error, independent_error
from medsweep.analysis.table.reduction import AnalysisRules, Reduced
from medsweep.errors import UserError, nearest

INDEPENDENT = 0.0
"""Correlation that no family falls below in what it must pay (Sidak 1967); exact for a balanced factorial."""


@dataclass(frozen=True)
class ContrastTest:
    """A weighted sum of arms: ``estimate`` has the interval and p of the family, [low, high] that of equivalence.

    ``conditional``: one network per arm on one held-out set, so that it holds for these trained networks.
    """

    name: str
    weights: Mapping[str, float]
    patients: int
    estimate: Estimate
    narrow_low: float
    narrow_high: float
    verdict: Verdict
    conditional: bool


def contrast_family(
    reduced: Reduced,
    contrasts: Mapping[str, Mapping[str, float]],
    rules: AnalysisRules,
    test_over_train: float | None = None,
) -> tuple[ContrastTest, ...]:
    """Each contrast by name with its weights by arm, in the given order; those without a test are left out.

    Patients with an infinite score in any arm are left out of all contrasts. Superior and inferior are meant for the
    sum of the arms with positive weights.

    Raises:
        UserError: an arm is unknown, or weights do not add up to 0.
    """
    arms = [str(arm) for arm in reduced.wide]
    weights = {name: _weights(name, by_arm, arms) for name, by_arm in contrasts.items()}
    units, patients, conditional = unit_means(reduced, rules, test_over_train)
    if units is None:
        return ()
    tests = []
    for name, weights_A in weights.items():
        single = _estimate(units, weights_A, 1 - rules.alpha)
        if single is not None:
            adjusted = _in_family(single, len(weights), 1 - rules.alpha)
            narrow = single.interval(1 - 2 * rules.alpha)
            reached = _verdict(adjusted, narrow, rules.margin, higher=reduced.metric.higher_is_better)
            tests.append(ContrastTest(name, contrasts[name], patients, adjusted, *narrow, reached, conditional))
    return tuple(tests)


def _weights(name: str, by_arm: Mapping[str, float], arms: list[str]) -> Array:
    for arm in by_arm:
        if arm not in arms:
            raise UserError(f"analysis.contrasts: {name}: no arm is called {arm!r}; {nearest(arm, arms)}")
    weights = np.array([float(by_arm.get(arm, 0.0)) for arm in arms])
    if abs(weights.sum()) > 1e-9 or not weights.any():
        total = f"{weights.sum():g}"
        raise UserError(
            f"analysis.contrasts: {name}: weights must add up to 0 and not all be 0, they add up to {total}"
        )
    return weights


def _estimate(units: Units, weights_A: Array, level: float) -> Estimate | None:
    value, error = _value_and_error(units, weights_A)
    if error is None:
        return None
    variance, df = float(error.variance[0]) * units.inflation, float(error.df[0])
    if units.patients is not None:
        variance, df = _with_patients(variance, df, units.patients, weights_A)
    return t_estimate(value, math.sqrt(variance), df, level)


def _value_and_error(units: Units, weights_A: Array) -> tuple[float, RunError | None]:
    if units.blocked:
        means_AU, rows = shared_units(units.means, np.flatnonzero(weights_A).tolist())
        if not means_AU.shape[1]:
            return math.nan, None
        return float((weights_A[rows] @ means_AU).mean()), blocked_error(means_AU[None], weights_A[rows])
    runs = [row[np.isfinite(row)] for row in units.means]
    spread = np.array([row.var(ddof=1) if len(row) > 1 else 0.0 for row in runs])
    counts = np.array([len(row) for row in runs])
    value = float(weights_A @ np.array([row.mean() for row in runs]))
    return value, independent_error(spread[None], counts, weights_A)


def _with_patients(variance: float, df: float, patients: Patients, weights_A: Array) -> tuple[float, float]:
    """Adds patients x contrast where above 0, as for a pair (Hillis 2007)."""
    sums_P = weights_A @ patients.means
    n = len(sums_P)
    spread = float(sums_P.var(ddof=1)) / n
    residual = float((weights_A**2 * patients.residuals / patients.runs).sum()) / n
    fewest = np.maximum(patients.runs[weights_A != 0] - 1, 1)
    total = variance + max(spread - residual, 0.0)
    doubt = variance**2 / df + spread**2 / (n - 1) + residual**2 / (float(fewest.sum()) * (n - 1))
    return total, max(total**2 / doubt, float(fewest.min())) if doubt > 0 else math.inf


def _in_family(single: Estimate, contrasts: int, level: float) -> Estimate:
    half = float(quantiles(np.array([single.df]), contrasts, level, INDEPENDENT)[0]) * single.se
    p = single.p if single.se == 0 else adjusted_p(single.value / single.se, single.df, contrasts, INDEPENDENT)
    return replace(single, p=p, low=single.value - half, high=single.value + half)


def _verdict(adjusted: Estimate, narrow: tuple[float, float], margin: float, *, higher: bool) -> Verdict:
    sign = int(adjusted.low > 0) - int(adjusted.high < 0)
    inside = -margin < narrow[0] and narrow[1] < margin
    return verdict(Evidence(different=sign != 0, inside=inside, sign=sign if higher else -sign))
