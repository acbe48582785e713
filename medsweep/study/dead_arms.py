"""Arms that cannot be compared, since trials of theirs ended without a result: the report names them, and goes on."""

from collections.abc import Mapping, Sequence

from medsweep.analysis.study.dead import DeadArm
from medsweep.execution.driver import Failure
from medsweep.sweep.arms import Replicate
from medsweep.sweep.plan import Decision, Plan
from medsweep.trial import COMPLETE, DivergedError, PoolDryError


def dead_arms(
    plan: Plan, decisions: Mapping[str, Decision], failures: Sequence[Failure], *, complete_cases: bool = False
) -> tuple[DeadArm, ...]:
    """Arms that lost all their networks, in the plan's order, and why; not those that have not been tried.

    Without ``complete_cases`` also arms of which some trial is published without a result: running again would not
    bring it. A diverged training is a result, the worst there is, so its arm is not dead.
    """
    dead = []
    for arm in plan.arms:
        lost = _lost(plan, decisions, failures, arm.name)
        causes = {replicate: cause for replicate, cause in lost.items() if cause is not None}
        lasting = any(cause.published for cause in causes.values()) and not complete_cases
        if causes and (lasting or len(lost) == len(plan.replicates)):
            dead.append(DeadArm(arm.name, _reason(causes, len(lost), len(plan.replicates))))
    return tuple(dead)


def _lost(
    plan: Plan, decisions: Mapping[str, Decision], failures: Sequence[Failure], arm: str
) -> dict[Replicate, Failure | None]:
    """Replicates in which the arm has no score, and the first failure behind each; None where nothing failed."""
    lost: dict[Replicate, Failure | None] = {}
    for replicate in plan.replicates:
        leaf = plan.leaves[arm, replicate]
        if decisions[leaf].outcome == COMPLETE:
            continue
        made_from = plan.ancestry(leaf)
        if all(decisions[digest].outcome != DivergedError.outcome for digest in made_from):
            lost[replicate] = next((one for one in failures if one.trial.digest in made_from), None)
    return lost


def _reason(causes: Mapping[Replicate, Failure], lost: int, runs: int) -> str:
    """The first cause in words, and how many runs it took; advice comes last."""
    replicate, cause = next(iter(causes.items()))
    text = "no network" if lost == runs else f"no network in {lost} of {runs} runs"
    words, _, advice = cause.message.partition(";")
    told = words if cause.outcome == PoolDryError.outcome else f"{cause.trial.stage} ended as {cause.outcome}: {words}"
    alike = sum(one.outcome == cause.outcome for one in causes.values()) - 1
    more = f", and {alike} more run{'s' * (alike > 1)} alike" if alike else ""
    return f"{text}: {told} (fold {replicate.fold} seed {replicate.seed}{more})" + (advice and f";{advice}")
