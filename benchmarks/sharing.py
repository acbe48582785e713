"""What sharing saves: the quickstart's arms through medsweep against the same stage functions run arm by arm.

One fold and one seed of the sweep are run on both sides, without the assessments that only the report reads.

Both sides run the same trials with the same code in this process, one after the other, so the ratio is that of the
work. The peer gives every arm and replicate a store of its own, which is what a loop over arms does.

    python benchmarks/sharing.py [SWEEP]
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from medsweep.execution.driver import run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.store.store import Store
from medsweep.study.plan import plan_sweep
from medsweep.study.stages import STAGES
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import Observer

QUICKSTART = Path(__file__).parents[1] / "sweeps" / "quickstart.yaml"


class Spent(NamedTuple):
    """Seconds by the clock on the wall and on the processor; the second ignores whoever else uses the machine."""

    wall: float
    cpu: float


def timed(plan: Plan, folder: Path) -> Spent:
    """Seconds to run ``plan`` from an empty store."""
    begun, begun_cpu = time.perf_counter(), time.process_time()
    summary = run_plan(plan, RunContext(store=folder, stages=STAGES), LocalRunner(), Observer())
    if any(failure.outcome != "pool-dry" for failure in summary.failures):
        raise RuntimeError(f"a trial failed: {summary.failures[0]}")
    return Spent(time.perf_counter() - begun, time.process_time() - begun_cpu)


def first_replicate(plan: Plan) -> Plan:
    """All arms under one fold and seed; the other replicates cost the same again on both sides."""
    leaves = {key: leaf for key, leaf in plan.leaves.items() if key[1] == plan.replicates[0]}
    needed = set().union(*(plan.ancestry(leaf) for leaf in leaves.values()))
    trials = {digest: trial for digest, trial in plan.trials.items() if digest in needed}
    return Plan(plan.sweep, plan.arms, plan.replicates[:1], trials, leaves)


def alone(plan: Plan, leaf: str) -> Plan:
    """The chain of one arm under one replicate, and nothing else."""
    needed = plan.ancestry(leaf)
    trials = {digest: trial for digest, trial in plan.trials.items() if digest in needed}
    return Plan(plan.sweep, (), (), trials, {}, frozenset({leaf}))


def main() -> None:
    """Time both and print the ratio."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else QUICKSTART
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        everything = plan_sweep(path, Store.create(root / "plan")).plan
        plan = first_replicate(everything)
        shared = timed(plan, root / "shared")
        print(f"medsweep, {len(plan.trials)} trials: {shared.wall:.1f} s, {shared.cpu:.1f} s of CPU", flush=True)
        alone_times = [
            timed(alone(plan, leaf), root / f"alone-{number}") for number, leaf in enumerate(plan.leaves.values())
        ]
        wall, cpu = sum(spent.wall for spent in alone_times), sum(spent.cpu for spent in alone_times)
        print(f"arm by arm, {sum(plan.naive_counts().values())} trials: {wall:.1f} s, {cpu:.1f} s of CPU")
        print(f"arm by arm / medsweep: {wall / shared.wall:.2f}x by the wall, {cpu / shared.cpu:.2f}x by CPU")


if __name__ == "__main__":
    main()
