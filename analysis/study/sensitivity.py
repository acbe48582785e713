"""Does the answer hang on the test? Runs as random, other rules for all pairs, other arms in the pool."""

from dataclasses import dataclass

from medsweep.analysis.stats.mean_ranks import BonferroniDunn, LeaveOneOut, bonferroni_dunn, leave_one_arm_out
from medsweep.analysis.stats.method_tests import RunOmnibus, run_omnibus
from medsweep.analysis.stats.omnibus import NoOmnibus, Omnibus
from medsweep.analysis.stats.pairwise import AllPairs, Pairwise, all_pairs, pairwise
from medsweep.analysis.table.reduction import AnalysisRules, Reduced


@dataclass(frozen=True)
class Sensitivity:
    """Beside Friedman and Nemenyi, on the primary metric; none carries a verdict.

    ``bonferroni_dunn`` and ``leave_one_out`` are None without an omnibus test. ``runs`` takes the runs as random, too.
    ``on_request`` is what ``rules.post_hoc`` asks for.
    """

    runs: RunOmnibus | NoOmnibus
    pairwise: Pairwise
    bonferroni_dunn: BonferroniDunn | None
    leave_one_out: LeaveOneOut | None
    on_request: tuple[AllPairs, ...]


def sensitivity_of(
    reduced: Reduced,
    omnibus: Omnibus | NoOmnibus,
    control: str,
    rules: AnalysisRules,
    *,
    test_over_train: float | None = None,
) -> Sensitivity:
    """All of it from the patients x arms table and, over runs, from its cells; ``omnibus`` is Friedman's."""
    wide, higher, level = reduced.wide, reduced.metric.higher_is_better, 1 - rules.alpha
    ranked = omnibus if isinstance(omnibus, Omnibus) else None
    return Sensitivity(
        runs=run_omnibus(reduced, test_over_train),
        pairwise=pairwise(wide, higher_is_better=higher, alpha=rules.alpha, level=level),
        bonferroni_dunn=None
        if ranked is None
        else bonferroni_dunn(wide, ranked, control, higher_is_better=higher, alpha=rules.alpha),
        leave_one_out=None if ranked is None else leave_one_arm_out(wide, higher_is_better=higher, alpha=rules.alpha),
        on_request=tuple(all_pairs(wide, method, higher_is_better=higher) for method in rules.post_hoc)
        if ranked is not None
        else (),
    )
