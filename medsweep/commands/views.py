"""What the commands print: each function turns a record into something rich can show."""

import shlex
import string
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from medsweep.execution.driver import Summary
from medsweep.execution.failures import ADVICE, Attempt
from medsweep.identity import short
from medsweep.planning.cost import PlanCost, Why, other_code
from medsweep.planning.forecast import ENOUGH, UNSURE, Forecast, Interval
from medsweep.sweep.fractions import Fraction
from medsweep.sweep.plan import Decision, Plan
from medsweep.tracking.console import short_time

if TYPE_CHECKING:
    from medsweep.study.session import WrittenReport

LISTED = 40
"""Trials that are listed one by one; ``--all`` lists the rest."""


def stdout() -> Console:
    """Where results go; wide enough that a pipe does not fold tables."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def command_line() -> str:
    """The command as it was typed, for the report and for trying again."""
    return shlex.join(["medsweep", *sys.argv[1:]])


def print_report(report: "WrittenReport") -> None:
    """The sentences of a report and where it is."""
    console = stdout()
    for line in (report.analysis.headline, *(answer.sentence for answer in report.analysis.answers)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"report: {report.path}", soft_wrap=True, highlight=False, markup=False)


def plan_table(cost: PlanCost) -> RenderableType:
    """One row per stage and the sum, then the forecast, what a fraction confounds, and what the design can show."""
    rows = cost.stages
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for name in ("trials", "naive", "reuse", "run", "blocked", "hours each", "hours", "from - to", "price from"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.stage, str(row.trials), str(row.naive), str(row.reuse), str(row.run), str(row.blocked),
            f"{row.hours_each:.4f}", f"{row.hours.middle:.3f}", f"{_short(row.hours.low)} - {_short(row.hours.high)}",
            f"{row.timed} trial(s)" if row.timed else "estimate",
        )  # fmt: skip
    table.add_section()
    sums = [sum(getattr(row, name) for row in rows) for name in ("trials", "naive", "reuse", "run", "blocked")]
    hours = cost.forecast.hours
    ends = f"{_short(hours.low)} - {_short(hours.high)}"
    table.add_row("all", *map(str, sums), "", f"{hours.middle:.3f}", ends, "")
    lines = [*forecast_lines(cost.forecast), *fraction_lines(cost.fraction), *cost.power, *cost.notes]
    return Group(table, Text("\n".join(lines)))


def forecast_lines(cost: Forecast) -> list[str]:
    """What the trials to run will cost; nothing where none is to run."""
    if not cost.trials:
        return ["nothing is to run"]
    held = [f"{_interval(cost.gpu_hours)} GPU hours"] if cost.gpu_hours.middle > 0 else []
    held.append(f"{_interval(cost.cpu_hours)} CPU hours")
    lines = [
        f"to run: {cost.trials} trials, {', '.join(held)}",
        f"  wall time with {cost.slots} at once: {_interval(cost.wall)} hours; never below {_short(cost.chain)} "
        f"(longest chain) nor {_short(cost.share)} (work / {cost.slots})",
        f"  disk: {_interval(cost.disk_gib)} GiB" + (f"; {cost.unsized} trials by a guess" if cost.unsized else ""),
    ]
    if cost.untimed:
        text = f"{cost.untimed} trials have fewer than {ENOUGH} timings, so the ends are a factor of {UNSURE:g} away"
        lines.append(f"  {text}")
    return lines


def fraction_lines(fraction: Fraction | None) -> list[str]:
    """Generators and confounding of a fractional design; nothing for the other designs."""
    if fraction is None:
        return []
    runs, k = fraction.columns.shape
    named = ", ".join(
        f"{letter} {name}" for letter, name in zip(string.ascii_uppercase, fraction.factors, strict=False)
    )
    sets = "; ".join(" = ".join(names) for names in fraction.aliases()) or "none up to pairs"
    words = ", ".join(fraction.generators)
    return [
        f"fraction: {runs} of {2**k} combinations, resolution {fraction.resolution()}, {words}",
        f"  {named}",
        f"  confounded: {sets}",
    ]


def _interval(interval: Interval) -> str:
    return f"{_short(interval.middle)} ({_short(interval.low)} - {_short(interval.high)})"


def _short(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{float(f'{value:.2g}'):g}"


def decision_table(
    plan: Plan, decisions: Mapping[str, Decision], labels: Mapping[str, str], *, show_all: bool
) -> RenderableType:
    """Each trial with what happens to it and why."""
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "", "digest", "action", "reason"):
        table.add_column(name)
    digests = list(plan.trials)
    shown = digests if show_all else digests[:LISTED]
    for digest in shown:
        decision = decisions[digest]
        table.add_row(plan.trials[digest].stage, labels[digest], short(digest), decision.action, decision.reason)
    rest = len(digests) - len(shown)
    return Group(table, Text(f"... and {rest} more; --all lists them")) if rest else table


def arm_list(plan: Plan) -> RenderableType:
    """Arms, the control first, and those that turned out to be another arm's trials."""
    lines = [f"  {arm.name}{'  (control)' if arm.is_control else ''}" for arm in plan.arms]
    lines += [f"  {name} is the same trials as {other}, so it is that arm" for name, other in plan.aliases.items()]
    folds = len({replicate.fold for replicate in plan.replicates})
    seeds = len({replicate.seed for replicate in plan.replicates})
    return Text("\n".join([f"{len(plan.arms)} arms x {folds} fold(s) x {seeds} seed(s):", *lines]))


def why_text(why: Why) -> RenderableType:
    """The fields and inputs in which a trial differs from the nearest published one."""
    state = "published" if why.published else "not published"
    head = f"{why.trial.stage} {short(why.trial.digest)} is {state}"
    code = [f"  published by {other_code(why.changed_files)}"] if why.changed_files else []
    if why.nearest is None:
        return Text("\n".join([f"{head}; no other {why.trial.stage} trial is published to compare it with", *code]))
    lines = [f"{head}; the nearest other published trial is {short(why.nearest.digest)}, which differs in"]
    for difference in why.differences:
        lines.append(f"  {difference.name}: {_value(difference.ours)} here, {_value(difference.theirs)} there")
    if not why.differences:
        lines.append(f"  the version of the {why.trial.stage} stage alone")
    return Text("\n".join([*lines, *code]))


def _value(value: object) -> str:
    return "nothing" if value is None else str(value)


def summary_text(summary: Summary, retry: str) -> RenderableType:
    """What a run did, what failed, and the command that tries again."""
    ran = ", ".join(f"{count} {stage}" for stage, count in summary.ran.items()) or "no trial"
    lines = [f"ran {ran}; reused {sum(summary.reused.values())}; {short_time(summary.seconds)}"]
    for failure in summary.failures:
        name = f"{failure.trial.stage} {failure.label} ({short(failure.trial.digest)})"
        lines.append(f"{failure.outcome}: {name}: {failure.message}")
        if failure.outcome in ADVICE:
            lines.append(f"    {ADVICE[failure.outcome]}")
    if summary.blocked:
        lines.append(f"{summary.blocked} trial(s) are blocked by what failed")
    if summary.capped:
        lines.append(f"stopped at the budget: {summary.capped}")
    if summary.stopped:
        lines.append("stopped on request; finished trials are kept and running ones go on from their checkpoint")
    if not summary.ok:
        lines.append(f"to try again: {retry}")
    return Text("\n".join(lines))


def status_table(
    rows: Iterable[tuple[str, Mapping[str, int]]], failed: Sequence[tuple[str, Attempt]]
) -> RenderableType:
    """Trials per stage and state, then the last note of each failed one."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    states = ("published", "running", "waiting", "blocked", "failed")
    for state in states:
        table.add_column(state, justify="right")
    for stage, counts in rows:
        table.add_row(stage, *(str(counts.get(state, 0)) for state in states))
    lines = [f"{note.outcome}: {label}: {note.message} ({note.at})" for label, note in failed]
    return Group(table, Text("\n".join(lines))) if lines else table
