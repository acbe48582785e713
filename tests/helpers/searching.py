"""The smallest sweep with a search, and how tests run its plans."""

from pathlib import Path

from medsweep.execution.driver import Grow, Summary, run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.search.stopping import Stopping
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.search_loop import Search, open_search
from medsweep.study.stages import STAGES
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import Observer

SEARCH = """\
search:
  suggestions: 4
  batch: 2
  objectives: [{metric: dice, goal: maximise}]
  constraints: [{metric: hours, at_most: 5.0}]
  space:
    segment.learning_rate: {low: 0.001, high: 0.03, log: true}
"""
FACTORS = "factors:\n  gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n"
MICRO = (
    (FACTORS, "arms: {slow: {segment.learning_rate: 0.0005}}\n" + SEARCH),
    ("{folds: 2, seeds: 1}", "{scheme: hold-out, folds: 1, test_share: 0.34, validation: 0.3}"),
)


class Stop:
    """Runs plans in this process; after ``batches`` of them it says that the user stopped."""

    def __init__(self, store: Store, batches: int = 99) -> None:
        self.context, self.left = RunContext(store=store.root, stages=STAGES), batches
        self.stages: list[str] = []

    def __call__(self, plan: Plan, stopping: Stopping | None, grow: Grow) -> Summary:
        assert stopping is None
        self.left -= 1
        summary = run_plan(plan, self.context, LocalRunner(), Observer())
        self.stages += list(summary.ran.elements())
        return summary if self.left else Summary(**{**vars(summary), "stopped": True})


def opened(path: Path, store: Store, *, writes: bool = True) -> Search:
    found = open_search(plan_sweep(path, store), store, writes=writes)
    assert found is not None
    return found
