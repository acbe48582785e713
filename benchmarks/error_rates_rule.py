"""Simulated sweeps and the rule of the headline written out on arrays, for ``benchmarks/error_rates.py``.

S sweeps, A arms (the control first), K arms besides it, R seeds, P patients.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medsweep.analysis.records import Array
from medsweep.analysis.stats.wilcoxon import signed_rank_pmf
from medsweep.analysis.table.reduction import AnalysisRules

CONTROL = "real only"
ARMS = (CONTROL, "arm 1", "arm 2", "arm 3", "arm 4")
PLAN = AnalysisRules()
PATIENT_SD, PATIENT_ARM_SD, RESIDUAL_SD = 0.08, 0.01, 0.02
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Design:
    """How the patients are tested; SDs of what a training set moves beside the run, and of patient x arm."""

    name: str
    folds: int
    patients: int
    seeds: int
    training_set_sd: float = 0.0
    patient_arm_sd: float = PATIENT_ARM_SD

    @property
    def fold_of(self) -> NDArray[np.int64]:
        """The fold that tests each patient."""
        return np.arange(self.patients) % self.folds


def simulate(design: Design, run_sd: float, sweeps: int, rng: np.random.Generator) -> Array:
    """Scores without any difference: sweeps x arms x seeds x patients."""
    s, a, r, p, f = sweeps, len(ARMS), design.seeds, design.patients, design.folds
    run_SARF = rng.normal(0, run_sd, (s, a, r, f)) + rng.normal(0, design.training_set_sd, (s, a, 1, f))
    patient_S11P = rng.normal(0.7, PATIENT_SD, (s, 1, 1, p))
    patient_arm_SA1P = rng.normal(0, design.patient_arm_sd, (s, a, 1, p))
    residual_SARP = rng.normal(0, RESIDUAL_SD, (s, a, r, p))
    scores: Array = patient_S11P + patient_arm_SA1P + run_SARF[..., design.fold_of] + residual_SARP
    return scores


@dataclass(frozen=True)
class T:
    """Estimates with standard error and degrees of freedom, any shape."""

    value: Array
    se: Array
    df: Array | float

    @property
    def p(self) -> Array:
        """Two-sided, against 0."""
        p: Array = 2 * special.stdtr(self.df, -np.abs(self.value) / self.se)
        return p

    def half(self, level: float) -> Array:
        """Half of the interval."""
        half: Array = special.stdtrit(self.df, 0.5 + level / 2) * self.se
        return half

    @property
    def inside(self) -> Flags:
        """Two one-sided tests at alpha."""
        flags: Flags = np.abs(self.value) + self.half(1 - 2 * PLAN.alpha) < PLAN.margin
        return flags


def mean_t(values: Array) -> T:
    """One-sample t over the last axis."""
    n = values.shape[-1]
    return T(values.mean(axis=-1), values.std(axis=-1, ddof=1) / math.sqrt(n), n - 1)


def over_runs(d_SKRP: Array, design: Design, *, peer: bool) -> T:
    """Differences with runs as random; the peer's degrees of freedom have the runs' mean square alone."""
    r, p = design.seeds, design.patients
    if design.folds > 1:
        folds = [d_SKRP[..., design.fold_of == fold].mean(axis=(-2, -1)) for fold in range(design.folds)]
        return mean_t(np.stack(folds, axis=-1))
    runs, patients, mean = d_SKRP.mean(axis=-1), d_SKRP.mean(axis=-2), d_SKRP.mean(axis=(-2, -1))
    residual = d_SKRP - runs[..., None] - patients[..., None, :] + mean[..., None, None]
    ms_r, ms_p = p * runs.var(axis=-1, ddof=1), r * patients.var(axis=-1, ddof=1)
    ms_rp = (residual**2).sum(axis=(-2, -1)) / ((r - 1) * (p - 1))
    spread = ms_r + np.maximum(ms_p - ms_rp, 0.0)
    below = ms_r**2 / (r - 1)
    if not peer:
        below = below + ms_p**2 / (p - 1) + ms_rp**2 / ((r - 1) * (p - 1))
    return T(mean, np.sqrt(spread / (r * p)), np.maximum(spread**2 / below, r - 1))


def holm(p_SK: Array) -> Array:
    """Adjusted along the last axis."""
    order = np.argsort(p_SK, axis=-1)
    steps = np.take_along_axis(p_SK, order, axis=-1) * np.arange(p_SK.shape[-1], 0, -1)
    adjusted = np.empty_like(p_SK)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0), axis=-1)
    return adjusted


@dataclass(frozen=True)
class Judged:
    """Sweeps x arms, the rule on arrays: is a difference claimed, is the arm called equivalent, which interval."""

    alone: Flags
    in_family: Flags
    positive: Flags
    equivalent: Flags
    low: Array
    high: Array
    patients: T
    patients_p: Array
    peer: Flags
    peer_in_family: Flags


def judge(y_SARP: Array, design: Design) -> Judged:
    """The rule of the report, every arm against the first.

    Runs are random: their p is adjusted after Holm, and patients have to show the same direction, by mean and by ranks:
    a paired t test one-sided at alpha, or the two-sided signed-rank test after Holm. An arm is equivalent where both
    levels confine it to the margin.
    """
    d_SKRP = y_SARP[:, 1:] - y_SARP[:, :1]
    runs, by_patient = over_runs(d_SKRP, design, peer=False), d_SKRP.mean(axis=-2)
    patients, n = mean_t(by_patient), design.patients
    ranks = np.abs(by_patient).argsort(axis=-1).argsort(axis=-1) + 1
    above = (ranks * (by_patient > 0)).sum(axis=-1)
    least = np.minimum(above, n * (n + 1) // 2 - above)
    signed_rank_p = np.minimum(2 * np.cumsum(signed_rank_pmf(n))[least], 1.0)
    positive = runs.value > 0
    same = positive == (above > n * (n + 1) / 4)
    mean_confirms = patients.p < 2 * PLAN.alpha
    half = runs.half(1 - PLAN.alpha)
    peer_p = over_runs(d_SKRP, design, peer=True).p
    return Judged(
        alone=(runs.p < PLAN.alpha) & same & (mean_confirms | (signed_rank_p < PLAN.alpha)),
        in_family=(holm(runs.p) < PLAN.alpha) & same & (mean_confirms | (holm(signed_rank_p) < PLAN.alpha)),
        positive=positive,
        equivalent=runs.inside & patients.inside,
        low=runs.value - half,
        high=runs.value + half,
        patients=patients,
        patients_p=signed_rank_p,
        peer=peer_p < PLAN.alpha,
        peer_in_family=holm(peer_p) < PLAN.alpha,
    )
