"""A sweep as Python sees it: ``medsweep.open`` gives one, for notebooks and scripts."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medsweep.analysis.report.page import Format, checked
from medsweep.errors import UserError
from medsweep.execution.driver import Summary
from medsweep.identity import short
from medsweep.store.location import Location
from medsweep.store.opening import is_there
from medsweep.study.arm_names import find_arm, find_replicate
from medsweep.study.chains import network_of
from medsweep.study.session import RunOptions, Session, open_sweep
from medsweep.study.tables import assessments
from medsweep.sweep.load import find_sweep
from medsweep.sweep.plan import PlannedTrial
from medsweep.trial import COMPLETE

if TYPE_CHECKING:
    from medsweep.data.slices import SliceSet
    from medsweep.tracking.tracker import TrackingMode
    from medsweep.trainers.segmentation.segmenter import Segmenter


class SyntheticPairs(NamedTuple):
    """A pool: n samples of C modalities and R x R pixels, in a fixed order."""

    images: NDArray[np.float32]
    """(n, C, R, R), a memory map, on the scale of the prepared slices."""
    masks: NDArray[np.uint8]
    """(n, R, R), a memory map; class indices, 0 is the background."""
    scores: pd.DataFrame
    """A row per sample, with columns sample and iou and those of its assessment; no rows where there is none."""


class OpenedSweep:
    """A sweep file and what a store holds of its trials. What is read is read anew by each call."""

    def __init__(self, path: Path, store: Location) -> None:
        self.path, self.store = find_sweep(path), store
        self._session = self._open()

    def _open(self) -> Session:
        return open_sweep(self.path, self.store, to="read" if is_there(self.store) else "plan")

    def __repr__(self) -> str:
        plan, store = self._session.plan, self._session.store
        done = sum(store.outcome(trial.stage, digest) is not None for digest, trial in plan.trials.items())
        arms, trials = len(plan.arms), len(plan.trials)
        return (
            f"<sweep {self.name}: {arms} arms, {len(plan.replicates)} replicates, {done} of {trials} trials published>"
        )

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self._session.sweep.name

    @property
    def question(self) -> str:
        """What the sweep asks."""
        return self._session.sweep.file.question

    @property
    def arms(self) -> dict[str, Mapping[str, Any]]:
        """Levels by arm, the control first; of arms that are the same trials, the first alone."""
        return {arm.name: dict(arm.levels) for arm in self._session.plan.arms}

    @property
    def control(self) -> str:
        """The arm that the others are compared with."""
        return next(arm.name for arm in self._session.plan.arms if arm.is_control)

    @property
    def folds(self) -> tuple[int, ...]:
        """Numbers of the folds."""
        return tuple(dict.fromkeys(replicate.fold for replicate in self._session.plan.replicates))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Numbers of the seeds."""
        return tuple(dict.fromkeys(replicate.seed for replicate in self._session.plan.replicates))

    def results(self) -> pd.DataFrame:
        """The tidy table: a row per dataset, arm, fold, seed, patient, class and metric, with value and status.

        Scores that are not there yet have rows too, whose status says so.

        Raises:
            UserError: nothing was run yet.
        """
        return self.tables()["results"]

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name, as ``medsweep results`` writes them; ``docs/reference/columns.md`` has their columns.

        Raises:
            UserError: nothing was run yet.
        """
        return self._session.tables()

    def slices(self, arm: str | None = None, fold: int = 0, seed: int = 0) -> "SliceSet":
        """The prepared real slices that an arm (None: the control) reads under a fold and a seed.

        Raises:
            UserError: no such arm, fold or seed, or they are not prepared yet.
        """
        from medsweep.data.slices import SliceSet

        name, network = self._network(arm or self.control, fold, seed)
        return SliceSet.open(self._output(network.inputs["prepare"], f"the slices of arm {name!r}"))

    def pool(self, arm: str, fold: int = 0, seed: int = 0) -> SyntheticPairs:
        """The synthetic pairs that an arm was given under a fold and a seed, before its filter.

        Raises:
            UserError: no such arm, fold or seed, the arm has no pool, or the pool is not made yet.
        """
        from medsweep.trainers.pool import SCORES, Pool

        name, network = self._network(arm, fold, seed)
        digest = network.inputs.get("pool")
        if digest is None:
            raise UserError(f"arm {name!r} of {self.name} has no synthetic pairs: it trains on real slices alone")
        pool = Pool.open(self._output(digest, f"the pool of arm {name!r}, fold {fold}, seed {seed}"))
        store, judged = self._session.store, assessments(self._session.plan, self._session.store)
        scores = pd.DataFrame({"sample": pd.Series(dtype="int64"), "iou": pd.Series(dtype="float64")})
        if digest in judged:
            store.verify("assess", judged[digest])
            scores = pd.read_parquet(store.output("assess", judged[digest]) / SCORES)
        return SyntheticPairs(pool.images, pool.masks, scores)

    def network(self, arm: str, fold: int = 0, seed: int = 0, *, device: str = "cpu") -> "Segmenter":
        """The trained segmenter of an arm under a fold and a seed, a torch module in evaluation mode.

        Raises:
            UserError: no such arm, fold or seed, or it is not trained yet.
        """
        from medsweep.trainers.segmentation.segmenter import Segmenter

        name, network = self._network(arm, fold, seed)
        output = self._output(network.digest, f"the network of arm {name!r}, fold {fold}, seed {seed}")
        return Segmenter.open(output, self._output(network.inputs["prepare"], f"the slices of arm {name!r}"), device)

    def report(self, results: str | Path | None = None, formats: Sequence[Format] = ("html",)) -> Path:
        """Write tables, statistics and report into ``results`` (default ``results/NAME``); returns the page.

        Raises:
            UserError: too little is published for a comparison.
        """
        checked(formats)
        self._session = self._open()
        folder = None if results is None else Path(results)
        return self._session.report(folder, None, self._command("analyse", self.path), formats)[1]

    def run(
        self,
        *,
        runner: Literal["ray", "local"] = "ray",
        cpus: int | None = None,
        gpus: int | None = None,
        tracking: "TrackingMode" = "disabled",
        quiet: bool = False,
        fail_fast: bool = False,
    ) -> Summary:
        """Run what is missing, as ``medsweep run`` does; ``ok`` of the answer says whether all is there now.

        Args:
            runner: ``ray`` runs trials in parallel in processes of their own, ``local`` one by one in this process.
            cpus: of the Ray that is started; None takes all that this process may use.
            gpus: the same of GPUs.
            tracking: whether W&B is told: disabled, offline or online.
            quiet: whether no progress is shown.
            fail_fast: whether the first failure ends the run.

        Raises:
            UserError: the forecast is above a cap of the budget, or the machine cannot hold a trial.
        """
        options = RunOptions(runner=runner, cpus=cpus, gpus=gpus, tracking=tracking, quiet=quiet, fail_fast=fail_fast)
        try:
            return open_sweep(self.path, self.store, to="run").run(options)
        finally:
            self._session = self._open()

    def _command(self, *words: object) -> str:
        """A command on this store, as a shell reads it."""
        return shlex.join(["medsweep", *map(str, words), "--store", str(self.store)])

    def _network(self, arm: str, fold: int, seed: int) -> tuple[str, PlannedTrial]:
        """The arm by its own name, and the trial of its network."""
        plan = self._session.plan
        name = find_arm(plan, arm)
        return name, network_of(plan, plan.leaves[name, find_replicate(plan, fold, seed)])

    def _output(self, digest: str, what: str) -> Path:
        """Folder of what a trial left. Raises UserError: it left nothing, with what to do."""
        trial, store = self._session.plan.trials[digest], self._session.store
        outcome = store.outcome(trial.stage, digest)
        place = f"{trial.stage} {short(digest)} in {self.store}"
        if outcome is None:
            raise UserError(
                f"{what} is not there yet ({place} is not published); call run() on the sweep, or type  "
                f"{self._command('run', self.path)}"
            )
        if outcome != COMPLETE:
            raise UserError(
                f"{what} does not exist, since {place} was published as {outcome}; "
                f"{self._command('show', short(digest))} tells why"
            )
        store.verify(trial.stage, digest)
        return store.output(trial.stage, digest)
