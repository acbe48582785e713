"""What the commands print: each function turns a record into something rich can show."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from medsweep.account import StageAccount, Why
from medsweep.execution.driver import Summary
from medsweep.execution.failures import ADVICE, Attempt
from medsweep.identity import short
from medsweep.plan import Decision, Plan
from medsweep.tracking.console import short_time

LISTED = 40
"""Trials that are listed one by one; ``--all`` lists the rest."""


def stdout() -> Console:
    """Where results go; wide enough that a pipe does not fold tables."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def plan_table(rows: Sequence[StageAccount]) -> RenderableType:
    """One row per stage, and the sum."""
    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for name in ("trials", "naive", "reuse", "run", "blocked", "hours each", "hours", "price from"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.stage, str(row.trials), str(row.naive), str(row.reuse), str(row.run), str(row.blocked),
            f"{row.hours_each:.4f}", f"{row.hours:.3f}", "earlier trials" if row.measured else "built-in estimate",
        )  # fmt: skip
    table.add_section()
    total = [sum(getattr(row, name) for row in rows) for name in ("trials", "naive", "reuse", "run", "blocked")]
    table.add_row("all", *map(str, total), "", f"{sum(row.hours for row in rows):.3f}", "")
    return table


def decision_table(
    plan: Plan, decisions: Mapping[str, Decision], labels: Mapping[str, str], *, every: bool
) -> RenderableType:
    """Each trial with what happens to it and why."""
    table = Table(box=None, pad_edge=False)
    for name in ("trial", "", "digest", "action", "reason"):
        table.add_column(name)
    digests = list(plan.trials)
    shown = digests if every else digests[:LISTED]
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
    if why.nearest is None:
        return Text(f"{head}; no other {why.trial.stage} trial is published to compare it with")
    lines = [f"{head}; the nearest other published trial is {short(why.nearest.digest)}, which differs in"]
    for found in why.differences:
        lines.append(f"  {found.name}: {_value(found.ours)} here, {_value(found.theirs)} there")
    if not why.differences:
        lines.append(f"  the version of the {why.trial.stage} stage alone")
    return Text("\n".join(lines))


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
