"""What could this design have shown? Smallest detectable difference, and the power to show equivalence."""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from scipy import special

from medsweep.analysis.records import Array
from medsweep.analysis.stats.effects import Effect
from medsweep.analysis.stats.method_tests import mean_squares
from medsweep.analysis.stats.run_error import few_networks

TARGET = 0.8
"""The power asked for."""
PRECISION = 1e-9
"""Relative error to which the smallest detectable difference is found, at the quantiles taken."""
PILOT_PATIENTS = 5
"""Patients from whom an SD of differences is worth more than the assumption."""


@dataclass(frozen=True)
class Power:
    """For one comparison: SD of the differences over n patients, and what a design of that size shows.

    ``detectable`` is the true mean difference found with power ``TARGET`` at alpha / comparisons.
    ``tost`` is the probability of showing equivalence when the true difference is 0.
    """

    arm: str
    n: int
    sd: float
    detectable: float
    tost: float


def power_of(effect: Effect, *, margin: float, alpha: float, comparisons: int) -> Power:
    """Power of one arm against the control; NaN for n < 2."""
    arm, n, sd = effect.arm, effect.n_finite, effect.sd
    if n < 2 or math.isnan(sd):
        return Power(arm, n, sd, math.nan, math.nan)
    return Power(arm, n, sd, detectable(n, sd, alpha / comparisons), tost_power(n, sd, margin, alpha))


def detectable(n: int, sd: float, alpha: float, target: float = TARGET) -> float:
    """Smallest mean difference a two-sided paired t test over ``n`` patients finds with power ``target``.

    Its power is the mean over sample SDs of the normal probability of a mean beyond their critical value. The
    noncentral t of SciPy 1.17 and the search of statsmodels 0.15 are wrong for few patients and small alpha.
    """
    sds, weights = _spreads(n)
    reach = special.stdtrit(n - 1, 1 - alpha / 2) * sds

    def beyond(shift: float) -> float:
        return float(weights @ (special.ndtr(shift - reach) + special.ndtr(-shift - reach)))

    low, high = 0.0, 1.0
    while beyond(high) < target:
        low, high = high, 2 * high
    while high - low > PRECISION * high:
        shift = (low + high) / 2
        low, high = (shift, high) if beyond(shift) < target else (low, shift)
    return (low + high) / 2 / math.sqrt(n) * sd


def _spreads(n: int) -> tuple[Array, Array]:
    """Sample SDs of ``n`` normal values over the true one, at quantiles that are dense at both ends, and their weights.

    Midpoints v of equal steps, at the quantiles v^2 (3 - 2v), so that the ends, where an SD changes fast, count little.
    """
    v = (np.arange(4000) + 0.5) / 4000
    sds: Array = np.sqrt(2 * special.gammaincinv((n - 1) / 2, v**2 * (3 - 2 * v)) / (n - 1))
    return sds, 6 * v * (1 - v) / len(v)


def tost_power(n: int, sd: float, margin: float, alpha: float) -> float:
    """P(both one-sided tests reject) at a true difference of 0.

    The integral over the sample SD s of P(|mean| < margin - t s / sqrt(n)), a form of Owen's Q, at chi-square
    quantiles of s. Certain without spread.
    """
    if sd == 0:
        return 1.0
    sds, weights = _spreads(n)
    s = sd * sds
    room = margin - special.stdtrit(n - 1, 1 - alpha) * s / math.sqrt(n)
    inside = 2 * special.ndtr(np.maximum(room, 0) * math.sqrt(n) / sd) - 1
    return float(weights @ inside)


@dataclass(frozen=True)
class Spread:
    """SDs of the primary metric that a design's power depends on, in its units.

    ``differences``: of per-patient differences from the control, averaged over the runs that test the patient;
    ``run``: of retraining the same arm; ``residual``: of one score beside patient and run. ``measured`` names those
    that a pilot gave, the others are assumptions.
    """

    differences: float = 0.04
    run: float = 0.006
    residual: float = 0.02
    measured: tuple[str, ...] = ()


ASSUMED = Spread()
"""For Dice, where nothing has been published yet."""
ASSUMABLE = ("dice", "region_dice")
"""Metrics in whose units the assumptions are stated."""


@dataclass(frozen=True)
class Size:
    """A design: distinct patients tested, trained networks per arm, scores per patient and arm, comparisons."""

    patients: int
    folds: int
    seeds: int
    scores: float
    """Runs that test the same patient, on average."""
    comparisons: int

    def with_seeds(self, seeds: int) -> "Size":
        """The same with more or fewer seeds."""
        return replace(self, seeds=seeds, scores=self.scores * seeds / self.seeds)

    @property
    def runs(self) -> int:
        """Trained networks per arm."""
        return self.folds * self.seeds


@dataclass(frozen=True)
class DesignPower:
    """What a design can show before it is run: ``models`` holds for the trained networks, ``method`` when retrained.

    Both are the true mean difference found with power .8 at alpha / comparisons; ``tost`` is the
    power to show equivalence within the margin at alpha; ``run_share`` is the share of the method's variance that more
    seeds would shrink and more patients would not.
    """

    size: Size
    spread: Spread
    margin: float
    alpha: float
    models: float
    method: float
    tost: float
    run_share: float


def design_power(size: Size, spread: Spread, *, margin: float, alpha: float) -> DesignPower:
    """Power of a planned design of at least 2 patients."""
    step = alpha / size.comparisons
    arm = patient_arm(size, spread)
    models = detectable(size.patients, spread.differences, step)
    run = spread.run**2 / size.runs
    rest = (arm**2 + spread.residual**2 / size.scores) / size.patients
    return DesignPower(
        size=size,
        spread=spread,
        margin=margin,
        alpha=alpha,
        models=models,
        # A normal approximation for few patients may fall below the t test of a question that is easier.
        method=max(models, method_detectable(size, spread, arm, step)),
        tost=tost_power(size.patients, spread.differences, margin, alpha),
        run_share=run / (run + rest) if run + rest > 0 else 0.0,
    )


def patient_arm(size: Size, spread: Spread) -> float:
    """SD of what an arm means to a patient beyond its mean effect: s_d^2 / 2 = s_pa^2 + s_res^2 / S; never below 0."""
    return math.sqrt(max(spread.differences**2 / 2 - spread.residual**2 / size.scores, 0.0))


def method_detectable(size: Size, spread: Spread, arm: float, alpha: float) -> float:
    """Smallest mean difference found when patients and trainings are random; ``arm`` is s_pa.

    z sqrt(2 (s_run^2 / R + s_pa^2 / N + s_res^2 / (N S))) with z = z_(1 - alpha/2) + z_TARGET, R runs per arm, N
    patients and S scores of each; a normal approximation, optimistic for fewer than 5 runs. The folds' training sets
    overlap, which it does not know.
    """
    z = float(special.ndtri(1 - alpha / 2) + special.ndtri(TARGET))
    n = size.patients
    variance = spread.run**2 / size.runs + arm**2 / n + spread.residual**2 / (n * size.scores)
    return z * math.sqrt(2 * variance)


def patients_for_equivalence(sd: float, margin: float, alpha: float) -> int:
    """Fewest patients with whom equivalence within the margin is shown with power ``TARGET``."""
    high = 4
    while tost_power(high, sd, margin, alpha) < TARGET:
        high *= 2
    # the power grows with n, and it was too low at half of ``high``
    return bisect_left(range(high), TARGET, lo=high // 2 + 1, key=lambda n: tost_power(n, sd, margin, alpha))


MOST: Final = 10_000
"""Seeds or patients beyond which a design is out of reach."""


def seeds_needed(size: Size, spread: Spread, difference: float, alpha: float) -> int | None:
    """Fewest seeds, patients as they are, with which retrained networks show the difference; None where none do.

    One will do where folds train networks of their own.
    """
    per_seed, arm = size.scores / size.seeds, patient_arm(size, spread)
    least = 1 if size.folds > 1 else 2
    return _fewest(lambda n: replace(size, seeds=n, scores=n * per_seed), spread, arm, difference, alpha, least=least)


def patients_needed(size: Size, spread: Spread, difference: float, alpha: float) -> int | None:
    """Fewest patients, seeds as they are, with whom retrained networks show the difference; None where none do."""
    return _fewest(lambda n: replace(size, patients=n), spread, patient_arm(size, spread), difference, alpha)


def _fewest(
    at: Callable[[int], Size], spread: Spread, arm: float, difference: float, alpha: float, *, least: int = 2
) -> int | None:
    def shown(count: int) -> bool:
        """The power grows with the count."""
        size = at(count)
        return method_detectable(size, spread, arm, alpha / size.comparisons) <= difference

    fewest = bisect_left(range(MOST), True, lo=least, key=shown)
    return fewest if fewest < MOST else None


def pilot(cells: pd.DataFrame, control: str) -> Spread | None:
    """SDs from what is published: columns arm, fold, seed, patient, value; None where they tell neither kind.

    Control trials of at least two seeds give run and residual, averaged over folds; the other arms give the SD of
    per-patient differences, as the root of their mean variance. What they do not tell keeps its assumption.
    """
    measured: dict[str, float] = {}
    tables = [
        rows.pivot(index="patient", columns="seed", values="value").dropna().to_numpy(dtype=np.float64)
        for _, rows in cells[cells["arm"] == control].groupby("fold")
    ]
    squares = [mean_squares(table) for table in tables if min(table.shape) >= 2]
    if squares:
        measured["run"] = math.sqrt(
            max(float(np.mean([(square.runs - square.residual) / square.n_patients for square in squares])), 0.0)
        )
        measured["residual"] = math.sqrt(np.mean([square.residual for square in squares]))
    wide = cells.pivot(index=["patient", "fold", "seed"], columns="arm", values="value")
    if control in wide:
        differences = wide.drop(columns=control).sub(wide[control], axis=0).groupby("patient").mean()
        variances = [column.var(ddof=1) for _, column in differences.items() if column.count() >= PILOT_PATIENTS]
        if variances:
            measured["differences"] = math.sqrt(np.mean(variances))
    return Spread(**measured, measured=tuple(measured)) if measured else None


def sentences(power: DesignPower, metric: str) -> tuple[str, ...]:
    """The design, what it finds, what it can call equivalent; then a warning for each thing it cannot do."""
    size, spread = power.size, power.spread
    named = {"differences": "of differences", "run": "of retraining", "residual": "residual"}
    stated = ", ".join(
        f"{getattr(spread, field):.2g} {label} ({'measured' if field in spread.measured else 'assumed'})"
        for field, label in named.items()
    )
    lines = [
        f"power: {size.patients} patients tested, {size.folds} fold(s) x {size.seeds} seed(s), {size.comparisons} "
        f"comparison(s) with the control",
        f"  SD {stated}",
        f"  smallest {metric} difference found with power 0.8 at alpha {power.alpha:g}/{size.comparisons}: "
        f"{power.models:.3f}, by retrained networks {power.method:.3f}",
        f"  power to show equivalence within {power.margin:g}: {power.tost:.2f}",
    ]
    if size.folds == 1 and few_networks(size.seeds, size.comparisons + 1):
        lines.append(
            f"  warning: {size.seeds} seed(s) of {size.comparisons + 1} arms on one held-out set cannot judge a "
            "method; verdicts will hold for the trained networks alone, and no winner is named"
        )
    if power.tost < 0.5:
        needed = patients_for_equivalence(spread.differences, power.margin, power.alpha)
        lines.append(
            f"  warning: equivalence within {power.margin:g} cannot be shown; it takes {needed} patients, or a wider "
            "margin"
        )
    if power.run_share > 0.5:
        more = size.with_seeds(2 * size.seeds)
        gain = method_detectable(more, spread, patient_arm(size, spread), power.alpha / size.comparisons)
        lines.append(
            f"  warning: seeds are the bottleneck, {power.run_share:.0%} of the variance is retraining: with "
            f"{2 * size.seeds} seeds {gain:.3f}"
        )
    return tuple(lines)
