"""What the commands share: a sweep opened against a store."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from medsweep.analysis.report.page import Format
from medsweep.analysis.study.analyse import Analysis
from medsweep.errors import UserError, nearest
from medsweep.execution.driver import Failure, Summary, decide_checked, published_failures, run_plan
from medsweep.execution.failures import Attempt, notes
from medsweep.execution.plan_tasks import labels_of
from medsweep.execution.runner import LocalRunner, Runner
from medsweep.execution.task import RunContext
from medsweep.planning.budget import BudgetGuard, Payments, require_within
from medsweep.planning.cost import PlanCost, StageCost, stage_costs, store_notes, write_index
from medsweep.planning.forecast import Forecast, History, Price, forecast, prices
from medsweep.search.stopping import Stopping
from medsweep.store.cache import CacheSpec
from medsweep.store.store import Store
from medsweep.study.chains import network_of
from medsweep.study.plan import plan_sweep
from medsweep.study.power import power_lines
from medsweep.study.report import Tables, make_report, make_tables, predict_tested
from medsweep.study.search_loop import LIMIT, Search, open_search, run_search
from medsweep.study.stages import STAGES, Settings, StudySweep
from medsweep.sweep.arms import fraction_of
from medsweep.sweep.plan import Decision, Plan
from medsweep.tracking.console import Observer, make_console
from medsweep.tracking.progress import StageQueue, SweepProgress
from medsweep.tracking.wandb import resolve_mode
from medsweep.trial import COMPLETE


@dataclass(frozen=True)
class WrittenReport:
    """Where a report is, and its statistics."""

    path: Path
    analysis: Analysis


@dataclass(frozen=True)
class Session:
    """A sweep, its plan, and what the store says of it at the moment of opening."""

    sweep: StudySweep
    plan: Plan[Settings]
    store: Store
    decisions: Mapping[str, Decision]
    search: Search | None = None
    """Where the sweep has one; ``plan`` then holds its suggestions so far."""

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names of the trials for people."""
        return labels_of(self.plan)

    @cached_property
    def prices(self) -> dict[str, Price]:
        """Price of every trial of the plan."""
        return prices(self.plan, History(self.store, list(STAGES)), self.sweep.file.resources)

    def stage_costs(self) -> list[StageCost]:
        """Numbers and prices per stage."""
        return stage_costs(self.plan, self.decisions, list(STAGES), self.prices)

    def forecast(self) -> Forecast:
        """What the trials to run will cost."""
        budget = self.sweep.file.budget
        slots = budget.slots if budget is not None and budget.slots is not None else os.cpu_count() or 1
        return forecast(self.plan, self.decisions, self.prices, slots)

    def cost(self) -> PlanCost:
        """Numbers, prices, and what the design can show."""
        return PlanCost(
            tuple(self.stage_costs()),
            self.forecast(),
            fraction_of(self.sweep),
            power_lines(self.sweep, self.plan, self.store),
            store_notes(self.plan, self.decisions, STAGES, self.store),
        )

    def context(self, how: "HowToRun", stopping: Stopping | None = None) -> RunContext:
        """Where the trials of this sweep run."""
        return RunContext(
            store=self.store.root.resolve(),
            stages=STAGES,
            resources=self.sweep.file.resources,
            tracking=resolve_mode(how.wandb),
            stopping=stopping,
            cache=how.cache,
        )

    def run(self, how: "HowToRun") -> Summary:
        """Run what is missing, showing progress on stderr; a search goes on batch by batch.

        Raises:
            UserError: the forecast is above a cap of the budget, or the cluster cannot hold a trial.
        """
        sure = replace(self, decisions=decide_checked(self.plan, self.store, _Notes()))
        idle = not any(decision.action == "run" for decision in sure.decisions.values())
        with _runner("local" if idle and self.search is None else how.runner, how.address) as chosen:
            if self.search is None:
                return sure._run(chosen, how, None)
            state, summary = run_search(self.search, lambda plan, stopping: self._at(plan)._run(chosen, how, stopping))
            write_index(state.plan, self.store)
            return summary

    def _run(self, runner: Runner, how: "HowToRun", stopping: Stopping | None) -> Summary:
        rows = self.stage_costs()
        stages = {digest: trial.stage for digest, trial in self.plan.trials.items()}
        spent = Payments(self.store, self.sweep.name).spent(stages, self.prices)
        require_within(self.sweep, self.forecast(), spent)
        guard = BudgetGuard(self.sweep, stages, self.prices, self.store)
        board = SweepProgress(self.stage_queues(rows), concurrency=1 if how.runner == "local" else os.cpu_count() or 1)
        with make_console(board, sys.stderr) as observer:
            context = self.context(how, stopping)
            return run_plan(self.plan, context, runner, observer, guard, fail_fast=how.fail_fast)

    def _at(self, plan: Plan[Settings], *, hashes: bool = True) -> "Session":
        """This sweep with another plan, and what the store says of it now."""
        return replace(self, plan=plan, decisions=decide_checked(plan, self.store, _Notes(), hashes=hashes))

    def measured(self) -> "Session":
        """This sweep as it can be tabulated now: with the suggestions of its search that have scores."""
        plan = self.plan if self.search is None else self.search.measured_plan(self.search.forward())
        return self._at(plan, hashes=False)

    def stage_queues(self, rows: Iterable[StageCost]) -> list[StageQueue]:
        """What the console counts: per stage, trials reused and the priced trials to run."""
        return [
            StageQueue(
                name=row.stage,
                reused=row.reuse,
                hours={
                    digest: self.prices[digest].hours.middle
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

    def search_line(self) -> str | None:
        """How far the sweep's search is, where it has one; what it will suggest is priced once it is asked."""
        if self.search is None:
            return None
        state, total = self.search.forward(), self.search.section.suggestions
        return (
            f"search: {len(state.results)} of {total} suggestions have results, {len(state.suggestions)} are planned; "
            "later ones follow from their results and are not priced here"
        )

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

    def report(
        self, results: Path | None, summary: Summary | None, command: str, formats: Sequence[Format] = ("html",)
    ) -> WrittenReport:
        """Tables, statistics and report from what is published."""
        now = self.measured()
        analysis, path = make_report(
            self.sweep,
            now.plan,
            self.store,
            now.tables(results),
            self.folder(results),
            stage_costs=now.stage_costs(),
            ran=summary.ran if summary else {},
            failures=summary.failures if summary else now.failures(),
            command=command,
            limits=() if self.search is None else (LIMIT,),
            formats=formats,
        )
        return WrittenReport(path, analysis)

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
        networks = [
            (key, network)
            for key, leaf in self.plan.leaves.items()
            if not arms or key[0] in arms
            if self.decisions[(network := network_of(self.plan, leaf)).digest].outcome == COMPLETE
        ]
        if not networks:
            raise UserError(f"no network of {', '.join(arms) or self.sweep.name} is published yet; medsweep run first")
        for (arm, replicate), trial in networks:
            folder = out / arm.replace("/", "-") / f"fold-{replicate.fold}-seed-{replicate.seed}"
            yield from predict_tested(trial, self.store, folder)

    def failures(self) -> list[Failure]:
        """Trials that are published with an outcome that gives no result."""
        return published_failures(self.plan, self.labels, self.decisions)


@dataclass(frozen=True)
class HowToRun:
    """Where and how a sweep runs, as told on the command line."""

    runner: Literal["ray", "local"] = "ray"
    address: str | None = None
    """Of a Ray cluster; None starts one here."""
    wandb: str | None = None
    fail_fast: bool = False
    cache: CacheSpec | None = None
    """Of each node, for what its trials read."""


def open_sweep(path: Path, store_root: Path) -> Session:
    """Read a sweep, build its plan and compare it with the store.

    Raises:
        UserError: anything in the file, the data or the store that a user can mend.
    """
    store = Store.create(store_root)
    planned = plan_sweep(path, store)
    search = open_search(planned, store)
    plan = planned.plan if search is None else search.forward().plan
    write_index(plan, store)
    return Session(planned.sweep, plan, store, decide_checked(plan, store, _Notes(), hashes=False), search)


class _Notes(Observer):
    """Before a console is up, notes go to stderr as they are."""

    def note(self, text: str) -> None:
        sys.stderr.write(f"medsweep: {text}\n")


def _runner(name: str, address: str | None) -> AbstractContextManager[Runner]:
    if name == "local":
        return nullcontext(LocalRunner())
    from medsweep.execution.ray_runner import RayRunner

    return RayRunner(address)
