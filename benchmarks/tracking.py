"""What W&B costs per trial, offline: made by medsweep from its store at the end, against Ray's WandbLoggerCallback.

Both run as many tiny trials of ``REPORTS`` reports on the same Ray, in turn in one process run. A first run of ours,
which warms Ray up, is not counted. Counted are seconds and the most processes that lived at a time beside those of
the idle Ray. What W&B adds to a trial is for us the making of its run, and for the callback the difference from the
same without.

    python benchmarks/tracking.py [TRIALS]
"""

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medsweep.data.stage_config import StageConfig
from medsweep.execution.driver import run_plan
from medsweep.execution.ray_runner import RayRunner
from medsweep.execution.task import RunContext
from medsweep.sweep.plan import Builder, Plan
from medsweep.tracking.console import Observer
from medsweep.tracking.mirror import Mirror
from medsweep.tracking.mirrored_run import MirroredRun, recorded_rows
from medsweep.tracking.tracker import TrackingMode, run_id
from medsweep.trial import Progress, Stage, Trial

REPORTS = 20
LOOK_SECONDS = 0.1


class CountConfig(StageConfig):
    """A tiny trial."""

    number: int


def count(config: CountConfig, inputs: Mapping[str, Path], trial: Trial) -> Iterator[Progress]:
    """The work of one trial: ``REPORTS`` reports of two numbers."""
    for step in range(1, REPORTS + 1):
        yield Progress(step=step, total=REPORTS, metrics={"value": config.number * step, "loss": 1 / step})


STAGES = {"count": Stage(name="count", version=1, config=CountConfig, run=count, hours=lambda config: 1e-6)}


class Watch(threading.Thread):
    """Notes the most processes below this one."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = descendants()
        self._over = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(LOOK_SECONDS):
            self.most = max(self.most, descendants())

    def stop(self) -> int:
        """The most processes beyond those at the beginning."""
        self._over.set()
        self.join()
        return self.most - self.before


def descendants() -> int:
    """Living processes whose ancestor this process is."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    below, to_visit = set(), [os.getpid()]
    while to_visit:
        here = to_visit.pop()
        children = [pid for pid, parent in parents.items() if parent == here and pid not in below]
        below.update(children)
        to_visit += children
    return len(below)


def ours(trials: int, runner: RayRunner, folder: Path, tracking: TrackingMode) -> tuple[float, float]:
    """Seconds that medsweep needs, and those of them that the W&B runs took; they lie under ``folder/wandb``."""
    builder = Builder(STAGES)
    digests = [builder.add("count", CountConfig(number=number)) for number in range(trials)]
    plan = Plan("bench", (), (), builder.trials, {}, frozenset(digests))
    begun = time.perf_counter()
    summary = run_plan(plan, RunContext(store=folder, stages=STAGES, tracking=tracking), runner, Observer())
    of_runs = 0.0 if tracking == "disabled" else mirror(folder, digests)
    seconds = time.perf_counter() - begun
    if not summary.ok or summary.ran["count"] != trials:
        raise RuntimeError(f"expected {trials} trials, got {summary}")
    return seconds, of_runs


def mirror(folder: Path, digests: Sequence[str]) -> float:
    """Write the W&B run of each trial, as ``medsweep run`` does at its end; seconds that this took."""
    begun = time.perf_counter()
    runs = [
        MirroredRun(
            run_id=run_id("count", digest),
            project="bench",
            name=f"count {digest[:6]}",
            group="shared",
            job_type="count",
            rows=recorded_rows(folder / "count" / digest),
        )
        for digest in digests
    ]
    built = Mirror(folder, "bench").build(runs)
    if built.failed:
        raise RuntimeError(f"runs were not written: {built.failed}")
    return time.perf_counter() - begun


def callback(trials: int, folder: Path, *, tracked: bool) -> tuple[float, float]:
    """Seconds that Ray's own callback needs for the same; how many of them are W&B's cannot be told."""
    from ray import tune
    from ray.air.integrations.wandb import WandbLoggerCallback

    def trainable(config: dict[str, int]) -> None:
        for step in range(1, REPORTS + 1):
            tune.report({"value": config["number"] * step, "loss": 1 / step})

    callbacks = [WandbLoggerCallback(project="bench", dir=str(folder))] if tracked else []
    tuner = tune.Tuner(
        trainable,
        param_space={"number": tune.grid_search(list(range(trials)))},
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), callbacks=callbacks, verbose=0),
    )
    begun = time.perf_counter()
    grid = tuner.fit()
    seconds = time.perf_counter() - begun
    if len(grid) != trials or grid.errors:
        raise RuntimeError(f"expected {trials} trials, got {len(grid)} with {len(grid.errors)} errors")
    return seconds, 0.0


def runs_in(folder: Path) -> int:
    """W&B runs that were written."""
    return len(list(folder.rglob("run-*.wandb")))


def main() -> None:
    """Run both with and without W&B, and print seconds and processes of each and their ratios."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    measured: dict[str, tuple[float, float, int]] = {}
    with tempfile.TemporaryDirectory() as root:
        os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "PYTHONPATH": str(Path(__file__).parent)}
        for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            (Path(root) / name).mkdir()
            os.environ[name] = str(Path(root) / name)
        with RayRunner() as runner:
            logging.getLogger("ray").setLevel(logging.ERROR)
            (Path(root) / "warm-up").mkdir()
            ours(trials, runner, Path(root) / "warm-up", "disabled")
            for name, work in (
                ("medsweep", lambda folder: ours(trials, runner, folder, "offline")),
                ("WandbLoggerCallback", lambda folder: callback(trials, folder, tracked=True)),
                ("medsweep without W&B", lambda folder: ours(trials, runner, folder, "disabled")),
                ("plain Ray Tune without W&B", lambda folder: callback(trials, folder, tracked=False)),
            ):
                folder = Path(root) / name.replace(" ", "-")
                folder.mkdir()
                written, watch = runs_in(Path(root)), Watch()
                watch.start()
                measured[name] = *work(folder), watch.stop()
                expected = 0 if "without" in name else trials
                if (made := runs_in(Path(root)) - written) != expected:
                    raise RuntimeError(f"{name} left {made} W&B runs, expected {expected}")
    for name, (seconds, _, processes) in measured.items():
        print(f"{name:26} {trials} trials: {seconds:6.1f} s, {processes} processes")
    own, peer, plain = (measured[n] for n in ("medsweep", "WandbLoggerCallback", "plain Ray Tune without W&B"))
    print(f"WandbLoggerCallback / medsweep: {peer[0] / own[0]:.1f}x seconds, {peer[2] / own[2]:.1f}x processes")
    added, theirs = own[1] / trials, (peer[0] - plain[0]) / trials
    print(f"W&B adds per trial: {added:.2f} s to medsweep, {theirs:.2f} s to plain Ray Tune, {theirs / added:.1f}x")


if __name__ == "__main__":
    main()
