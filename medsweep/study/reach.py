"""All trials that a sweep may still read: those of its arms, of its search so far, and of all its looks."""

from pathlib import Path

from medsweep.store.collection import planned_of
from medsweep.store.store import Store
from medsweep.study.looks import open_looks
from medsweep.study.plan import PlannedSweep, plan_sweep
from medsweep.study.search_loop import open_search
from medsweep.study.stages import Settings
from medsweep.sweep.plan import Plan


def whole_plan(path: Path, store: Store) -> Plan[Settings]:
    """The plan of a sweep with the suggestions that its search made so far, and with the seeds of every look.

    Raises:
        UserError: as ``plan_sweep``.
    """
    return _whole(plan_sweep(path, store), store)[0]


def needed_by(path: Path, store: Store) -> set[str]:
    """Digests that a sweep needs, inputs included.

    What a search asks next follows from its results, so a trial that is damaged hides all that came after it. The
    plan that the store kept of the sweep still names them.

    Raises:
        UserError: as ``plan_sweep``.
    """
    plan, searches = _whole(plan_sweep(path, store), store)
    needed = {digest for goal in plan.goals for digest in plan.ancestry(goal)}
    return needed | planned_of(plan.sweep, store) if searches else needed


def _whole(planned: PlannedSweep, store: Store) -> tuple[Plan[Settings], bool]:
    search, looks = open_search(planned, store), open_looks(planned, store)
    if search is not None:
        return search.forward().plan, True
    return planned.plan if looks is None else looks.plan(looks.looks[-1]), False
