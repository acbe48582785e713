"""Twelve trials with ``gpus: auto`` on a Ray cluster whose one GPU is made up; called as ``gpu_cluster.py FOLDER``."""

import sys
from pathlib import Path

from helpers import gpu_toy
from helpers.clusters import cluster_of
from helpers.runner_contract import Notebook
from medsweep.data.folds import Fold
from medsweep.execution.driver import run_plan
from medsweep.execution.ray_runner import RayRunner
from medsweep.execution.task import RunContext
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.file import Resources
from medsweep.sweep.plan import build


def main(folder: Path) -> int:
    """Exit code of the run; every trial writes a line to ``folder``/log."""
    settings = gpu_toy.Settings(train=gpu_toy.TrainConfig(size_mib=6000.0, log=str(folder / "log")))
    where = [Replicate(Fold(index=0, of=2), seed) for seed in range(12)]
    arms = [Arm("small", {}, settings, is_control=True)]
    plan = build("gpus", arms=arms, replicates=where, stages=gpu_toy.STAGES, expand=gpu_toy.expand)
    held = {"train": Resources(gpus="auto")}
    context = RunContext(store=folder / "store", stages=gpu_toy.STAGES, resources=held, gpu=gpu_toy.FakeGpu())
    with cluster_of(num_cpus=4, num_gpus=1) as cluster, RayRunner(address=cluster.address) as runner:
        return run_plan(plan, context, runner, Notebook()).exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
