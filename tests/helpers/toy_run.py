"""A driver of the toy sweep in a process of its own, to be killed, stopped and starved by the tests of faults.

Called, with the tests on the path, as ``python toy_run.py STORE LOG RUNNER [NAME=VALUE ...]``; prints ``go`` before
it runs and one JSON line after.
"""

import json
import sys
from pathlib import Path

from helpers import toy
from helpers.runner_contract import Notebook
from medsweep.data.folds import Fold
from medsweep.execution.driver import run_plan
from medsweep.execution.runner import LocalRunner
from medsweep.execution.task import RunContext
from medsweep.store.location import Location, location
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.file import Resources
from medsweep.sweep.plan import Plan, build


def long_plan(log: Path, *, steps: int = 8, pause: float = 0.02, fail: str | None = None) -> Plan:
    """Two generators of ``steps`` slow steps per seed, each with a pool and an arm."""
    arms = [Arm("control", {}, toy.Settings(), is_control=True)]
    for rate in (1.0, 2.0):
        grow = toy.GrowSection(
            rate=rate, steps=steps, seconds_per_step=pause, log=str(log), fail=fail if rate == 2.0 else None
        )
        arms.append(Arm(f"rate={rate:g}", {"grow.rate": rate}, toy.Settings(grow=grow, measure={"count": 2})))
    where = [Replicate(Fold(index=0, of=2), seed) for seed in range(2)]
    return build("toy", arms=arms, replicates=where, stages=toy.STAGES, expand=toy.expand_with(2))


def context_of(store: Location, **resources: float) -> RunContext:
    """A checkpoint after every step, and ``resources`` for the generators."""
    return RunContext(
        store=store, stages=toy.STAGES, checkpoint_seconds=0.0, resources={"grow": Resources.model_validate(resources)}
    )


def main(store: str, log: str, runner: str, *options: str) -> None:
    """Run the sweep; options are arguments of ``long_plan`` and ``stall_minutes``."""
    given = dict(option.split("=") for option in options)
    held = {"stall_minutes": float(given.pop("stall_minutes"))} if "stall_minutes" in given else {}
    numbers = {name: type_(given[name]) for name, type_ in (("steps", int), ("pause", float)) if name in given}
    plan = long_plan(Path(log), fail=given.get("fail"), **numbers)
    notebook = Notebook()
    sys.stdout.write("go\n")
    sys.stdout.flush()
    if runner == "local":
        summary = run_plan(plan, context_of(location(store), **held), LocalRunner(), notebook)
    else:
        from medsweep.execution.ray_runner import RayRunner

        with RayRunner(cpus=2) as ray_runner:
            summary = run_plan(plan, context_of(location(store), **held), ray_runner, notebook)
    told = {
        "code": summary.exit_code,
        "outcomes": [failure.outcome for failure in summary.failures],
        "messages": [failure.message for failure in summary.failures],
        "ran": sum(summary.ran.values()),
        "notes": notebook.notes,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
