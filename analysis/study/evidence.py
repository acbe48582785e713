"""The two levels at which an arm is held against the control: patients alone, and runs taken as random too."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from medsweep.analysis.stats.effects import Effect
from medsweep.analysis.stats.equivalence import (
    Equivalence,
    Evidence,
    NonInferiority,
    Verdict,
    non_inferiority,
    tost,
    verdict,
)
from medsweep.analysis.stats.method_tests import MethodTest
from medsweep.analysis.stats.wilcoxon import Wilcoxon
from medsweep.analysis.table.reduction import AnalysisRules, Reduced
from medsweep.metrics import Metric


class Shown(StrEnum):
    """By which rule patients show a difference."""

    HOLM = "two-sided signed-rank test, Holm over arms"
    CONFIRMED = "one-sided paired t test, confirming the direction that the runs show"
    NOT = "not shown"


@dataclass(frozen=True)
class PatientEvidence:
    """These trained models, patients as blocks.

    A patient missed by one arm of the two is left out of the test of non-inferiority, which then is void.
    """

    effect: Effect
    wilcoxon: Wilcoxon
    equivalence: Equivalence
    evidence: Evidence
    verdict: Verdict
    shown: Shown
    non_inferiority: NonInferiority


@dataclass(frozen=True)
class RunEvidence:
    """The method: runs are random as well; ``p_holm`` over all arms, [low, high] the 1 - 2 alpha interval."""

    test: MethodTest
    p_holm: float
    low: float
    high: float
    evidence: Evidence
    verdict: Verdict


def patient_evidence(
    reduced: Reduced,
    effect: Effect,
    wilcoxon: Wilcoxon,
    control: str,
    rules: AnalysisRules,
    *,
    runs: RunEvidence | None = None,
) -> PatientEvidence:
    """Signed ranks show a difference, TOST confines it.

    By itself a difference needs the two-sided test with Holm over arms. Where the ``runs`` have shown one, their Holm
    adjustment holds the error of the family already, and a second test can only take claims away: patients then need
    only confirm that direction, one-sided at alpha by the paired t test of the mean that the runs test too: their
    1 - 2 alpha interval leaves out 0. The sign is clear only where ranks and mean agree, and a patient missed by either
    arm voids the margin. Error rates of both levels together: ``docs/explanation/error-rates.md``.
    """
    differences = reduced.differences(effect.arm, control)
    finite = differences[np.isfinite(differences)]
    equivalence = tost(finite, rules.margin, rules.alpha)
    by_mean = _benefit(effect.mean.value, reduced.metric)
    by_rank = (effect.rank_biserial > 0) - (effect.rank_biserial < 0)
    sign = by_mean if by_mean == by_rank else 0
    shown = _shown(wilcoxon, equivalence, sign, rules.alpha, runs)
    evidence = Evidence(
        different=shown is not Shown.NOT, inside=equivalence.inside and effect.n_finite == effect.n, sign=sign
    )
    not_worse = non_inferiority(finite, rules.margin, rules.alpha, higher_is_better=reduced.metric.higher_is_better)
    return PatientEvidence(effect, wilcoxon, equivalence, evidence, verdict(evidence), shown, not_worse)


def _shown(wilcoxon: Wilcoxon, interval: Equivalence, sign: int, alpha: float, runs: RunEvidence | None) -> Shown:
    if wilcoxon.p_holm < alpha:
        return Shown.HOLM
    confirms = runs is not None and runs.evidence.different and sign != 0 and sign == runs.evidence.sign
    return Shown.CONFIRMED if confirms and (interval.low > 0 or interval.high < 0) else Shown.NOT


def run_evidence(test: MethodTest, p_holm: float, metric: Metric, rules: AnalysisRules) -> RunEvidence:
    """The t test of ``test`` with Holm shows a difference, its narrower interval confines it."""
    evidence = Evidence(
        different=p_holm < rules.alpha,
        inside=test.estimate.within(rules.margin, rules.alpha),
        sign=_benefit(test.estimate.value, metric),
    )
    low, high = test.estimate.interval(1 - 2 * rules.alpha)
    return RunEvidence(test, p_holm, low, high, evidence, verdict(evidence))


def _benefit(value: float, metric: Metric) -> int:
    """+1 where the difference favours the arm, -1 where it favours the control, 0 for none or NaN."""
    sign = (value > 0) - (value < 0)
    return sign if metric.higher_is_better else -sign
