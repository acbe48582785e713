"""What orchestration costs per trial: medsweep's runner against a plain Ray Tune grid, in turn in one process run.

The trial is trivial on both sides: it adds a few numbers and leaves a small file. The peer is what a user would write:
a function trainable, a grid of as many values, ``tune.report``, defaults everywhere.

    python benchmarks/orchestration.py [TRIALS]
"""

import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from medsweep.config import Config
from medsweep.execution.driver import run_plan
from medsweep.execution.ray_runner import RayRunner
from medsweep.execution.task import World
from medsweep.plan import Builder, Plan
from medsweep.tracking.console import NullObserver
from medsweep.trial import Progress, Stage, Trial

ROUNDS = 1


class AddConfig(Config):
    """A trivial trial."""

    number: int


def add(config: AddConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """The work of one trial: a sum and a file."""
    total = sum(range(config.number))
    (trial.output / "total.json").write_text(json.dumps(total))
    yield Progress(step=1, total=1, metrics={"total": total})


STAGES = {"add": Stage(name="add", version=1, config=AddConfig, run=add, hours=lambda config: 1e-6)}


def ours(trials: int, runner: RayRunner, folder: Path) -> float:
    """Seconds that medsweep needs for ``trials`` trials, every one published, hashed and leased."""
    builder = Builder(STAGES)
    digests = [builder.add("add", AddConfig(number=number)) for number in range(trials)]
    plan = Plan("bench", (), (), builder.trials, {}, frozenset(digests))
    begun = time.perf_counter()
    summary = run_plan(plan, World(store=folder, stages=STAGES), runner, NullObserver())
    seconds = time.perf_counter() - begun
    if not summary.ok or summary.ran["add"] != trials:
        raise RuntimeError(f"expected {trials} trials, got {summary}")
    return seconds


def plain_tune(trials: int, folder: Path) -> float:
    """Seconds that a plain Ray Tune grid needs for the same."""
    from ray import tune

    def trainable(config: dict[str, int]) -> None:
        total = sum(range(config["number"]))
        (folder / f"{config['number']}.json").write_text(json.dumps(total))
        tune.report({"total": total})

    tuner = tune.Tuner(
        trainable,
        param_space={"number": tune.grid_search(list(range(trials)))},
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    begun = time.perf_counter()
    grid = tuner.fit()
    seconds = time.perf_counter() - begun
    if len(grid) != trials or grid.errors:
        raise RuntimeError(f"expected {trials} trials, got {len(grid)} with {len(grid.errors)} errors")
    return seconds


def main() -> None:
    """Run both in turn and print the ratio of their seconds per trial."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent))
    with RayRunner() as runner:
        logging.getLogger("ray").setLevel(logging.ERROR)
        times: dict[str, list[float]] = {"medsweep": [], "plain Ray Tune": []}
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                times["medsweep"].append(ours(trials, runner, Path(folder)))
            with tempfile.TemporaryDirectory() as folder:
                times["plain Ray Tune"].append(plain_tune(trials, Path(folder)))
    for name, seconds in times.items():
        print(f"{name:15} {trials} trials: " + ", ".join(f"{1000 * s / trials:.1f} ms per trial" for s in seconds))
    ratios = [b / a for a, b in zip(times["medsweep"], times["plain Ray Tune"], strict=True)]
    print("plain Ray Tune / medsweep: " + ", ".join(f"{ratio:.1f}x" for ratio in ratios))


if __name__ == "__main__":
    main()
