"""A second opinion on the method-level test of one arm: a linear mixed model with patients and runs random."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams, VCSpec

from medsweep.analysis.records import Array, Estimate, t_estimate
from medsweep.analysis.stats.contrast_tests import crossed_variances
from medsweep.analysis.stats.method_tests import method_test
from medsweep.analysis.table.reduction import Reduced
from medsweep.analysis.table.score_array import Codes, Flags, Replication, ScoreArray, scores_of

NO_SPREAD: Final = 1e-20
"""Residual variance of scores rounded to 1e-12 that are all alike."""
MAX_ROWS: Final = 600
"""Scores of both arms up to which the model is fitted: it is dense, and its time grows with their cube.

Folds that share no patient are blocks of their own; n is then the cube root of the sum of their cubes.
"""


@dataclass(frozen=True)
class MixedCheck:
    """REML fit of score = arm (+ fold) + patient + run + patient x arm (+ fold x arm) + residual.

    ``estimate`` is arm minus control with a normal interval (df infinite: the fit gives none). SDs are NaN where the
    model has no such part; those in ``boundary`` were estimated at or below 0 and are 0. ``se_ratio`` is the model's
    standard error over ``method_se``, that of the two-way or fold-mean test. Where ``fitted`` is False, ``reason``
    says why.
    """

    arm: str
    n_rows: int
    fitted: bool
    reason: str
    converged: bool
    estimate: Estimate | None
    patient: float
    run: float
    patient_arm: float
    fold_arm: float
    residual: float
    method_se: float
    se_ratio: float
    boundary: tuple[str, ...]
    warnings: tuple[str, ...]


def mixed_check(reduced: Reduced, arm: str, control: str, level: float) -> MixedCheck:
    """Fit the pair; never raises for a fit that fails, which becomes ``reason``.

    When not to use it: instead of the method-level test. Its interval has no small-sample degrees of freedom, so with
    few runs it is too narrow; what it checks is the standard error. Patients with an infinite score are left out.
    """
    scores = scores_of(reduced, [control, arm])
    test = method_test(reduced, arm, control, level)
    keep = scores.finite_cells(np.arange(2))
    rows = 2 * int(keep.sum())
    if test is None:
        return _unfitted(arm, rows, "one run per arm, or fewer than two patients, leaves nothing to fit", math.nan)
    se = (test.uncorrected or test.estimate).se
    design = _design(scores, keep)
    size = round(float((np.bincount(design.block).astype(np.float64) ** 3).sum()) ** (1 / 3))
    if size > MAX_ROWS:
        return _unfitted(arm, rows, f"{size} scores at once; the dense fit is made up to {MAX_ROWS}", se)
    starts = _starts(scores, keep)
    residual = starts.pop("residual")
    if not residual > NO_SPREAD:
        return _unfitted(arm, rows, "scores without residual spread", se)
    boundary = tuple(name for name, variance in starts.items() if not variance > 1e-6 * residual)
    components = {name: starts[name] for name in starts if name not in boundary}
    return _fit(arm, design, components, residual=residual, boundary=boundary, method_se=se, level=level)


@dataclass(frozen=True)
class _Design:
    """M scores: their independent blocks, fixed effects (M x F, the arm last) and the codes of every random effect."""

    y: Array
    block: Codes
    fixed: Array
    random: dict[str, Codes]

    def spec(self, components: Iterable[str]) -> VCSpec:
        """Indicator matrices of these random effects, block by block."""
        blocks = [np.flatnonzero(self.block == number) for number in range(self.block.max() + 1)]
        matrices = [[_indicators(self.random[name][rows]) for rows in blocks] for name in components]
        columns = [[[str(i) for i in range(matrix.shape[1])] for matrix in indicators] for indicators in matrices]
        return VCSpec(list(components), columns, matrices)


def _design(scores: ScoreArray, keep: Flags) -> _Design:
    folds = list(zip(scores.fold_cells(), scores.seeds, strict=True))
    fold = np.repeat(np.arange(len(folds)), [cells.stop - cells.start for cells, _ in folds])[keep]
    seed = np.concatenate([np.tile(np.arange(len(s)), (cells.stop - cells.start) // len(s)) for cells, s in folds])[
        keep
    ]
    patient = scores.patient[keep]
    arm = np.repeat([0, 1], len(patient))
    fold, seed, patient = np.tile(fold, 2), np.tile(seed, 2), np.tile(patient, 2)
    random = {
        "patient": patient,
        "run": (fold * (seed.max() + 1) + seed) * 2 + arm,
        "patient_arm": patient * 2 + arm,
    }
    if len(folds) > 1:
        random["fold_arm"] = fold * 2 + arm
    fixed = np.column_stack([_indicators(fold), arm - 0.5])
    block = (
        np.zeros_like(fold)
        if scores.design is Replication.REPEATED_HOLD_OUT
        else np.unique(fold, return_inverse=True)[1]
    )
    return _Design(scores.values[:, keep].ravel(), block, fixed, random)


def _indicators(codes: Codes) -> Array:
    """One column of 0 and 1 per distinct code."""
    distinct, which = np.unique(codes, return_inverse=True)
    columns: Array = np.eye(len(distinct))[which]
    return columns


def _starts(scores: ScoreArray, keep: Flags) -> dict[str, float]:
    """Variances by the method of moments: where the fit begins, and which parts lie at the boundary."""
    tables = [scores.crossed(scores.values, keep, fold) for fold in range(len(scores.folds))]
    fine = [crossed_variances(table) for table in tables if min(table.shape) >= 2]
    if not fine:  # with one seed only patient and residual can be told apart
        delta = np.concatenate([table[1] - table[0] for table in tables])
        both = np.concatenate([table.mean(axis=0) - table.mean() for table in tables])
        residual = float(delta.var() / 2)
        return {"patient": float(both.var()) - residual / 2, "run": 0.0, "patient_arm": 0.0, "residual": residual}
    patient, run, patient_arm, residual = (float(v) for v in np.mean(fine, axis=0))
    variances = {"patient": patient, "run": run, "patient_arm": patient_arm}
    if len(tables) > 1:
        means = np.array([table[1].mean() - table[0].mean() for table in tables if table.size])
        shape = np.mean([table.shape[1:] for table in tables if table.size], axis=0)
        inside = run / shape[1] + patient_arm / shape[0] + residual / (shape[0] * shape[1])
        variances["fold_arm"] = float(means.var(ddof=1) / 2 - inside)
    return variances | {"residual": residual}


def _fit(
    arm: str,
    design: _Design,
    components: dict[str, float],
    *,
    residual: float,
    boundary: tuple[str, ...],
    method_se: float,
    level: float,
) -> MixedCheck:
    fixed, *_ = np.linalg.lstsq(design.fixed, design.y, rcond=None)
    rows = len(design.y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            start = MixedLMParams.from_components(
                fe_params=fixed, cov_re=np.zeros((0, 0)), vcomp=np.array([v / residual for v in components.values()])
            )
            model = MixedLM(design.y, design.fixed, groups=design.block, exog_vc=design.spec(components))
            fitted = model.fit(reml=True, start_params=start, method=["lbfgs"])
            value, se = float(fitted.fe_params[-1]), float(fitted.bse_fe[-1])
        except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
            return _unfitted(arm, rows, f"the fit failed: {error}", method_se)
    sds = {name: math.nan for name in ("patient", "run", "patient_arm", "fold_arm")}
    sds |= {name: 0.0 for name in boundary} | dict(zip(components, map(math.sqrt, fitted.vcomp.tolist()), strict=True))
    return MixedCheck(
        arm=arm,
        n_rows=rows,
        fitted=True,
        reason="",
        converged=bool(fitted.converged),
        estimate=t_estimate(value, se, math.inf, level),
        residual=math.sqrt(float(fitted.scale)),
        method_se=method_se,
        se_ratio=se / method_se if method_se > 0 else math.nan,
        boundary=boundary,
        warnings=tuple(sorted({str(warning.message) for warning in caught})),
        **sds,
    )


def _unfitted(arm: str, rows: int, reason: str, method_se: float) -> MixedCheck:
    nan = math.nan
    return MixedCheck(arm, rows, False, reason, False, None, nan, nan, nan, nan, nan, method_se, nan, (), ())
