"""What ended without a result is set apart, and a search forgets that it was told of it."""

from collections.abc import Sequence
from pathlib import Path

from medsweep.execution.failures import Failed, failed_trials, set_apart
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.reach import whole_of
from medsweep.study.search_loop import open_search


def retry_failed(path: Path, store: Store, outcomes: Sequence[str] = ()) -> list[Failed]:
    """Set apart the trials of a sweep that ended without a result, or with one of ``outcomes``; returns them.

    Raises:
        UserError: as ``plan_sweep``; or no trial can end with one of ``outcomes``.
    """
    planned = plan_sweep(path, store)
    search = open_search(planned, store, writes=True)
    state = None if search is None else search.forward()
    given_up = {} if state is None else {event.culprit: event.outcome for event in state.failed.values()}
    failed = failed_trials(whole_of(planned, store, search), store, outcomes, given_up)
    if search is not None:
        search.forget({failure.digest for failure in failed})
    for failure in failed:
        set_apart(failure, store)
    return failed
