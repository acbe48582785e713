"""What the commands print: each function turns a record into something rich can show."""

import string
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from medsweep.commands.prose import say
from medsweep.durations import people_hours
from medsweep.execution.driver import Summary
from medsweep.execution.failures import ADVICE
from medsweep.identity import short
from medsweep.planning.cost import Why, other_code
from medsweep.planning.forecast import ENOUGH, UNSURE, Forecast, Interval
from medsweep.study.inside import yaml_name
from medsweep.study.made_report import Announcement
from medsweep.sweep.arms import fraction_of
from medsweep.sweep.fractions import Fraction
from medsweep.sweep.plan import Plan
from medsweep.tracking.console import short_time

if TYPE_CHECKING:
    from medsweep.study.session import Session

ARMS = 3
"""Arms that are named where a trial serves many."""
LISTED = 40
"""Trials that are listed one by one; ``--all`` lists the rest."""
_STATES = {"reuse": "published", "skip": "published", "blocked": "blocked"}
"""State of a trial by what happens to it, where it is not to run."""


def stdout() -> Console:
    """Where results go; wide enough that a pipe does not fold tables.

    Names of arms and files are text of other people: square brackets in them style nothing, colons make no emoji.
    """
    console = Console(markup=False, emoji=False)
    return console if console.is_terminal else Console(width=140, markup=False, emoji=False)


def print_report(verdicts: Announcement, page: Path, *, written: str = "", quiet: bool = False) -> None:
    """The headline, a line per arm, and where the report is; ``quiet`` says only the latter.

    Of one that lay there already it says when it was ``written``.
    """
    if not quiet:
        for line in verdicts.sentences:
            say(line)
        stdout().print(arm_table(verdicts), highlight=False)
        for line in verdicts.remarks:
            say(line)
    stdout().print(f"report: {page}", soft_wrap=True, highlight=False)
    if written:
        say(f"  as it was written on {written}, since nothing has changed; medsweep analyse writes it anew")


def arm_table(verdicts: Announcement) -> Table:
    """One line per arm: how far it is from the control, the interval, and the verdict. The report says the rest."""
    arm, *others = verdicts.heads
    columns = Column(arm, no_wrap=True, overflow="ellipsis"), *(Column(head, no_wrap=True) for head in others)
    table = Table(*columns, box=None, pad_edge=False)
    for row in verdicts.rows:
        table.add_row(*map(Text, row))
    return table


def plan_table(session: "Session") -> RenderableType:
    """One row per stage and the sum, then the forecast, what a fraction confounds, and what the design can show."""
    rows, cost = session.stage_costs(), session.forecast()
    heads = ("trials", "naive", "reuse", "run", "blocked", "each", "all", "from - to", "price from")
    table = Table("stage", *(Column(head, justify="right") for head in heads), box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            row.stage, str(row.trials), str(row.naive), str(row.reuse), str(row.run), str(row.blocked),
            people_hours(row.hours_each), people_hours(row.hours.middle), _ends(row.hours),
            f"{row.timed} trial(s)" if row.timed else "estimate",
        )  # fmt: skip
    table.add_section()
    sums = [sum(getattr(row, name) for row in rows) for name in ("trials", "naive", "reuse", "run", "blocked")]
    table.add_row("all", *map(str, sums), "", people_hours(cost.hours.middle), _ends(cost.hours), "")
    lines = forecast_lines(cost)
    if (decides := session.price_sentence()) is not None:
        lines.append(f"  {decides}")
    lines += [*fraction_lines(fraction_of(session.sweep)), *session.remarks()]
    return Group(table, Text("\n".join(lines)))


def forecast_lines(cost: Forecast) -> list[str]:
    """What the trials to run will cost; nothing where none is to run."""
    if not cost.trials:
        return ["nothing is to run"]
    held = [f"{_hours(cost.gpu_hours)} on GPUs"] if cost.gpu_hours.middle > 0 else []
    held.append(f"{_hours(cost.cpu_hours)} on CPU cores")
    lines = [
        f"to run: {cost.trials} trials, {', '.join(held)}",
        f"  wall time with {cost.slots} at once: {_hours(cost.wall)}; never below {people_hours(cost.chain)} "
        f"(longest chain) nor {people_hours(cost.share)} (work / {cost.slots})",
        f"  disk: {_interval(cost.disk_gib)} GiB" + (f"; {cost.unsized} trials by a guess" if cost.unsized else ""),
    ]
    if cost.untimed:
        text = f"  {cost.untimed} trials have fewer than {ENOUGH} timings"
        lines.append(f"{text}, so low and high are a factor of {UNSURE:g} from the middle")
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


def _hours(hours: Interval) -> str:
    return f"{people_hours(hours.middle)} ({_ends(hours)})"


def _ends(hours: Interval) -> str:
    return f"{people_hours(hours.low)} - {people_hours(hours.high)}"


def _interval(interval: Interval) -> str:
    return f"{_short(interval.middle)} ({_short(interval.low)} - {_short(interval.high)})"


def _short(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{float(f'{value:.2g}'):g}"


def decision_table(session: "Session", *, show_all: bool) -> RenderableType:
    """Each trial with what happens to it and why."""
    table = Table("trial", "", "digest", "action", "reason", box=None, pad_edge=False)
    trials = list(session.plan.trials.items())
    for digest, trial in trials if show_all else trials[:LISTED]:
        decision = session.decisions[digest]
        table.add_row(trial.stage, session.labels[digest], short(digest), decision.action, decision.reason)
    rest = len(trials) - table.row_count
    return Group(table, Text(f"... and {rest} more; --all lists them")) if rest else table


def arm_list(plan: Plan) -> RenderableType:
    """Arms, the control first, and those that turned out to be another arm's trials."""
    lines = [f"  {arm.name}{'  (control)' if arm.is_control else ''}" for arm in plan.arms]
    lines += [
        f"  {name} needs the same trials as {other}, so the two count as one arm"
        for name, other in plan.aliases.items()
    ]
    folds = len({replicate.fold for replicate in plan.replicates})
    seeds = len({replicate.seed for replicate in plan.replicates})
    return Text("\n".join([f"{len(plan.arms)} arms x {folds} fold(s) x {seeds} seed(s):", *lines]))


def why_text(why: Why) -> RenderableType:
    """The fields and inputs in which a trial differs from the nearest published one."""
    outcome = getattr(why.trial, "outcome", "")
    state = f"published, {outcome}" if why.published else "not published"
    serves = f", for arm {', arm '.join(why.arms[:ARMS])}{', ...' * (len(why.arms) > ARMS)}," if why.arms else ""
    head = f"{why.trial.stage} {short(why.trial.digest)}{serves} is {state}"
    code = [f"  published by {other_code(why.changed_files)}"] if why.changed_files else []
    code += why.ended
    if why.nearest is None:
        return Text("\n".join([f"{head}; no other {why.trial.stage} trial is published to compare it with", *code]))
    lines = [f"{head}; the nearest other published trial is {short(why.nearest.digest)}, which differs in"]
    for difference in why.differences:
        lines.append(
            f"  {yaml_name(difference.name)}: {_value(difference.ours)} here, {_value(difference.theirs)} there"
        )
    if not why.differences:
        lines.append(f"  the version of the {why.trial.stage} stage alone")
    return Text("\n".join([*lines, *code]))


def _value(value: object) -> str:
    return "nothing" if value is None else str(value)


def tell_summary(summary: Summary, retry: str) -> None:
    """Say what a run did, what failed, and the command that tries again."""
    ran = ", ".join(f"{count} {stage}" for stage, count in summary.ran.items()) or "no trial"
    lines = [f"ran {ran}; reused {sum(summary.reused.values())}; {short_time(summary.seconds)}"]
    for failure in summary.failures:
        name = f"{failure.trial.stage} {failure.label} ({short(failure.trial.digest)})"
        lines.append(f"{failure.outcome}: {name}: {failure.message}")
        if failure.outcome in ADVICE:
            lines.append(f"    {ADVICE[failure.outcome]}")
    if summary.blocked:
        lines.append(f"{summary.blocked} trial(s) are blocked by what failed")
    if summary.found_nothing:
        lines.append(summary.found_nothing)
    if summary.capped:
        lines.append(f"stopped at the budget: {summary.capped}")
    if summary.stopped:
        lines.append("stopped on request; finished trials are kept and running ones go on from their checkpoint")
    if summary.failures and not summary.again:
        lines.append("running again would end alike: change what is said above; medsweep retry forgets these outcomes")
    say("\n".join(lines))
    if summary.again:
        stdout().print(f"to try again: {retry}", soft_wrap=True, highlight=False)


def status_counts(session: "Session") -> dict[str, Counter[str]]:
    """Trials per stage and state."""
    counts: dict[str, Counter[str]] = {}
    failed = {failure.trial.digest for failure in session.failures}
    for digest, trial in session.plan.trials.items():
        action = session.decisions[digest].action
        state = "failed" if digest in failed else _STATES.get(action, "waiting")
        if action == "run" and session.store.leased(trial.stage, digest):
            state = "running"
        counts.setdefault(trial.stage, Counter())[state] += 1
    return counts


def status_table(session: "Session") -> RenderableType:
    """Trials per stage and state, then how each failed one ended, then the arms that cannot be compared."""
    counts = status_counts(session)
    lines = [
        f"{one.outcome}: {one.trial.stage} {one.label}: {one.message}" + (one.at and f" ({one.at})")
        for one in session.failures
    ]
    lines += [f"{dead.arm}: {dead.reason}" for dead in session.dead()]
    states = ("published", "running", "waiting", "blocked", "failed")
    table = Table("stage", *(Column(state, justify="right") for state in states), box=None, pad_edge=False)
    for stage, numbers in counts.items():
        table.add_row(stage, *(str(numbers[state]) for state in states))
    return Group(table, Text("\n".join(lines))) if lines else table
