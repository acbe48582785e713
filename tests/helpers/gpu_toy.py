"""A GPU that exists in numbers alone, one per process, and a stage that takes memory from it: for tests of shares.

The stage needs ``size_mib`` for a whole batch and a part of it for a part of a batch; ``later_mib`` is what a step
after the first takes on top, which no probe can see.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from helpers.toy import Placed
from medsweep.config import NOT_IDENTITY, Config
from medsweep.execution.gpu_memory import Gpu
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.plan import Builder
from medsweep.trial import Progress, Stage, Trial

TOTAL_MIB = 40_000.0
STATE = {"cap": TOTAL_MIB, "peak": 0.0}
CALLS: list[str] = []
"""What was asked of the GPU in this process."""


class FakeGpu(Gpu):
    """A GPU with the numbers of this module."""

    def begin(self, share: float) -> None:
        CALLS.append(f"begin {share:g}")
        STATE.update(cap=share * TOTAL_MIB, peak=0.0)

    def peak_mib(self) -> float:
        return STATE["peak"]

    def total_mib(self) -> float:
        return TOTAL_MIB

    def name(self) -> str:
        return "made up"

    def release(self, error: BaseException | None = None) -> None:
        CALLS.append("release")


def allocate(mib: float) -> None:
    if mib > STATE["cap"]:
        raise RuntimeError(f"CUDA out of memory. Tried to allocate {mib} MiB")
    STATE["peak"] = max(STATE["peak"], mib)


class TrainConfig(Placed):
    size_mib: float
    later_mib: float = 0.0
    batch_size: int = 8
    steps: int = Field(default=3, ge=1)
    bug: bool = False
    fold: int = 0
    seed: int = 0
    log: Annotated[str | None, NOT_IDENTITY] = None


class ApplyConfig(Placed):
    count: int
    fold: int = 0
    seed: int = 0


class Settings(Config):
    train: TrainConfig
    apply: ApplyConfig | None = None


def train(config: TrainConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """The result does not depend on the parts that a batch is worked in."""
    if config.log is not None:
        with Path(config.log).open("a") as stream:
            row = {"steps": config.steps, "cap": STATE["cap"], "parts": trial.micro_batches, "pid": os.getpid()}
            row["share"] = trial.gpu_share
            stream.write(json.dumps(row) + "\n")
    if config.bug:
        raise KeyError("nothing")
    for step in range(1, config.steps + 1):
        allocate(config.size_mib / trial.micro_batches + (config.later_mib if step > 1 else 0.0))
        yield Progress(step=step, total=config.steps)
    (trial.output / "result.json").write_text(json.dumps(config.size_mib + config.seed))


def apply(config: ApplyConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """Takes a tenth of what the training of its model took, however often it is applied."""
    size = json.loads((inputs["model"] / "result.json").read_text())
    for step in range(1, config.count + 1):
        allocate(size / 10)
        yield Progress(step=step, total=config.count)


def cut(config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"steps": 1, "seed": 0})


def price(config: Any) -> float:
    return 0.001


def gpu_price(config: Any) -> float:
    return 0.0001


STAGES = {
    "train": Stage(
        name="train",
        version=1,
        config=TrainConfig,
        run=train,
        hours=price,
        gpu_hours=gpu_price,
        probe=cut,
        divides=lambda c: c.batch_size,
    ),
    "simple": Stage(name="simple", version=1, config=TrainConfig, run=train, hours=price, gpu_hours=gpu_price),
    "apply": Stage(
        name="apply",
        version=1,
        config=ApplyConfig,
        run=apply,
        hours=price,
        gpu_hours=gpu_price,
        probe=lambda config: config.model_copy(update={"count": 1}),
        sized_by=frozenset({"model"}),
    ),
}


def expand(builder: Builder, arm: Arm, replicate: Replicate) -> str:
    settings = arm.settings
    assert isinstance(settings, Settings)
    where = {"fold": replicate.fold, "seed": replicate.seed}
    stage = "simple" if arm.name == "simple" else "train"
    made = builder.add(stage, settings.train.model_copy(update=where))
    if settings.apply is None:
        return made
    return builder.add("apply", settings.apply.model_copy(update=where), {"model": made})
