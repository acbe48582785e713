"""Does the answer hang on the test? Other omnibus tests, other rules for all pairs, other arms in the pool, a model."""

from dataclasses import dataclass
from typing import Final

from medsweep.analysis.stats.allpairs import AllPairs, LeaveOneOut, Pairwise, all_pairs, leave_one_arm_out, pairwise
from medsweep.analysis.stats.incomplete import SkillingsMack, skillings_mack
from medsweep.analysis.stats.mixed import MAX_ROWS, MixedCheck, mixed_check
from medsweep.analysis.stats.omnibus import AlignedRanks, NoOmnibus, Omnibus, Quade, aligned_ranks, quade
from medsweep.analysis.stats.posthoc import BonferroniDunn, bonferroni_dunn
from medsweep.analysis.stats.variance import RunOmnibus, run_omnibus
from medsweep.analysis.table.tables import AnalysisPlan, Reduced

MIXED_ROWS: Final = 3 * MAX_ROWS
"""Scores, of both arms of each pair, up to which mixed models are fitted: seconds, whatever the number of arms."""


@dataclass(frozen=True)
class Sensitivity:
    """Beside Friedman and Nemenyi, on the primary metric; none carries a verdict.

    ``skillings_mack`` is None where complete cases lost nothing; ``bonferroni_dunn`` and ``leave_one_out`` are None
    without an omnibus test. ``runs`` takes the runs as random, too. ``on_request`` is what ``plan.post_hoc`` asks for.
    """

    quade: Quade | NoOmnibus
    aligned_ranks: AlignedRanks | NoOmnibus
    skillings_mack: SkillingsMack | NoOmnibus | None
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
    incomplete = reduced.incomplete
    arms = [str(arm) for arm in wide if arm != control]
    rows = 2 * len(reduced.cells) // wide.shape[1]
    fitted = MIXED_ROWS // rows
    return Sensitivity(
        quade=quade(wide, higher_is_better=higher),
        aligned_ranks=aligned_ranks(wide, higher_is_better=higher),
        skillings_mack=None if incomplete is None else skillings_mack(incomplete, higher_is_better=higher),
        runs=run_omnibus(reduced, level=level, test_over_train=test_over_train),
        pairwise=pairwise(wide, higher_is_better=higher, alpha=plan.alpha, level=level),
        bonferroni_dunn=None if ranked is None else bonferroni_dunn(ranked, control, plan.alpha),
        leave_one_out=None if ranked is None else leave_one_arm_out(wide, higher_is_better=higher, alpha=plan.alpha),
        on_request=tuple(all_pairs(wide, method, higher_is_better=higher) for method in plan.post_hoc)
        if ranked is not None
        else (),
        mixed=tuple(mixed_check(reduced, arm, control, level) for arm in arms[:fitted]),
        unmixed=tuple(arms[fitted:]),
    )
