"""The two levels at which an arm is held against the control: patients alone, and runs taken as random too."""

from dataclasses import dataclass

import numpy as np

from analysis.effects import Effect
from analysis.equivalence import Equivalence, Evidence, Verdict, tost, verdict
from analysis.posthoc import Wilcoxon
from analysis.tables import AnalysisPlan, Metric, Reduced
from analysis.variance import MethodTest


@dataclass(frozen=True)
class PatientLevel:
    """These trained models, patients as blocks."""

    effect: Effect
    wilcoxon: Wilcoxon
    equivalence: Equivalence
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True)
class RunLevel:
    """The method: runs are random as well; ``p_holm`` over all arms, [low, high] the 1 - 2 alpha interval."""

    test: MethodTest
    p_holm: float
    low: float
    high: float
    evidence: Evidence
    verdict: Verdict


def patient_level(
    reduced: Reduced, effect: Effect, wilcoxon: Wilcoxon, control: str, plan: AnalysisPlan
) -> PatientLevel:
    """Wilcoxon with Holm shows a difference, TOST confines it.

    The sign is clear only where ranks and mean agree, and a patient missed by either arm voids the margin.
    """
    differences = reduced.differences(effect.arm, control)
    equivalence = tost(differences[np.isfinite(differences)], plan.margin, plan.alpha)
    by_mean = _benefit(effect.mean.value, reduced.metric)
    by_rank = (effect.rank_biserial > 0) - (effect.rank_biserial < 0)
    evidence = Evidence(
        different=wilcoxon.p_holm < plan.alpha,
        inside=equivalence.inside and effect.n_finite == effect.n,
        sign=by_mean if by_mean == by_rank else 0,
    )
    return PatientLevel(effect, wilcoxon, equivalence, evidence, verdict(evidence))


def run_level(test: MethodTest, p_holm: float, metric: Metric, plan: AnalysisPlan) -> RunLevel:
    """The t test of ``test`` with Holm shows a difference, its narrower interval confines it."""
    evidence = Evidence(
        different=p_holm < plan.alpha,
        inside=test.estimate.within(plan.margin, plan.alpha),
        sign=_benefit(test.estimate.value, metric),
    )
    low, high = test.estimate.interval(1 - 2 * plan.alpha)
    return RunLevel(test, p_holm, low, high, evidence, verdict(evidence))


def _benefit(value: float, metric: Metric) -> int:
    """+1 where the difference favours the arm, -1 where it favours the control, 0 for none or NaN."""
    sign = (value > 0) - (value < 0)
    return sign if metric.higher_is_better else -sign
