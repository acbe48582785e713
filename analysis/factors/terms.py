"""A linear combination of arms, estimated over patients and, with runs random, for the method."""

from dataclasses import dataclass

import numpy as np

from medsweep.analysis.records import Array, Estimate, decimals_of, mean_estimate
from medsweep.analysis.stats.method_tests import FTest, basis, contrast_test, repeated_f, subspace_test
from medsweep.analysis.table.score_array import Flags, ScoreArray

NEGLIGIBLE = 1e-12
"""Weights below it are rounding."""


@dataclass(frozen=True)
class Term:
    """One combination of arms with its interval over patients and, where there are runs to test over, over runs."""

    label: str
    patients: Estimate
    runs: Estimate | None


@dataclass(frozen=True)
class ArmScores:
    """Patients x arms and all scores of the same arms; intervals at ``level``, ``test_over_train`` as elsewhere."""

    wide: Array
    scores: ScoreArray
    level: float
    test_over_train: float | None

    def finite_patients(self, weights_TA: Array) -> Flags:
        """Patients with a finite score in every arm that any row uses."""
        used = np.abs(weights_TA).max(axis=0) > NEGLIGIBLE
        fine: Flags = np.isfinite(self.wide[:, used].sum(axis=1))
        return fine

    def combined(self, weights_TA: Array) -> Array:
        """N x T combinations of the known patients' arm means, rounded as these."""
        used = np.abs(weights_TA).max(axis=0) > NEGLIGIBLE
        known = self.wide[self.finite_patients(weights_TA)][:, used]
        values: Array = (known @ weights_TA[:, used].T).round(decimals_of(known))
        return values

    def term(self, label: str, weights_A: Array) -> Term:
        """One-sample t over patients; the two-way, fold-mean or corrected test over runs."""
        weights_A = np.where(np.abs(weights_A) > NEGLIGIBLE, weights_A, 0.0)
        test = contrast_test(self.scores, label, weights_A, self.level, self.test_over_train)
        values = self.combined(weights_A[None])[:, 0]
        return Term(label, mean_estimate(values, self.level), None if test is None else test.estimate)

    def over_patients(self, weights_TA: Array) -> FTest:
        """F of all rows at once, patients as units; at least two of them."""
        return repeated_f(self.combined(basis(weights_TA)))

    def over_runs(self, weights_TA: Array) -> FTest | None:
        """F of all rows at once for the method; None with one run."""
        rows = basis(weights_TA)
        test = subspace_test(self.scores, np.where(np.abs(rows) > NEGLIGIBLE, rows, 0.0), self.test_over_train)
        return None if test is None else test[0]
