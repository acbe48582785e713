"""When will a sweep with several looks stop? By simulation of its verdicts, before anything is run."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from medsweep.analysis.records import Array
from medsweep.analysis.stats.arm_tests import Family
from medsweep.analysis.stats.dunnett import quantiles
from medsweep.analysis.stats.power import Size, Spread, patient_arm
from medsweep.analysis.stats.run_error import RunError, blocked_error, independent_error, with_patients
from medsweep.analysis.stats.sequential import Look

DRAWS: Final = 2000


def stop_shares(
    size: Size,
    spread: Spread,
    looks: Sequence[Look],
    *,
    margin: float,
    difference: float,
    equivalence: Family = "each",
) -> tuple[float, ...]:
    """Chance to stop at each look where every arm truly differs by ``difference``; they sum to 1.

    Stopped is once every arm has a verdict, and at the last look. ``size`` is that of the first look. A run is the
    patients' share in what its arm means to them, which all seeds of a fold have in common, and an error of its own.
    """
    family = size.comparisons if equivalence == "family" else 1
    rng, tested = np.random.default_rng(0), size.patients * size.scores / size.runs
    run = math.sqrt(spread.run**2 + spread.residual**2 / tested)
    patient = patient_arm(size, spread) / math.sqrt(tested)
    shape_DAF = (DRAWS, size.comparisons + 1, size.folds)
    shared_DAF = patient * rng.standard_normal(shape_DAF)
    shared_DAF[:, 1:] += difference
    # One held-out set needs each seed for its spread; the seeds of folds can be drawn look by look.
    drawn = np.diff([0, *(look.seeds for look in looks)]) if size.folds > 1 else np.ones(looks[-1].seeds)
    steps_DAFK = run * np.sqrt(drawn) * rng.standard_normal((*shape_DAF, len(drawn)))
    answered_DL = np.ones((DRAWS, len(looks)), dtype=bool)
    for at, look in enumerate(looks[:-1]):
        steps = steps_DAFK[..., : at + 1 if size.folds > 1 else look.seeds]
        means_DAF = shared_DAF + steps.sum(axis=3) / look.seeds
        for arm in range(1, size.comparisons + 1):
            weights_A = np.eye(size.comparisons + 1)[arm] - np.eye(size.comparisons + 1)[0]
            found = (means_DAF[:, arm] - means_DAF[:, 0]).mean(axis=1)
            error = _error(means_DAF, steps, weights_A, 2 * patient**2, size.patients)
            half = np.sqrt(error.variance)
            shown = np.abs(found) > half * quantiles(error.df, size.comparisons, 1 - look.alpha)
            inside = np.abs(found) + half * quantiles(error.df, family, 1 - 2 * look.alpha) < margin
            answered_DL[:, at] &= shown | inside
    shares = np.bincount(answered_DL.argmax(axis=1), minlength=len(looks)) / DRAWS
    return tuple(shares.tolist())


def _error(means_DAF: Array, steps_DAFK: Array, weights_A: Array, part: float, n: int) -> RunError:
    """Of a difference: over folds, or over the seeds of one held-out set and ``n`` patients, whose part is known."""
    if means_DAF.shape[2] > 1:
        error = blocked_error(means_DAF, weights_A)
    else:
        runs_A = np.full(len(weights_A), steps_DAFK.shape[3])
        error = independent_error(steps_DAFK[:, :, 0].var(axis=2, ddof=1), runs_A, weights_A)
    if error is None:
        raise ValueError("one run of each arm has no error")
    if means_DAF.shape[2] > 1:
        return error
    whole = with_patients(error, np.array([part]), 0.0, n, runs_A[weights_A != 0])
    return RunError(whole.variance[:, 0], whole.df[:, 0])
