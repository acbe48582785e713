"""A sweep with sequential seeds: run a look, analyse it, and go on to the next while a verdict is missing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from medsweep.analysis.stats.sequential import Look, looks_of
from medsweep.analysis.study.looks import look_title, rules_at, undecided
from medsweep.errors import UserError
from medsweep.execution.driver import Summary, decide_checked, joined, known_failures
from medsweep.execution.plan_tasks import labels_of
from medsweep.planning.budget import OverBudgetError
from medsweep.store.store import Store
from medsweep.study.arm_infos import arm_infos
from medsweep.study.dead_arms import dead_arms
from medsweep.study.plan import PlannedSweep, plan_arms
from medsweep.study.stages import Settings
from medsweep.sweep.arms import replicates
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import Observer


@dataclass(frozen=True)
class LookState:
    """A look, its plan, and what came of it: what has no verdict, or what it ``waits`` for."""

    look: Look
    plan: Plan[Settings]
    undecided: tuple[str, ...] = ()
    waits: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether the answer needs another look, and there is one."""
        return not self.waits and bool(self.undecided) and self.look.number < self.look.looks


@dataclass(frozen=True)
class Looks:
    """The looks of a sweep; which one it is at follows from the store alone."""

    planned: PlannedSweep
    looks: tuple[Look, ...]
    store: Store

    def plan(self, look: Look) -> Plan[Settings]:
        """Trials of all seeds up to ``look``, those of earlier looks included."""
        planned = self.planned
        cells = replicates(planned.sweep, planned.source.patients, look.seeds)
        return plan_arms(planned.sweep, planned.source, cells, planned.arms, folders=planned.folders)

    def forward(self, number: int = 1) -> LookState:
        """The look at which the sweep is, from look ``number`` on: the first that waits or ends it."""
        state = self._state(self.looks[number - 1])
        return self.forward(number + 1) if state.goes_on else state

    def analysed(self, state: LookState) -> LookState:
        """The newest look with all its trials: ``state``, or the one before it; ``state`` where there is none."""
        if not state.waits or state.look.number == 1:
            return state
        return self._state(self.looks[state.look.number - 2])

    def _state(self, look: Look) -> LookState:
        from medsweep.study.report import results_table, test_over_train

        sweep, plan = self.planned.sweep, self.plan(look)
        decisions = decide_checked(plan, self.store, Observer(), hashes=False)
        missing = sum(decision.action == "run" for decision in decisions.values())
        if missing:
            return LookState(look, plan, waits=f"{missing} trial(s) are to run")
        failures = known_failures(plan, labels_of(plan), decisions, self.store)
        dead = dead_arms(plan, decisions, failures, complete_cases=sweep.analysis.missing == "complete-cases")
        table, ratio = results_table(sweep, plan, self.store), test_over_train(plan, self.store)
        try:
            arms = undecided(table, rules_at(sweep.analysis, look), arm_infos(plan.arms), dead, ratio)
        except UserError as error:
            return LookState(look, plan, waits=str(error))  # the report is refused with the same words
        return LookState(look, plan, undecided=arms)


def open_looks(planned: PlannedSweep, store: Store) -> Looks | None:
    """The looks of a sweep; None where it has one alone.

    Raises:
        UserError: the sweep has a search too.
    """
    sweep, seeds = planned.sweep, planned.sweep.file.replicates.seeds
    if seeds.looks == 1:
        return None
    if sweep.file.search is not None:
        text = "a search compares suggestions under the same seeds, so seeds cannot grow with looks"
        raise sweep.error(("replicates", "seeds"), f"{text}; write a number of seeds, or move search: to a sweep alone")
    return Looks(planned, looks_of(seeds.counts, sweep.analysis.alpha, seeds.spending), store)


def run_looks(
    looks: Looks, run: Callable[[Plan[Settings]], Summary], tell: Callable[[str], None]
) -> tuple[LookState, Summary]:
    """Run look after look until one ends the sweep, a trial is missing, the user stops, or the budget is spent.

    ``tell`` hears of every further look. Whatever interrupts it, the next call goes on from the store.

    Raises:
        UserError: as ``run``; a budget that is too small for a further look ends the sweep at the last one.
    """
    state, summaries = looks.forward(), list[Summary]()
    while True:
        try:
            summaries.append(run(state.plan))
        except OverBudgetError as error:
            if not summaries:
                raise
            return state, replace(joined(summaries), capped=str(error))
        ahead = looks.forward(state.look.number)
        if summaries[-1].stopped or summaries[-1].capped or ahead.look.number == state.look.number:
            return ahead, joined(summaries)
        tell(f"{look_title(state.look)}: undecided; on to {look_title(ahead.look)}")
        state = ahead
