"""From the scores of a sweep to the family of tests that carries its verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from medsweep.analysis.records import Array, Estimate, rounded
from medsweep.analysis.stats.arm_tests import Bounds, Patients, Setting, Units, bounds_of, pair_weights
from medsweep.analysis.stats.method_tests import mean_squares, nadeau_bengio, overlap_ratio
from medsweep.analysis.stats.run_error import few_networks
from medsweep.analysis.table.reduction import AnalysisRules, Reduced
from medsweep.analysis.table.score_array import Codes, Flags, Replication, ScoreArray, scores_of

BOUND: Final = 10.0
"""Margins that a patient's score may lie from the control's before it counts no more, where scores are bounded."""

AS_THEY_ARE: Final = 0.25
"""Part of alpha that claims by scores as they are may spend where bounded ones differ from them and spend all of it.
Where none differs the two tests are one, so that the first failure of an arm takes nothing from what is shown."""

FAILURE: Final = 1000.0
"""What an infinite score counts as, in largest finite scores: worse than any score that it could have replaced."""

Kind = Literal["patients and runs", "folds", "folds that overlap", "patients alone"]
"""What is taken as random."""


@dataclass(frozen=True)
class ArmTest:
    """One arm against the control, in the family of all arms; or a contrast of arms, by the name ``arm``.

    ``whole`` takes the scores as they are, an infinite one as worse than any other. ``bounded`` lets no
    score lie more than ``bound`` from the control's median for the patient; None where none does. Where it is there,
    ``whole`` claims by its wide interval alone. Patients whom both arms fail have no difference and are left out.
    ``conditional``: too few networks on one held-out set (``run_error.few_networks``), so that the test holds for these
    trained networks. ``nadeau_bengio`` is the pair's difference over folds by itself, widened for training sets that
    overlap.
    """

    arm: str
    kind: Kind
    units: int
    """Runs of the arm, folds, or patients."""
    patients: int
    infinite: bool
    """Whether a score of the pair is infinite."""
    whole: Bounds
    bounded: Bounds | None
    bound: float
    conditional: bool = False
    nadeau_bengio: Estimate | None = None
    test_over_train: float | None = None


@dataclass(frozen=True)
class _Scores:
    """Scores by fold, A arms x P patients x R seeds, NaN where an arm has no run; the same, bounded; and the design."""

    raw: tuple[Array, ...]
    whole: tuple[Array, ...]
    bounded: tuple[Array, ...]
    patients: tuple[Codes, ...]
    design: Replication
    ratio: float | None
    paired: bool
    bound: float


def arm_tests(
    reduced: Reduced, control: str, rules: AnalysisRules, test_over_train: float | None = None
) -> tuple[ArmTest | None, ...]:
    """Every other arm against the control, in the arms' order; None where nothing can be compared.

    Folds are blocks. Runs on one held-out set belong to their arm, or with ``rules.seeds: paired`` form blocks of one
    seed, and patients are random as well. ``test_over_train``: see ``method_tests.contrast_test``.
    """
    return family_of(scores_of(reduced), control, rules, test_over_train)


def family_of(
    table: ScoreArray, control: str, rules: AnalysisRules, test_over_train: float | None = None
) -> tuple[ArmTest | None, ...]:
    """``arm_tests`` of scores that are an array already."""
    at = table.arms.index(control)
    weights = {name: pair_weights(len(table.arms), arm, at) for arm, name in enumerate(table.arms) if arm != at}
    setting = Setting(len(weights), rules.alpha, rules.equivalence)
    return contrast_tests(table, weights, control, rules, setting=setting, test_over_train=test_over_train)


def contrast_tests(
    table: ScoreArray,
    weights: Mapping[str, Array],
    control: str,
    rules: AnalysisRules,
    *,
    setting: Setting,
    test_over_train: float | None = None,
) -> tuple[ArmTest | None, ...]:
    """One test of each contrast by name, weights over the arms of ``table``; None where nothing can be compared."""
    scores = _scores(table, table.arms.index(control), rules, test_over_train)
    everybody = [np.ones(values.shape[1], dtype=bool) for values in scores.raw]
    shared = _both_units(scores, everybody)
    tests = []
    for name, weights_A in weights.items():
        keep = [_scored(values[weights_A != 0]) for values in scores.raw]
        units = shared if all(kept.all() for kept in keep) else _both_units(scores, keep)
        tests.append(_test(name, weights_A, scores, keep=keep, units=units, setting=setting))
    return tuple(tests)


def _scored(used_APR: Array) -> Flags:
    """Patients with a score in at least one run of the arms that are compared."""
    return np.asarray(np.isfinite(used_APR).any(axis=(0, 2)), dtype=np.bool_)


def _both_units(scores: _Scores, keep: Sequence[Flags]) -> tuple[Units | None, Units | None]:
    return _units(scores.whole, keep, scores), _units(scores.bounded, keep, scores)


def _scores(table: ScoreArray, control: int, rules: AnalysisRules, test_over_train: float | None) -> _Scores:
    raw: list[Array] = []
    patients: list[Codes] = []
    for cells, seeds in zip(table.fold_cells(), table.seeds, strict=True):
        raw.append(table.values[:, cells].reshape(len(table.arms), -1, len(seeds)))
        patients.append(table.patient[cells].reshape(-1, len(seeds))[:, 0])
    finite = table.values[np.isfinite(table.values)]
    worst = FAILURE * float(np.abs(finite).max(initial=0.0))
    bound, folds = BOUND * rules.margin, len(raw)
    return _Scores(
        tuple(raw),
        tuple(np.clip(values, -worst, worst) for values in raw),
        tuple(_bounded(values, control, bound) for values in raw),
        tuple(patients),
        table.design,
        overlap_ratio(table, folds) if test_over_train is None and folds > 1 else test_over_train,
        rules.seeds == "paired",
        bound,
    )


def _bounded(values_APR: Array, control: int, bound: float) -> Array:
    """Distance to the control's median for the patient over its runs, at most ``bound``."""
    median_P1 = _median(values_APR[control])
    with np.errstate(invalid="ignore"):
        distance = np.where(values_APR == median_P1, 0.0, values_APR - median_P1)
    bounded: Array = np.clip(distance, -bound, bound)
    return bounded


def _median(values_PR: Array) -> Array:
    """P x 1: lower median of the runs there are, so that it is a score of the patient."""
    ordered = np.sort(values_PR, axis=1)
    counts = (~np.isnan(values_PR)).sum(axis=1)
    return np.take_along_axis(ordered, np.maximum(counts - 1, 0)[:, None] // 2, axis=1)


def _units(values: Sequence[Array], keep: Sequence[Flags], scores: _Scores) -> Units | None:
    """What is replicated; None with fewer than two patients or nothing replicated."""
    kept = [fold[:, patients] for fold, patients in zip(values, keep, strict=True) if patients.any()]
    if not kept:
        return None
    if scores.design is not Replication.HELD_OUT:
        means = np.stack([np.nanmean(np.nanmean(fold, axis=2), axis=1) for fold in kept], axis=1)
        overlap = scores.design is Replication.REPEATED_HOLD_OUT
        inflation = 1 + means.shape[1] * (scores.ratio or 0.0) if overlap else 1.0
        return Units(rounded(means), blocked=True, inflation=inflation)
    (table_APR,) = kept
    if table_APR.shape[1] < 2:
        return None
    ran_AR = np.asarray(~np.isnan(table_APR).all(axis=1))
    means_AP = np.nanmean(table_APR, axis=2)
    if few_networks(int(ran_AR.sum(axis=1).max()), len(ran_AR)):
        return Units(rounded(means_AP), blocked=True)
    residuals = np.array([_residual(arm[:, ran]) for arm, ran in zip(table_APR, ran_AR, strict=True)])
    residuals = np.where(np.isnan(residuals), np.nanmean(residuals), residuals)
    means_AR = np.where(ran_AR, table_APR.mean(axis=1), math.nan)
    return Units(rounded(means_AR), scores.paired, 1.0, Patients(means_AP, residuals, ran_AR.sum(axis=1)))


def _residual(values_PR: Array) -> float:
    return mean_squares(values_PR).residual if values_PR.shape[1] > 1 else math.nan


def _test(
    name: str,
    weights_A: Array,
    scores: _Scores,
    *,
    keep: Sequence[Flags],
    units: tuple[Units | None, Units | None],
    setting: Setting,
) -> ArmTest | None:
    used, at_bound = weights_A != 0, False
    for values, kept in zip(scores.bounded, keep, strict=True):
        at_bound |= bool((np.abs(values[used][:, kept]) >= scores.bound).any())
    bounded = bounds_of(units[1], weights_A, setting) if at_bound and units[1] is not None else None
    spent = setting if bounded is None else replace(setting, share=AS_THEY_ARE)
    whole = None if units[0] is None else bounds_of(units[0], weights_A, spent)
    if whole is None or units[0] is None:
        return None
    patients = np.concatenate([people[kept] for people, kept in zip(scores.patients, keep, strict=True)])
    kind, count = _kind(units[0], int(weights_A.argmax()), scores.design)
    folds, own = scores.design is not Replication.HELD_OUT, None
    if folds and scores.ratio is not None:
        own = nadeau_bengio(weights_A[used] @ units[0].means[used], scores.ratio, 1 - setting.alpha)
    return ArmTest(
        arm=name,
        kind=kind,
        units=count,
        patients=len(np.unique(patients)),
        infinite=any(np.isinf(values[used]).any() for values in scores.raw),
        whole=whole,
        bounded=bounded,
        bound=scores.bound,
        conditional=kind == "patients alone",
        nadeau_bengio=own,
        test_over_train=scores.ratio if folds else None,
    )


def _kind(units: Units, arm: int, design: Replication) -> tuple[Kind, int]:
    count = int(np.isfinite(units.means[arm]).sum())
    if design is Replication.HELD_OUT:
        return ("patients and runs" if units.patients is not None else "patients alone"), count
    return ("folds" if design is Replication.CROSS_VALIDATION else "folds that overlap"), count
