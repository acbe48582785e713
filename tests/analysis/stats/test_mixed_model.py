"""The mixed model beside the method-level test: its parts, its limits, and that it never raises."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.regression.mixed_linear_model import MixedLM

from helpers.score_arrays import crossed, cut, reduced_of
from medsweep.analysis.records import plain
from medsweep.analysis.stats import mixed_model
from medsweep.analysis.stats.contrast_tests import crossed_variances
from medsweep.analysis.stats.mixed_model import mixed_check


def test_balanced_scores_give_the_moment_estimates_and_their_standard_error():
    y = crossed(np.random.default_rng(0), 2, 20, 5, run_sd=0.01)
    patient, run, patient_arm, residual = crossed_variances(y)
    assert min(patient, run, patient_arm) > 0
    found = mixed_check(reduced_of(y), "arm 1", "arm 0", 0.95)
    assert (found.fitted, found.converged, found.boundary, found.n_rows) == (True, True, (), 200)
    assert [found.patient, found.run, found.patient_arm, found.residual] == pytest.approx(
        [math.sqrt(v) for v in (patient, run, patient_arm, residual)], rel=1e-3
    )
    assert found.estimate.value == pytest.approx((y[1] - y[0]).mean())
    assert found.estimate.se == pytest.approx(math.sqrt(2 * (run / 5 + patient_arm / 20 + residual / 100)), rel=1e-3)
    assert found.se_ratio == pytest.approx(found.estimate.se / found.method_se)
    assert math.isnan(found.fold_arm)


def test_the_formula_interface_fits_the_same_model():
    y = crossed(np.random.default_rng(1), 2, 12, 4, run_sd=0.02, arm_sd=0.03)
    assert min(crossed_variances(y)) > 0
    a, p, r = (part.ravel() for part in np.indices(y.shape))
    long = pd.DataFrame({"y": y.ravel(), "x": a, "p": p, "run": a * 4 + r, "pa": p * 2 + a, "one": 1})
    parts = {"patient": "0+C(p)", "run": "0+C(run)", "pa": "0+C(pa)"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = smf.mixedlm("y ~ x", long, groups="one", vc_formula=parts, re_formula="0").fit()
    found = mixed_check(reduced_of(y), "arm 1", "arm 0", 0.95)
    assert found.estimate.se == pytest.approx(oracle.bse["x"], rel=2e-3)


def test_folds_are_blocks_with_a_part_of_their_own():
    rng = np.random.default_rng(2)
    folds = cut(rng, 2, 32, 3, folds=8, run_sd=0.004)
    folds = [(y + np.array([0, rng.normal(0, 0.03)])[:, None, None], patients) for y, patients in folds]
    found = mixed_check(reduced_of(folds), "arm 1", "arm 0", 0.95)
    assert found.fitted
    assert found.fold_arm == pytest.approx(0.03 / math.sqrt(2), rel=0.5)
    assert found.se_ratio == pytest.approx(1, abs=0.05)


def test_a_part_at_its_boundary_is_a_field_and_no_traceback():
    y = crossed(np.random.default_rng(3), 2, 12, 4, run_sd=0.0, arm_sd=0.0)
    y = y - y.mean(axis=1, keepdims=True) + np.array([0.8, 0.81])[:, None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mixed_check(reduced_of(y), "arm 1", "arm 0", 0.95)
    assert found.fitted
    assert "run" in found.boundary
    assert found.run == 0


def test_what_is_too_large_or_too_small_is_not_fitted_and_says_so():
    rng = np.random.default_rng(4)
    large = mixed_check(reduced_of(crossed(rng, 2, 61, 5)), "arm 1", "arm 0", 0.95)
    assert (large.fitted, large.reason) == (False, "610 scores at once; the dense fit is made up to 600")
    assert large.method_se > 0
    assert plain(large)["estimate"] is None
    one = mixed_check(reduced_of(crossed(rng, 2, 8, 1)), "arm 1", "arm 0", 0.95)
    assert (one.fitted, one.reason[:15]) == (False, "one run per arm")
    blocks = mixed_check(reduced_of(cut(rng, 2, 80, 5, folds=8)), "arm 1", "arm 0", 0.95)
    assert (blocks.fitted, blocks.n_rows) == (True, 800)
    flat = mixed_check(reduced_of(np.full((2, 4, 3), 0.8)), "arm 1", "arm 0", 0.95)
    assert (flat.fitted, flat.reason) == (False, "scores without residual spread")


def test_a_fit_that_fails_is_a_reason(monkeypatch):
    def fail(*_, **__):
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(MixedLM, "fit", fail)
    found = mixed_check(reduced_of(crossed(np.random.default_rng(5), 2, 10, 3)), "arm 1", "arm 0", 0.95)
    assert (found.fitted, found.reason) == (False, "the fit failed: Singular matrix")


def test_one_seed_with_folds_has_patient_and_residual_alone():
    found = mixed_check(reduced_of(cut(np.random.default_rng(6), 2, 40, 1, folds=4)), "arm 1", "arm 0", 0.95)
    assert found.fitted
    assert found.boundary == ("run", "patient_arm")
    assert found.patient == pytest.approx(0.06, rel=0.4)
    assert mixed_model.MAX_ROWS == 600
