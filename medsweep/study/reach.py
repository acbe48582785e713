"""All trials that a sweep may still read: those of its arms, of its search so far, and of all its looks."""

from pathlib import Path

from medsweep.store.collection import planned_of
from medsweep.store.store import Store
from medsweep.study.looks import open_looks
from medsweep.study.plan import PlannedSweep, plan_sweep
from medsweep.study.search_loop import Search, open_search
from medsweep.study.stages import Settings
from medsweep.sweep.plan import Plan


def needed_by(path: Path, store: Store) -> set[str]:
    """Digests that a sweep needs, inputs included.

    A search from before its record was kept follows from its results alone, so a trial that is damaged hides all that
    came after it. The plan that the store kept of the sweep still names them.

    Raises:
        UserError: as ``plan_sweep``.
    """
    planned = plan_sweep(path, store)
    search = open_search(planned, store)
    plan = whole_of(planned, store, search)
    needed = {digest for goal in plan.goals for digest in plan.ancestry(goal)}
    return needed if search is None else needed | planned_of(plan.sweep, store)


def whole_of(planned: PlannedSweep, store: Store, search: Search | None) -> Plan[Settings]:
    """The plan with all suggestions of the sweep's ``search`` so far, or with the seeds of every look."""
    if search is not None:
        return search.whole_plan(search.forward())
    looks = open_looks(planned, store)
    return planned.plan if looks is None else looks.plan(looks.looks[-1])
