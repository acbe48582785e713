"""A search on a simulated cluster: the real search, its sampler, ledger and searcher; made-up durations and scores."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from scheduling import ROOT, run_round, tasks_to_run
from simulated_cluster import Cluster, SimulatedStore, Simulation

from medsweep.data.source import DataSource
from medsweep.execution.runner import RoundResult, RunPolicy
from medsweep.execution.task import RunContext, Task
from medsweep.search.record import Event
from medsweep.store.store import Store
from medsweep.study import search_loop
from medsweep.study.plan import PlannedSweep, plan_arms
from medsweep.study.pool_folders import PoolFolders
from medsweep.study.stages import SCHEMA, STAGES
from medsweep.sweep.arms import arms, replicates
from medsweep.sweep.file import Resources
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Plan
from medsweep.sweep.space import SearchSection

SUGGESTIONS, AT_ONCE, PLACES = 48, 8, 16
NOWHERE = Path("/nonexistent")
TIMED = RunContext(store=NOWHERE, stages=STAGES)
"""Trials take what is estimated for one CPU core."""
PLACE = Resources(gpus=1.0)
"""What every trial holds: one place, which the simulated cluster counts as a GPU."""
SPREAD, STRAGGLERS, SLOWER = 0.3, 0.1, 4.0
"""SD of the log of a duration over its estimate, share of trials that straggle, and how much longer these take."""


def planned_search() -> PlannedSweep:
    """``sweeps/search/hippocampus.yaml`` for as many patients as the dataset has."""
    sweep = load_sweep(ROOT / "sweeps" / "search" / "hippocampus.yaml", SCHEMA)
    patients = tuple(f"hippocampus-{number:03}" for number in range(260))
    source = DataSource(hashlib.sha256(b"hippocampus").hexdigest(), patients)
    compared, cells = arms(sweep), replicates(sweep, patients)
    folders = PoolFolders(sweep, source, Store(NOWHERE), reading=True)
    plan = plan_arms(sweep, source, cells, compared, folders=folders)
    return PlannedSweep(sweep, source, compared, cells, folders, plan)


def placed(plan: Plan) -> list[Task]:
    """The tasks of a plan, each of which holds one place."""
    return [replace(task, held=PLACE) for task in tasks_to_run([plan], TIMED)]


def drawn(tasks: Sequence[Task], seed: int) -> dict[str, float]:
    """Hours of trials; those of one digest are the same whoever asks for it."""
    hours = {}
    for task in tasks:
        rng = np.random.default_rng([seed, int(task.digest[:12], 16)])
        slower = SLOWER if rng.random() < STRAGGLERS else 1.0
        hours[task.digest] = task.hours * float(np.exp(rng.normal(0, SPREAD))) * slower
    return hours


def scored(
    section: SearchSection, plan: Plan, store: SimulatedStore, *, arm: str, **_: Mapping[str, object]
) -> Event | None:
    """The end of an arm, with a score that follows from its digests, once all of its trials are published."""
    leaves = tuple(plan.leaves_of(arm))
    if not store.published.issuperset(leaves):
        return None
    metrics = {metric: int(leaves[0][:8], 16) / 2**32 for metric in section.metrics}
    return Event(kind="told", arm=arm, outcome="complete", metrics=metrics, replicates=len(leaves), leaves=leaves)


def search_on(planned: PlannedSweep, asked: Mapping[str, int | None], seed: int) -> Simulation:
    """The cluster after a whole search; ``asked`` are fields of its section that say who is waited for."""
    section = planned.sweep.file.search
    assert section is not None
    found = search_loop.open_search(planned, Store(NOWHERE))
    assert found is not None
    store = SimulatedStore()
    changes = {"suggestions": SUGGESTIONS, "seed": seed, "constraints": (), **asked}
    search = replace(found, section=section.model_copy(update=changes), store=store)
    state = search.forward()
    tasks = placed(state.plan)
    simulation = Simulation(Cluster(1, PLACES, 0.0), drawn(tasks, seed), seed)

    def more(_: RoundResult) -> list[Task]:
        nonlocal state
        before, state = state, search.forward()
        new = [] if len(before.suggestions) == len(state.suggestions) else placed(state.plan)
        simulation.durations.update(drawn(new, seed))
        return new

    run_round(tasks, simulation, store, RunPolicy(clock=lambda: simulation.now * 3600, more=more))
    assert search.is_settled(search.forward())
    return simulation


def print_searches(seeds: int) -> None:
    """Hours and utilisation of both ways to ask, and their ratio."""
    planned = planned_search()
    print(f"search: {SUGGESTIONS} suggestions of two folds on {PLACES} places, {AT_ONCE} at once; a line per draw")
    with patch.object(search_loop, "ending_of", scored):
        for seed in range(seeds):
            free = search_on(planned, {"at_once": AT_ONCE, "batch": None}, seed)
            batches = search_on(planned, {"batch": AT_ONCE}, seed)
            used = [100 * each.busy / each.ended / PLACES for each in (free, batches)]
            print(
                f"as places free up {free.ended:.2f} h, utilisation {used[0]:.1f} %; in batches of {AT_ONCE} "
                f"{batches.ended:.2f} h, {used[1]:.1f} %: {batches.ended / free.ended:.2f}x ours"
            )
