"""A sweep in which all happens that may happen to a trial: reused, stopped, failed, pruned, its pool run dry."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from helpers.micro import write_micro
from medsweep.cli import app
from medsweep.data.slices import SliceSet
from medsweep.store.store import Store
from medsweep.store.workspace import Workspace
from medsweep.study.stages import STAGES
from medsweep.trainers.segmentation import train
from medsweep.trainers.segmentation.config import SegmentConfig
from medsweep.trial import Progress, PrunedError, Trial

ARMS = """\
arms:
  dry: {synthesise.count: 4, segment.min_iou: 0.999}
  longer: {segment.steps: 16}
  broken: {segment.learning_rate: 0.002}
  pruned: {segment.learning_rate: 0.003}
fixed:"""
ONE_FOLD = ("{folds: 2, seeds: 1}", "{folds: 2, only: [0], seeds: 1}")
NO_POOL = ("gan.pipeline: [b-sg, mc-sg]\n  synthesise.count: [4]\n", "segment.steps: [4]\n")
ONE_POOL = ("[b-sg, mc-sg]", "[b-sg]")
STOPS: list[KeyboardInterrupt] = []
"""Of this process; each stops one training that is meant to take 16 steps."""
BROKEN_RATE, PRUNED_RATE = 0.002, 0.003


def troubled_segment(config: SegmentConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """The segment stage, which is stopped, fails or is pruned after step 8."""
    for progress in train.run(config, inputs, trial):
        yield progress
        if progress.step == 8 and config.steps == 16 and STOPS:
            raise STOPS.pop()
        if progress.step == 8 and config.learning_rate == BROKEN_RATE:
            patient = SliceSet.open(inputs["prepare"]).patients[0]
            raise RuntimeError(f"cannot read /secret/place of {patient}: broken")
        if progress.step == 8 and config.learning_rate == PRUNED_RATE:
            raise PrunedError("worse than the median at step 8")


def run_troubled(
    folder: Path, patch: pytest.MonkeyPatch, mode: str, *runner: str, pools: bool = True
) -> tuple[Path, Store, str]:
    """Run ``micro`` after another sweep whose trials it reuses; the sweep, its store, and what was told at the end.

    What is stopped is stopped in this process, and goes on with ``runner``. Without ``pools`` no generator is trained.
    """
    store = folder / "store"
    small = (ONE_FOLD, ONE_POOL if pools else NO_POOL)
    first = write_micro(folder, *small, ("sweep: micro", "sweep: first"), name="first.yaml")
    arms = ARMS if pools else "".join(line for line in ARMS.splitlines(keepends=True) if "dry" not in line)
    second = write_micro(folder, *small, ("fixed:", arms))
    patch.setattr(Workspace, "checkpoint_due", lambda self: True)
    code, told = run_sweep(first, store, folder, "--wandb", "disabled")
    assert code == 0, told
    patch.setattr("helpers.troubled.STOPS", [KeyboardInterrupt()])
    patch.setitem(STAGES, "segment", replace(STAGES["segment"], run=troubled_segment))
    code, told = run_sweep(second, store, folder, "--wandb", mode)
    assert (code, STOPS) == (130, []), told
    assert "W&B: not mirrored, since the run was stopped; mirror: medsweep wandb build" in told
    code, told = run_sweep(second, store, folder, "--wandb", mode, *runner)
    assert code == 1, told
    return second, Store(store), told


def run_sweep(sweep: Path, store: Path, folder: Path, *more: str) -> tuple[int, str]:
    """Exit code and output of ``medsweep run`` in this process."""
    where = ["--store", str(store), "--results", str(folder / "results")]
    result = CliRunner().invoke(app, ["run", str(sweep), *where, "--runner", "local", *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output
