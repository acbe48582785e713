"""Arms, folds and seeds of a plan by the names that people type."""

from collections.abc import Sequence

from medsweep.errors import UserError, nearest
from medsweep.sweep.arms import Replicate
from medsweep.sweep.plan import Plan


def find_arm(plan: Plan, name: str) -> str:
    """The arm ``name``, or the one whose trials it shares.

    Raises:
        UserError: there is no such arm; with the nearest name.
    """
    names = [arm.name for arm in plan.arms]
    if name in names:
        return name
    if name in plan.aliases:
        return plan.aliases[name]
    raise UserError(f"no arm of {plan.sweep} is called {name!r}; {nearest(name, [*names, *plan.aliases])}")


def find_arms(plan: Plan, names: Sequence[str]) -> list[str]:
    """The arms ``names``, or all of them where none is named.

    Raises:
        UserError: as ``find_arm``.
    """
    return list(dict.fromkeys(find_arm(plan, name) for name in names)) or [arm.name for arm in plan.arms]


def find_replicate(plan: Plan, fold: int, seed: int) -> Replicate:
    """The replicate of a fold and a seed.

    Raises:
        UserError: the plan has none.
    """
    for replicate in plan.replicates:
        if (replicate.fold, replicate.seed) == (fold, seed):
            return replicate
    folds = ", ".join(map(str, dict.fromkeys(replicate.fold for replicate in plan.replicates)))
    seeds = ", ".join(map(str, dict.fromkeys(replicate.seed for replicate in plan.replicates)))
    raise UserError(f"{plan.sweep} has no fold {fold} with seed {seed}; its folds are {folds}, its seeds {seeds}")
