"""A sweep opened against a store: what it needs, what that costs, its run and its report."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from medsweep.analysis.study.dead import DeadArm
from medsweep.data.source import dataset_name
from medsweep.errors import UserError
from medsweep.execution.driver import Failure, Grow, Summary, decide_checked, known_failures, run_plan
from medsweep.execution.machine import cpus_here
from medsweep.execution.plan_tasks import labels_of
from medsweep.execution.runner import LocalRunner, Runner
from medsweep.execution.task import RunContext
from medsweep.planning.budget import BudgetGuard, Payments, require_within
from medsweep.planning.cost import StageCost, price_sentence, stage_costs, store_notes, write_index
from medsweep.planning.forecast import Forecast, History, Price, forecast, prices
from medsweep.search.stopping import Stopping
from medsweep.store.cache import CacheSpec
from medsweep.store.location import Location
from medsweep.store.opening import Purpose, open_store
from medsweep.store.presence import announced
from medsweep.store.store import Store
from medsweep.study.dead_arms import dead_arms
from medsweep.study.generator_limits import generator_limits
from medsweep.study.looks import Looks, LookState, open_looks, run_looks
from medsweep.study.made_report import Shown, verdicts_of
from medsweep.study.mirror import RunCards, Told, mirrored_runs
from medsweep.study.plan import plan_sweep
from medsweep.study.power import power_lines
from medsweep.study.report_run import report_run
from medsweep.study.reported import Reported
from medsweep.study.search_loop import Search, open_search, run_search
from medsweep.study.stages import STAGES, Settings, StudySweep
from medsweep.study.sweep_mirror import mirror_sweep
from medsweep.sweep.plan import Decision, Plan
from medsweep.tracking.console import Observer, make_console
from medsweep.tracking.mirror import Built, Mirror
from medsweep.tracking.private import scrubbed
from medsweep.tracking.progress import StageQueue, SweepProgress
from medsweep.tracking.push import Pushed, push
from medsweep.tracking.tracker import RunCard, TrackingMode
from medsweep.tracking.views import Dashboard
from medsweep.trainers.synthesis.pipelines import FAMILIES
from medsweep.uncollected import uncollected

RAY_SECONDS = 10
"""What Ray takes to start on an idle machine."""

# A report needs twice as many packages as a plan, so it is imported where one is made.
if TYPE_CHECKING:
    from medsweep.analysis.report.page import Format
    from medsweep.analysis.study.analyse import Analysis


@dataclass(frozen=True)
class RunOptions:
    """Where and how a sweep runs, from the command line."""

    runner: Literal["ray", "local"] = "ray"
    address: str | None = None
    """Of a Ray cluster; None starts one here."""
    tracking: TrackingMode = "disabled"
    """Whether W&B is told; online, trials also tell it while they run."""
    fail_fast: bool = False
    cache: CacheSpec | None = None
    """Folder on each node for copies of what its trials read."""
    cpus: int | None = None
    """Of the Ray that is started; None takes all that this process may use."""
    gpus: int | None = None
    quiet: bool = False
    """Whether no progress is shown; notes on what went wrong are."""
    wait_minutes: float | None = None
    """How long a running cluster may take to bring a node; None waits only for a known autoscaler."""


@dataclass(frozen=True)
class Session:
    """A sweep, its plan, and what the store says of it at the moment of opening."""

    sweep: StudySweep
    plan: Plan[Settings]
    store: Store
    decisions: Mapping[str, Decision]
    search: Search | None = None
    """Where the sweep has one; ``plan`` then holds its suggestions so far."""
    looks: Looks | None = None
    """Where its seeds are sequential."""
    look: LookState | None = None
    """Then the look at hand, whose plan is ``plan``."""
    notes: tuple[str, ...] = ()
    """What was chosen for the sweep, and what it says that nothing reads, a line each."""

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names of the trials for people."""
        return labels_of(self.plan)

    @cached_property
    def prices(self) -> dict[str, Price]:
        """Price of every trial of the plan."""
        return prices(self.plan, History(self.store, list(STAGES)), self.sweep.file.resources)

    @cached_property
    def failures(self) -> list[Failure]:
        """Trials without a result, published so or given up for now."""
        return known_failures(self.plan, self.labels, self.decisions, self.store)

    def dead(self) -> tuple[DeadArm, ...]:
        """Arms that no report can compare."""
        complete_cases = self.sweep.analysis.missing == "complete-cases"
        return dead_arms(self.plan, self.decisions, self.failures, complete_cases=complete_cases)

    def stage_costs(self) -> list[StageCost]:
        """Numbers and prices per stage."""
        return stage_costs(self.plan, self.decisions, list(STAGES), self.prices)

    def forecast(self) -> Forecast:
        """What the trials to run will cost."""
        budget = self.sweep.file.budget
        slots = budget.slots if budget is not None and budget.slots is not None else cpus_here()
        return forecast(self.plan, self.decisions, self.prices, slots)

    def remarks(self) -> tuple[str, ...]:
        """What the design can show, then what the store holds that other code or other stage versions published."""
        notes = store_notes(self.plan, self.decisions, STAGES, self.store)
        last = self.looks.looks[-1] if self.looks is not None else None
        data = (f"warning, data: {line}" for line in self.plan.data_warnings)
        absent = () if self.store.is_there else (f"there is no store {self.store} yet; medsweep run makes it",)
        return (*power_lines(self.sweep, self.plan, self.store, last), *self.notes, *data, *notes, *absent)

    def price_sentence(self) -> str | None:
        """What decides the price of the trials to run."""
        return price_sentence(self.plan, self.decisions, STAGES, self.prices)

    def look_costs(self) -> list[Forecast]:
        """Of the look at hand and of each after it, what is still to run up to it."""
        if self.looks is None or self.look is None:
            return []
        rest = self.looks.looks[self.look.look.number - 1 :]
        return [self._with_plan(self.looks.plan(look), hashes=False).forecast() for look in rest]

    def run(self, options: RunOptions) -> Summary:
        """Run what is missing, showing progress on stderr; a search goes on batch by batch, seeds look by look.

        Raises:
            UserError: the forecast is above a cap of the budget, the cluster cannot hold a trial, or ``gc`` is at work
                in the store.
        """
        with announced(self.store, "run"):
            return self._run(options)

    def _run(self, options: RunOptions) -> Summary:
        checked = self._with_plan(self.plan)
        to_run = any(decision.action == "run" for decision in checked.decisions.values())
        # A search that is not settled may ask for more than is planned now; else nothing to run needs no cluster.
        asks = self.search is not None and not self.search.is_settled(self.search.forward())
        options_here = options if to_run or asks else replace(options, runner="local")
        if options_here.runner == "ray" and not options.quiet:
            where = "starting Ray" if options.address is None else f"connecting to Ray at {options.address}"
            _Notes().note(f"{where} (about {RAY_SECONDS} s)")
        with _runner(options_here) as runner:
            if self.looks is not None:
                at, summary = run_looks(
                    self.looks, lambda plan: self._with_plan(plan)._run_plan(runner, options), _Notes().note
                )
                write_index(at.plan, self.store)
                return summary
            if self.search is None:
                return checked._run_plan(runner, options)
            state, summary = run_search(
                self.search,
                lambda plan, stopping, grow: self._with_plan(plan)._run_plan(runner, options, stopping, grow),
                fail_fast=options.fail_fast,
            )
            write_index(state.plan, self.store)
            return summary

    def _with_plan(self, plan: Plan[Settings], *, hashes: bool = True) -> "Session":
        """This sweep with another plan, and what the store says of it now."""
        return replace(self, plan=plan, decisions=decide_checked(plan, self.store, _Notes(), hashes=hashes))

    def _run_plan(
        self, runner: Runner, options: RunOptions, stopping: Stopping | None = None, grow: Grow | None = None
    ) -> Summary:
        """Price the plan, refuse it above a cap of the budget, and run it; what it grows by is held to the caps too."""
        stages = {digest: trial.stage for digest, trial in self.plan.trials.items()}
        spent = Payments(self.store, self.sweep.name).spent(stages, self.prices)
        require_within(self.sweep, self.forecast(), spent)
        guard = BudgetGuard(self.sweep, stages, self.prices, self.store)
        context = RunContext(
            store=self.store.location,
            stages=STAGES,
            resources=self.sweep.file.resources,
            tracking=options.tracking,
            stopping=stopping,
            cache=options.cache,
        )
        concurrency = 1 if options.runner == "local" else options.cpus or cpus_here()

        def priced(lost: Mapping[str, tuple[str, str]]) -> Plan[Settings] | None:
            self.store.look_again()  # what has ended just now is to be told
            grown = None if grow is None else grow(lost)
            if grown is not None:
                guard.price(replace(self, plan=grown).prices)
            return grown

        progress = SweepProgress(self._queues(), concurrency)
        with nullcontext(_Notes()) if options.quiet else make_console(progress, sys.stderr) as observer:
            return run_plan(
                self.plan,
                context,
                runner,
                observer,
                guard,
                fail_fast=options.fail_fast,
                grow=priced,
                cards=self._cards if options.tracking == "online" else None,
            )

    def _cards(self, plan: Plan[Settings]) -> Callable[[str], RunCard]:
        """What W&B is told of each trial of a plan while it runs."""
        return RunCards(plan, dataset_name(self.sweep.base.data)).card

    def _queues(self) -> list[StageQueue]:
        """What the console counts: per stage, trials reused and the hours of the trials to run."""
        hours: dict[str, dict[str, float]] = {}
        inputs: dict[str, dict[str, list[str]]] = {}
        to_run = {digest for digest, decision in self.decisions.items() if decision.action == "run"}
        for digest, trial in self.plan.trials.items():
            if digest in to_run:
                hours.setdefault(trial.stage, {})[digest] = self.prices[digest].hours.middle
                inputs.setdefault(trial.stage, {})[digest] = [read for read in trial.inputs.values() if read in to_run]
        return [
            StageQueue(
                name=row.stage, reused=row.reuse, hours=hours.get(row.stage, {}), inputs=inputs.get(row.stage, {})
            )
            for row in self.stage_costs()
        ]

    def has_results(self) -> bool:
        """Whether at least one arm has been measured."""
        leaves = set(self.plan.leaves.values())
        return bool(self.store.present((self.plan.trials[leaf].stage, leaf) for leaf in leaves))

    def folder(self, results: Path | None) -> Path:
        """Where tables and report go."""
        return results if results is not None else Path("results") / self.sweep.name

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tidy tables by name."""
        from medsweep.study.report import make_tables

        return make_tables(self.sweep, self.plan, self.store)

    def mirror(self, results: Path | None = None) -> Built:
        """Write a W&B run, offline, for every trial of the sweep that has ended; those that tell nothing new stay.

        With ``results``, the folder of its report, also the run of the sweep itself. What cannot be written is named
        in the answer and fails nothing.
        """
        mirror = Mirror(self.store.root, self.sweep.name)
        try:
            now = self._forward()
            return mirror_sweep(mirror, self.sweep, now.plan, self.store, now.failures, results=results)
        except (OSError, UserError) as error:
            return Built(mirror.folder, tuple(mirror.runs()), 0, {"every run": str(error)})

    def push(self, results: Path, entity: str | None = None, project: str | None = None) -> Pushed:
        """Upload the runs that ``mirror`` has made and that are not at W&B yet, or not whole."""
        told, patients = self._told()
        by_id = {run.run_id: run for run in told.runs}
        about = report_run(self.sweep.name, results, told.runs, patients)
        return push(Mirror(self.store.root, self.sweep.name), entity, project, by_id, about)

    def dashboard(self, results: Path) -> Dashboard:
        """What the views of this sweep at W&B are made of; ``results`` is the folder of its report.

        Raises:
            UserError: no trial has ended yet.
        """
        told, patients = self._told()
        if not told.runs:
            raise UserError(f"no trial of {self.sweep.name} has ended yet; medsweep run first")
        return Dashboard(
            sweep=self.sweep.name,
            question=scrubbed(self.sweep.file.question, patients),
            primary=self.sweep.analysis.primary,
            generators=tuple(FAMILIES),
            runs=told.runs,
            report=report_run(self.sweep.name, results, told.runs, patients),
        )

    def _told(self) -> tuple[Told, tuple[str, ...]]:
        """What W&B is told of each trial that has ended, and the patients of whom it is told nothing."""
        now = self._forward()
        told = mirrored_runs(now.plan, dataset_name(self.sweep.base.data), self.store, now.failures)
        return told, now.plan.patients

    def _forward(self) -> "Session":
        """This sweep with all trials that it has asked for by now."""
        plan = self.plan if self.search is None else self.search.forward().plan
        return self._with_plan(plan if self.looks is None else self.looks.forward().plan, hashes=False)

    def report(
        self, results: Path | None, summary: Summary | None, command: str, formats: "Sequence[Format]" = ("html",)
    ) -> "tuple[Analysis, Path]":
        """Write tables, statistics and report of what is published; returns the statistics and the page."""
        ran = summary.ran if summary else {}
        return self._reported(summary, formats).write(self.folder(results), ran=ran, command=command)

    def report_once(self, results: Path | None, summary: Summary, command: str) -> Shown:
        """What the report says. It is only written where it would not be as the one that lies there already."""
        reported, folder = self._reported(summary, ("html",)), self.folder(results)
        if (made := reported.kept(folder)) is not None:
            return Shown(made.verdicts, folder / made.page, made.when)
        analysis, page = reported.write(folder, ran=summary.ran, command=command)
        return Shown(verdicts_of(analysis), page)

    def _reported(self, summary: Summary | None, formats: "Sequence[Format]") -> Reported:
        state = None if self.search is None else self.search.forward()
        plan = self.plan if self.search is None or state is None else self.search.reported_plan(state)
        at = None if self.looks is None else self.looks.analysed(self.looks.forward())
        plan = plan if at is None else at.plan
        now = self._with_plan(plan, hashes=False)
        return Reported(
            self.sweep,
            plan,
            self.store,
            now.decisions,
            failures=summary.failures if summary else now.failures,
            costs=now.stage_costs(),
            limits=(
                *(() if self.search is None or state is None else self.search.limits(state)),
                *generator_limits(plan),
                *(f"Warned of by the check of the data: {line}." for line in plan.data_warnings),
                *(f"On the sweep: {line}." for line in self.notes),
            ),
            look=None if at is None else at.look,
            formats=formats,
        )


@uncollected()
def open_sweep(path: Path, where: Location, *, to: Purpose = "plan", rehash: bool = False) -> Session:
    """Read a sweep, build its plan and compare it with the store.

    To ``run`` the store must be writable. To ``read`` it must be there, and the files of the patients need not be.
    ``rehash`` reads these anew, whatever is remembered of them.

    Raises:
        UserError: anything in the file, the data or the store that a user can mend.
    """
    is_new = isinstance(where, Path) and not where.exists()
    store = open_store(where, to)
    try:
        planned = plan_sweep(path, store, reading=to == "read", rehash=rehash)
    except UserError:
        if is_new:
            with suppress(OSError):  # what the data were found to be is kept
                store.root.rmdir()
        raise
    looks, search = open_looks(planned, store), open_search(planned, store, writes=to == "run")
    plan = planned.plan if search is None else search.forward().plan
    look = None if looks is None else looks.forward()
    plan = plan if look is None else look.plan
    if to != "read":
        write_index(plan, store, grows=search is not None)
    # a run looks again, at all files, and says then what is damaged
    decisions = decide_checked(plan, store, Observer() if to == "run" else _Notes(), hashes=False)
    return Session(planned.sweep, plan, store, decisions, search, looks, look, planned.notes)


class _Notes(Observer):
    """Before a console is up, notes go to stderr as they are."""

    def note(self, text: str) -> None:
        sys.stderr.write(f"medsweep: {text}\n")


def _runner(options: RunOptions) -> AbstractContextManager[Runner]:
    if options.runner == "local":
        return nullcontext(LocalRunner())
    from medsweep.execution.ray_runner import RayRunner

    return RayRunner(options.address, options.cpus, options.gpus, options.wait_minutes)
