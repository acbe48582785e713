"""What speaks for no difference that matters, beside equivalence: non-inferiority at the margin, arm by arm."""

from dataclasses import dataclass

import numpy as np

from medsweep.analysis.stats.equivalence import NonInferiority, non_inferiority
from medsweep.analysis.study.metric_study import differences_of
from medsweep.analysis.table.reduction import AnalysisPlan, Reduced


@dataclass(frozen=True)
class NullEvidence:
    """Beside TOST, which is in the arm's answer; patients alone.

    ``left_out`` patients were missed by one arm of the two: the test of non-inferiority leaves them out, and is void.
    """

    arm: str
    left_out: int
    non_inferiority: NonInferiority


def null_evidence(reduced: Reduced, control: str, plan: AnalysisPlan) -> tuple[NullEvidence, ...]:
    """Every other arm against the control, at the plan's margin."""
    higher = reduced.metric.higher_is_better
    differences = differences_of(reduced, control)
    found = []
    for arm, delta in differences.items():
        finite = delta[np.isfinite(delta)]
        test = non_inferiority(finite, plan.margin, plan.alpha, higher_is_better=higher)
        found.append(NullEvidence(arm, len(delta) - len(finite), test))
    return tuple(found)
