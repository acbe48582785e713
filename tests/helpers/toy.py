"""A small pipeline with real arithmetic and real ways to fail, for tests of the engine.

``source`` writes a number, ``grow`` adds to it step by step with checkpoints, ``pool`` draws a sequence whose head does
not depend on its length, ``measure`` reads a prefix of the pool. What went through ``grow`` is appended to a log, so a
test can count repeated steps.
"""

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from medsweep.config import EXTENT, NOT_IDENTITY, Config
from medsweep.data.stage_config import StageConfig
from medsweep.errors import UserError
from medsweep.identity import derive_seed
from medsweep.sweep.arms import Arm, Replicate
from medsweep.sweep.file import Schema, Sweep
from medsweep.sweep.load import load_sweep
from medsweep.sweep.plan import Builder
from medsweep.trial import DivergedError, Progress, Stage, Trial


class Seeded(StageConfig):
    seed: int

    @property
    def training_seed(self) -> int:
        return self.seed


class Placed(Seeded):
    fold: int

    @property
    def fold_index(self) -> int:
        return self.fold


class SourceConfig(StageConfig):
    value: int = 1


class GrowSection(Config):
    steps: int = Field(default=3, ge=1)
    rate: float = 1.0
    fail: str | None = None
    """How to fail from step 2 on; ``hang`` and ``die`` do so once, and leave ``LOG.hang`` or ``LOG.die``."""
    seconds_per_step: Annotated[float, NOT_IDENTITY] = 0.0
    log: Annotated[str | None, NOT_IDENTITY] = None


class GrowConfig(GrowSection, Placed):
    pass


class PoolConfig(Seeded):
    count: Annotated[int, EXTENT]


class MeasureSection(Config):
    scale: float = 1.0
    count: int = Field(default=0, ge=0)


class MeasureConfig(MeasureSection, Placed):
    pass


class AnalysisRules(Config):
    primary: str = "dice"


class Settings(Config):
    data: SourceConfig = SourceConfig()
    grow: GrowSection = GrowSection()
    measure: MeasureSection = MeasureSection()
    idle: SourceConfig = SourceConfig()


def source(config: SourceConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    (trial.output / "value.json").write_text(json.dumps(config.value))
    trial.note("the value is made up")
    yield Progress(step=0, total=1, beat=True)
    yield Progress(step=1, total=1, metrics={"value": config.value})


def grow(config: GrowConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    value, done = json.loads((inputs["source"] / "value.json").read_text()), 0
    if (found := trial.restore()) is not None:
        done, value = found[0], json.loads((found[1] / "value.json").read_text())
    for step in range(done + 1, config.steps + 1):
        time.sleep(config.seconds_per_step)
        _fail(config.fail, step, config.log)
        value += config.rate * (step + config.seed)
        if config.log is not None:
            with Path(config.log).open("a") as stream:
                stream.write(json.dumps([trial.digest, step]) + "\n")
        yield Progress(step=step, total=config.steps, metrics={"value": value})
        kept = value
        if trial.checkpoint_due():
            trial.checkpoint(step, lambda folder: (folder / "value.json").write_text(json.dumps(kept)))  # noqa: B023
    (trial.output / "value.json").write_text(json.dumps(value))


def _fail(how: str | None, step: int, log: str | None) -> None:
    if how is None or step < 2:
        return
    if how in ("hang", "die"):
        _once(how, Path(f"{log}.{how}"))
        return
    failures: dict[str, BaseException] = {
        "diverged": DivergedError(f"value became nan at step {step}"),
        "memory": MemoryError("cannot allocate"),
        "disk": OSError(errno.ENOSPC, "No space left on device"),
        "bug": KeyError("nothing"),
        "input": UserError("label 7 in case_3 is not declared"),
    }
    if how == "kill":
        os.kill(os.getpid(), 9)
    raise failures[how]


def _once(how: str, mark: Path) -> None:
    if mark.exists():
        return
    mark.touch()
    if how == "die":
        os.kill(os.getpid(), 9)
    time.sleep(3600)


def pool(config: PoolConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    value = json.loads((inputs["model"] / "value.json").read_text())
    draws = [value + derive_seed(config.seed, i) % 1000 for i in range(config.count)]
    (trial.output / "draws.json").write_text(json.dumps(draws))
    yield Progress(step=config.count, total=config.count)


def measure(config: MeasureConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    draws = json.loads((inputs["pool"] / "draws.json").read_text())[: config.count] if "pool" in inputs else []
    base = json.loads((inputs["source"] / "value.json").read_text())
    (trial.output / "result.json").write_text(json.dumps(config.scale * (base + sum(draws))))
    yield Progress(step=1, total=1, metrics={"result": config.scale * (base + sum(draws))})


def price(config: Any) -> float:
    return 0.001


STAGES = {
    stage.name: stage
    for stage in (
        Stage(name="source", version=1, config=SourceConfig, run=source, hours=price),
        Stage(name="grow", version=1, config=GrowConfig, run=grow, hours=price),
        Stage(name="pool", version=1, config=PoolConfig, run=pool, hours=price),
        Stage(
            name="measure", version=1, config=MeasureConfig, run=measure, hours=price, reads_prefix=frozenset({"pool"})
        ),
    )
}


def expand_with(largest: int) -> Any:
    """An ``Expand`` whose pools hold ``largest`` draws."""

    def expand(builder: Builder, arm: Arm, replicate: Replicate) -> str:
        settings = arm.settings
        assert isinstance(settings, Settings)
        origin = builder.add("source", settings.data)
        inputs = {"source": origin}
        where = {"fold": replicate.fold, "seed": replicate.seed}
        if settings.measure.count:
            model = builder.add("grow", GrowConfig(**settings.grow.model_dump(), **where), {"source": origin})
            inputs["pool"] = builder.add("pool", PoolConfig(count=largest, seed=replicate.seed), {"model": model})
        return builder.add("measure", MeasureConfig(**settings.measure.model_dump(), **where), inputs)

    return expand


def sweep_with(folder: Path, section: str) -> Sweep:
    """A sweep of the one arm ``real`` whose file has ``section``, which begins in its fifth line."""
    path = folder / "toy.yaml"
    path.write_text(f"sweep: toy\nquestion: Why?\ncontrol: real\narms: {{real: {{}}}}\n{section}")
    return load_sweep(path, Schema(Settings, tuple(STAGES), AnalysisRules))
