"""Does the answer hang on the test? Runs as random, other rules for all pairs, other arms in the pool, a model."""

from dataclasses import dataclass
from typing import Final

from medsweep.analysis.stats.mean_ranks import BonferroniDunn, LeaveOneOut, bonferroni_dunn, leave_one_arm_out
from medsweep.analysis.stats.method_tests import RunOmnibus, run_omnibus
from medsweep.analysis.stats.mixed_model import MAX_ROWS, MixedCheck, mixed_check
from medsweep.analysis.stats.omnibus import NoOmnibus, Omnibus
from medsweep.analysis.stats.pairwise import AllPairs, Pairwise, all_pairs, pairwise
from medsweep.analysis.table.reduction import AnalysisPlan, Reduced

MIXED_ROWS: Final = 3 * MAX_ROWS
"""Scores, of both arms of each pair, up to which mixed models are fitted: seconds, whatever the number of arms."""


@dataclass(frozen=True)
class Sensitivity:
    """Beside Friedman and Nemenyi, on the primary metric; none carries a verdict.

    ``bonferroni_dunn`` and ``leave_one_out`` are None without an omnibus test. ``runs`` takes the runs as random, too.
    ``on_request`` is what ``plan.post_hoc`` asks for.
    """

    runs: RunOmnibus | NoOmnibus
    pairwise: Pairwise
    bonferroni_dunn: BonferroniDunn | None
    leave_one_out: LeaveOneOut | None
    on_request: tuple[AllPairs, ...]
    mixed: tuple[MixedCheck, ...]
    unmixed: tuple[str, ...]
    """Arms for which no mixed model was tried: with theirs the scores would be more than ``MIXED_ROWS``."""


def sensitivity_of(
    reduced: Reduced,
    omnibus: Omnibus | NoOmnibus,
    control: str,
    plan: AnalysisPlan,
    *,
    test_over_train: float | None = None,
) -> Sensitivity:
    """All of it from the patients x arms table and, over runs, from its cells; ``omnibus`` is Friedman's."""
    wide, higher, level = reduced.wide, reduced.metric.higher_is_better, 1 - plan.alpha
    ranked = omnibus if isinstance(omnibus, Omnibus) else None
    arms = [str(arm) for arm in wide if arm != control]
    rows = 2 * len(reduced.cells) // wide.shape[1]
    fitted = MIXED_ROWS // rows
    return Sensitivity(
        runs=run_omnibus(reduced, level=level, test_over_train=test_over_train),
        pairwise=pairwise(wide, higher_is_better=higher, alpha=plan.alpha, level=level),
        bonferroni_dunn=None
        if ranked is None
        else bonferroni_dunn(wide, ranked, control, higher_is_better=higher, alpha=plan.alpha),
        leave_one_out=None if ranked is None else leave_one_arm_out(wide, higher_is_better=higher, alpha=plan.alpha),
        on_request=tuple(all_pairs(wide, method, higher_is_better=higher) for method in plan.post_hoc)
        if ranked is not None
        else (),
        mixed=tuple(mixed_check(reduced, arm, control, level) for arm in arms[:fitted]),
        unmixed=tuple(arms[fitted:]),
    )
