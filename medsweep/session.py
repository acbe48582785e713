"""What the commands share: a sweep opened against a store. Part of the composition root."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from medsweep.account import StageAccount, accounts, calibrate, write_index
from medsweep.answer import Tables, make_report, make_tables, predict_tested
from medsweep.errors import UserError, nearest
from medsweep.execution.driver import Failure, Summary, decide_checked, labels_of, run_plan
from medsweep.execution.failures import Attempt, notes
from medsweep.execution.local import LocalRunner
from medsweep.execution.runner import Runner
from medsweep.execution.task import World
from medsweep.pipeline import STAGES, plan_sweep, require_within_budget
from medsweep.plan import Decision, Plan
from medsweep.store import Store
from medsweep.sweep import Sweep
from medsweep.tracking.board import Board, StagePlan
from medsweep.tracking.console import NullObserver, make_console
from medsweep.tracking.wandb import resolve_mode
from medsweep.trial import COMPLETE


@dataclass(frozen=True)
class Answer:
    """Where the report is and what it says first."""

    path: Path
    verdicts: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """A sweep, its plan, and what the store says of it at the moment of opening."""

    sweep: Sweep
    plan: Plan
    store: Store
    decisions: Mapping[str, Decision]

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names of the trials for people."""
        return labels_of(self.plan)

    def accounts(self) -> list[StageAccount]:
        """Numbers and prices per stage."""
        return accounts(self.plan, self.decisions, list(STAGES), calibrate(self.store, list(STAGES)))

    def world(self, wandb: str | None) -> World:
        """Where the trials of this sweep run."""
        return World(
            store=self.store.root.resolve(),
            stages=STAGES,
            resources=self.sweep.file.resources,
            tracking=resolve_mode(wandb),
        )

    def run(self, *, runner: Literal["ray", "local"], address: str | None, wandb: str | None) -> Summary:
        """Run what is missing, showing progress on stderr.

        Raises:
            UserError: the price is above the budget, or the cluster cannot hold a trial.
        """
        sure = replace(self, decisions=decide_checked(self.plan, self.store, _Notes()))
        rows = sure.accounts()
        require_within_budget(self.sweep, sum(row.hours for row in rows))
        idle = not any(decision.action == "run" for decision in sure.decisions.values())
        board = Board(sure.stage_plans(rows), concurrency=1 if runner == "local" else os.cpu_count() or 1)
        with _runner("local" if idle else runner, address) as chosen, make_console(board, sys.stderr) as observer:
            return run_plan(self.plan, self.world(wandb), chosen, observer)

    def stage_plans(self, rows: Iterable[StageAccount]) -> list[StagePlan]:
        """What the console counts: per stage, trials reused and the priced trials to run."""
        scale = calibrate(self.store, list(STAGES))
        return [
            StagePlan(
                name=row.stage,
                reused=row.reuse,
                hours={
                    digest: trial.hours * scale.get(row.stage, 1.0)
                    for digest, trial in self.plan.trials.items()
                    if trial.stage == row.stage and self.decisions[digest].action == "run"
                },
            )
            for row in rows
        ]

    def status(self) -> tuple[list[tuple[str, Mapping[str, int]]], list[tuple[str, Attempt]]]:
        """Trials per stage and state, and the last note of each trial that failed."""
        counts: dict[str, Counter[str]] = {}
        failed: list[tuple[str, Attempt]] = []
        for digest, trial in self.plan.trials.items():
            state = self._state(digest)
            counts.setdefault(trial.stage, Counter())[state] += 1
            if state == "failed":
                failed.append((f"{trial.stage} {self.labels[digest]}", notes(self.store, trial.stage, digest)[-1]))
        return list(counts.items()), failed

    def _state(self, digest: str) -> str:
        trial, action = self.plan.trials[digest], self.decisions[digest].action
        if action != "run":
            return {"reuse": "published", "skip": "published"}.get(action, action)
        if self.store.leased(trial.stage, digest):
            return "running"
        return "failed" if notes(self.store, trial.stage, digest) else "waiting"

    def has_results(self) -> bool:
        """Whether at least one arm has been measured."""
        leaves = set(self.plan.leaves.values())
        return any(self.store.folder(self.plan.trials[leaf].stage, leaf).is_dir() for leaf in leaves)

    def folder(self, results: Path | None) -> Path:
        """Where tables and report go."""
        return results if results is not None else Path("results") / self.sweep.name

    def tables(self, results: Path | None) -> Tables:
        """Write the tidy tables."""
        return make_tables(self.sweep, self.plan, self.store, self.folder(results))

    def answer(self, results: Path | None, summary: Summary | None, command: str) -> Answer:
        """Tables, statistics and report from what is published."""
        now = replace(self, decisions=decide_checked(self.plan, self.store, _Notes(), hashes=False))
        analysis, path = make_report(
            self.sweep,
            self.plan,
            self.store,
            self.tables(results),
            self.folder(results),
            accounts=now.accounts(),
            ran=summary.ran if summary else {},
            failures=summary.failures if summary else now.failures(),
            command=command,
        )
        return Answer(path, tuple(answer.sentence for answer in analysis.answers))

    def predict(self, arms: Sequence[str], out: Path) -> Iterator[Path]:
        """Write what the published networks of ``arms`` (none: of all) see in their test patients, as NIfTI files.

        Files are ``OUT/ARM/fold-F-seed-S/PATIENT.nii.gz``, on the grids of the label files.

        Raises:
            UserError: no such arm, or none of these networks is published.
        """
        names = [arm.name for arm in self.plan.arms]
        for arm in arms:
            if arm not in names:
                alias = self.plan.aliases.get(arm)
                same = f"its trials are those of {alias!r}" if alias else nearest(arm, names)
                raise UserError(f"no arm of {self.sweep.name} is called {arm!r}; {same}")
        leaves = [
            (key, self.plan.trials[leaf])
            for key, leaf in self.plan.leaves.items()
            if (not arms or key[0] in arms) and self.decisions[leaf].outcome == COMPLETE
        ]
        if not leaves:
            raise UserError(f"no network of {', '.join(arms) or self.sweep.name} is published yet; medsweep run first")
        for (arm, replicate), trial in leaves:
            folder = out / arm.replace("/", "-") / f"fold-{replicate.fold}-seed-{replicate.seed}"
            yield from predict_tested(trial, self.store, folder)

    def failures(self) -> list[Failure]:
        """Trials that are published with an outcome that gives no result."""
        return [
            Failure(self.plan.trials[digest], self.labels[digest], decision.outcome, decision.message)
            for digest, decision in self.decisions.items()
            if decision.outcome not in (None, COMPLETE) and decision.outcome is not None
        ]


def open_sweep(path: Path, store_root: Path) -> Session:
    """Read a sweep, build its plan and compare it with the store.

    Raises:
        UserError: anything in the file, the data or the store that a user can mend.
    """
    store = Store.create(store_root)
    sweep, plan = plan_sweep(path, store)
    write_index(plan, store)
    return Session(sweep, plan, store, decide_checked(plan, store, _Notes(), hashes=False))


class _Notes(NullObserver):
    """Before a console is up, notes go to stderr as they are."""

    def note(self, text: str) -> None:
        sys.stderr.write(f"medsweep: {text}\n")


def _runner(name: str, address: str | None) -> AbstractContextManager[Runner]:
    if name == "local":
        return nullcontext(LocalRunner())
    from medsweep.execution.ray_runner import RayRunner

    return RayRunner(address)
