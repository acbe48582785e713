"""What orchestration costs per trial: medsweep's runner against a plain Ray Tune grid, in turn in one process run.

The trial is trivial on both sides: it adds a few numbers and leaves a small file. The peer is what a user would write:
a function trainable, a grid of as many values, ``tune.report``, defaults everywhere.

With ``--scale`` no peer runs: medsweep alone, on a Ray cluster of three nodes of one CPU each on this host, with more
and more trials. The same finished sweep then runs once again, which takes the time to plan it and find it in the store.

    python benchmarks/orchestration.py [TRIALS]
    python benchmarks/orchestration.py --scale 100 1000 10000
"""

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medsweep.data.stage_config import StageConfig
from medsweep.execution.driver import run_plan
from medsweep.execution.ray_runner import RayRunner
from medsweep.execution.task import RunContext
from medsweep.sweep.plan import Builder, Plan
from medsweep.tracking.console import Observer
from medsweep.trial import Progress, Stage, Trial

ROUNDS = 1


class AddConfig(StageConfig):
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
    begun = time.perf_counter()
    summary = run_plan(plan_of(trials), RunContext(store=folder, stages=STAGES), runner, Observer())
    seconds = time.perf_counter() - begun
    if not summary.ok or summary.ran["add"] != trials:
        raise RuntimeError(f"expected {trials} trials, got {summary}")
    return seconds


def resumed(trials: int, runner: RayRunner, folder: Path) -> float:
    """Seconds to plan and to find that all of it is published and whole."""
    begun = time.perf_counter()
    summary = run_plan(plan_of(trials), RunContext(store=folder, stages=STAGES), runner, Observer())
    seconds = time.perf_counter() - begun
    if not summary.ok or summary.ran or summary.reused["add"] != trials:
        raise RuntimeError(f"expected {trials} reused trials, got {summary}")
    return seconds


def plan_of(trials: int) -> Plan:
    """As many trials that depend on nothing."""
    builder = Builder(STAGES)
    digests = [builder.add("add", AddConfig(number=number)) for number in range(trials)]
    return Plan("bench", (), (), builder.trials, {}, frozenset(digests))


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


def against_tune(trials: int) -> None:
    """Run both in turn and print the ratio of their seconds per trial."""
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


def growing(counts: Sequence[int]) -> None:
    """Run more and more trials on three nodes; print time per trial, driver memory, files, and the time to resume."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    try:
        with RayRunner(address=cluster.address) as runner, tempfile.TemporaryDirectory() as warm:
            logging.getLogger("ray").setLevel(logging.ERROR)
            ours(10, runner, Path(warm))
            for trials in counts:
                with tempfile.TemporaryDirectory() as folder:
                    begun = time.process_time()
                    seconds = ours(trials, runner, Path(folder))
                    busy = time.process_time() - begun
                    again = resumed(trials, runner, Path(folder))
                    files = sum(len(names) for _, _, names in os.walk(folder)) / trials
                print(
                    f"{trials:6} trials: {1000 * seconds / trials:6.1f} ms per trial ({1000 * busy / trials:.1f} ms of "
                    f"the driver's CPU), {files:.1f} files each, "
                    f"driver's peak so far {peak_mib():.0f} MiB, finished sweep again in {again:.2f} s",
                    flush=True,
                )
    finally:
        cluster.shutdown()


def peak_mib() -> float:
    """Most memory that this process has held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    """Compare with Ray Tune, or grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=int, nargs="?", default=200)
    parser.add_argument("--scale", type=int, nargs="+", metavar="TRIALS")
    options = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent))
    growing(options.scale) if options.scale else against_tune(options.trials)


if __name__ == "__main__":
    main()
