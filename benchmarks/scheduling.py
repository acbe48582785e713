"""How close scheduling comes to what is possible: the paper's whole grid on a simulated cluster, in seconds.

Real code decides: the plan of every sweep in ``sweeps/paper``, the frontier and ledger that every runner shares,
and the slots that hand trials to processes. Simulated are the clock, the nodes, the store and the failures. The peer is
what a user would write, stage by stage: no trial of a stage starts before all of the stage before it have ended, on the
same durations, nodes and failures.

Durations are modelled: the built-in estimate for one CPU core over a speed-up per stage (``SPEED``), times a lognormal
factor per trial. Shares of GPUs are those of the sweep files.

Then a search with stragglers, on a cluster of its own (``simulated_search``): suggestions that are asked for as places
free up against batches that wait for their slowest.

    python benchmarks/scheduling.py [--gpus 64] [--nodes 16] [--failures 0.002] [--seeds 3]
"""

import argparse
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from simulated_cluster import Cluster, SimulatedStore, Simulation

from medsweep.data.source import DataSource
from medsweep.execution.failures import LONGEST_BACKOFF_SECONDS, TRIES
from medsweep.execution.places import Places
from medsweep.execution.places import slots as slots_of
from medsweep.execution.plan_tasks import labels_of, tasks_of
from medsweep.execution.runner import Ledger, RunPolicy
from medsweep.execution.slots import Slots
from medsweep.execution.task import RunContext, Task
from medsweep.store.store import Store
from medsweep.study.plan import plan_arms
from medsweep.study.pool_folders import PoolFolders
from medsweep.study.stages import SCHEMA, STAGES
from medsweep.sweep.arms import arms, replicates
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Decision, Plan
from medsweep.tracking.console import Observer

ROOT = Path(__file__).parents[1]
SPEED = {
    "prepare": 1.0,
    "gan": 750.0,
    "synthesise": 100.0,
    "treat": 20.0,
    "embed": 20.0,
    "assess": 20.0,
    "segment": 60.0,
    "score": 20.0,
}
"""A trial with its share of a GPU against one CPU core. GANs: 30 TFLOP/s over 40 GFLOP/s; the others are guesses."""
SPREAD = 0.15
"""SD of the log of what a trial really takes over its estimate."""
PATIENTS = {"brats20": 369, "kits19": 210, "ibsr18": 18, "d-heart": 20, "d-spleen": 41, "u-pro": 40}
"""Labelled cases as published; that of U-PRO, which is private, is made up."""


def paper_plans() -> list[Plan]:
    """The plans of all sweeps of the paper, for as many patients as the datasets have."""
    plans = []
    for path in sorted((ROOT / "sweeps" / "paper").glob("*.yaml")):
        sweep = load_sweep(path, SCHEMA)
        patients = tuple(f"{path.stem}-{number:03}" for number in range(PATIENTS[path.stem]))
        source = DataSource(hashlib.sha256(path.stem.encode()).hexdigest(), patients)
        folders = PoolFolders(sweep, source, Store(Path("/nonexistent")), reading=True)
        plan = plan_arms(sweep, source, replicates(sweep, patients), arms(sweep), folders=folders)
        plans.append(replace(plan, trials={key: _priced(trial) for key, trial in plan.trials.items()}))
    return plans


def _priced(trial: Any) -> Any:
    hours = trial.hours / SPEED[trial.stage]
    return replace(trial, hours=hours, gpu_hours=hours)


def context_of() -> RunContext:
    """What the trials of the paper's sweeps hold; they all say the same."""
    sweep = load_sweep(ROOT / "sweeps" / "paper" / "brats20.yaml", SCHEMA)
    return RunContext(store=Path("/nonexistent"), stages=STAGES, resources=sweep.file.resources)


def tasks_to_run(plans: Sequence[Plan], context: RunContext) -> list[Task]:
    """The tasks of all plans, each trial once."""
    by_digest: dict[str, Task] = {}
    for plan in plans:
        decisions = {digest: Decision("run", "not in the store") for digest in plan.trials}
        for task in tasks_of(plan, decisions, labels_of(plan), closed=set(), context=context, enlarged={}):
            by_digest.setdefault(task.digest, task)
    return list(by_digest.values())


def run(tasks: Sequence[Task], simulation: Simulation) -> float:
    """Hours that the real slots need for ``tasks``, in as many rounds as a driver would start."""
    store, policy = SimulatedStore(), RunPolicy(clock=lambda: simulation.now * 3600)
    while left := [task for task in tasks if task.digest not in store.published]:
        if max(policy.lost[task.digest] for task in left) >= TRIES:
            raise RuntimeError("a trial was lost too often; lower --failures")
        run_round(left, simulation, store, policy)
        simulation.now += LONGEST_BACKOFF_SECONDS / 3600
    return simulation.ended


def run_round(tasks: Sequence[Task], simulation: Simulation, store: SimulatedStore, policy: RunPolicy) -> None:
    ledger = Ledger(tasks, store, Observer(), policy)
    nodes = simulation.nodes
    all_of = [dict(node.has) for node in simulation.cluster.empty()]
    places = Places(list, dict, print, policy.clock)
    slots = Slots(
        ledger, places, dict, lambda bundle: slots_of(bundle, all_of),
        lambda: {str(number): node.has for number, node in enumerate(nodes)}, policy.clock,
    )  # fmt: skip
    names = itertools.count()
    asked: dict[str, Mapping[str, float]] = {}
    while True:
        while (bundle := slots.ask(name := f"slot-{next(names)}")) is not None:
            asked[name] = bundle
        for name, bundle in [*asked.items()]:
            if (node := simulation.place(name, bundle)) is not None:
                del asked[name]
                go_on(slots, simulation, name, node)
        if not simulation.is_busy and not asked:
            return
        ended, killed = simulation.next_end()
        for name, node, digest in ended:
            store.published.add(digest)
            go_on(slots, simulation, name, node)
        for name in killed:
            slots.ended(name)


def go_on(slots: Slots, simulation: Simulation, name: str, node: int) -> None:
    """Give a process its next task, or its place back: on a clock in hours none lingers."""
    task = slots.is_free(name, str(node))
    if task is None:
        slots.ended(name)
        simulation.release(name)
    else:
        simulation.begin(name, task.digest)


def run_by_stage(tasks: Sequence[Task], fresh: Callable[[], Simulation]) -> float:
    """Hours with a barrier after each stage; reference segmenters run beside the GANs."""
    return sum(run([replace(task, inputs={}) for task in stage], fresh()) for stage in _waves(tasks))


def _waves(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Tasks stage by stage, in an order in which inputs come first."""
    depth: dict[str, int] = {}
    for task in tasks:
        depth[task.digest] = 1 + max((depth[parent] for parent in task.inputs.values() if parent in depth), default=-1)
    for wave in sorted(set(depth.values())):
        yield [task for task in tasks if depth[task.digest] == wave]


def bounds(tasks: Sequence[Task], context: RunContext, durations: dict[str, float], gpus: int) -> tuple[float, float]:
    """Hours of the longest chain, and of all GPU work spread evenly: no schedule can be shorter than either."""
    chain: dict[str, float] = {}
    for task in tasks:
        before = max((chain[parent] for parent in task.inputs.values() if parent in chain), default=0.0)
        chain[task.digest] = before + durations[task.digest]
    work = sum(durations[task.digest] * context.resources_of(task.stage).gpus for task in tasks)
    return max(chain.values()), work / gpus


def main() -> None:
    """Print the plans' GPU hours, then makespans against the bounds and against barriers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--failures", type=float, default=0.002, help="failures per GPU and hour")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("MEDSWEEP_DATA", "/data")  # no file is read: the patients are numbers
    plans, context = paper_plans(), context_of()
    print_plans(plans, context)
    tasks = tasks_to_run(plans, context)
    print(f"{len(tasks)} trials, {options.gpus} GPUs on {options.nodes} nodes; a line per draw of the durations")
    for rate, seed in itertools.product((0.0, options.failures), range(options.seeds)):
        print_draw(tasks, context, Cluster(options.nodes, options.gpus, rate), seed)
    from simulated_search import print_searches

    print_searches(options.seeds)


def print_draw(tasks: Sequence[Task], context: RunContext, cluster: Cluster, seed: int) -> None:
    """One draw of durations and failures: the makespan against the bounds and against barriers."""
    rng = np.random.default_rng(seed)
    durations = {task.digest: task.hours * float(np.exp(rng.normal(0, SPREAD))) for task in tasks}
    longest, work = bounds(tasks, context, durations, cluster.gpus)
    fresh = partial(Simulation, cluster, durations, seed)
    simulation = fresh()
    ours, barriers = run(tasks, simulation), run_by_stage(tasks, fresh)
    print(
        f"{cluster.rate:g} failures per GPU hour ({simulation.failures} nodes): {ours:.2f} h; bounds {longest:.2f} h "
        f"longest chain, {work:.2f} h work: {100 * max(longest, work) / ours:.1f} % of what they allow; "
        f"utilisation {100 * simulation.busy / ours / cluster.gpus:.1f} %, {simulation.lost:.2f} GPU hours repeated; "
        f"with barriers {barriers:.2f} h, {barriers / ours:.2f}x ours"
    )


def print_plans(plans: Sequence[Plan], context: RunContext) -> None:
    """Naive and shared GPU hours of every sweep."""
    for plan in plans:
        shared = sum(trial.hours * context.resources_of(trial.stage).gpus for trial in plan.trials.values())
        by_stage: Counter[str] = Counter()
        for leaf in plan.leaves.values():
            for digest in plan.ancestry(leaf):
                trial = plan.trials[digest]
                by_stage[trial.stage] += trial.hours * context.resources_of(trial.stage).gpus
        naive = sum(by_stage.values())
        print(f"{plan.sweep:16} {len(plan.trials):5} trials, {naive:7.0f} GPU h naive, {shared:6.0f} GPU h shared")


if __name__ == "__main__":
    main()
