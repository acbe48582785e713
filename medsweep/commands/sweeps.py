"""``medsweep plan``, ``run``, ``status`` and ``why``: what a sweep needs, and getting it done."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from medsweep.commands.options import (
    STORE_URL,
    AsJson,
    Rehash,
    ResultsPath,
    StoreUrl,
    SweepPath,
    WandbMode,
    require_folder,
)
from medsweep.commands.prose import say
from medsweep.commands.typed import command_line, typed
from medsweep.durations import people_hours
from medsweep.errors import UserError
from medsweep.store.location import location
from medsweep.store.store import DamagedError
from medsweep.uncollected import uncollected

if TYPE_CHECKING:
    from medsweep.execution.driver import Summary
    from medsweep.study.session import RunOptions, Session
    from medsweep.tracking.tracker import TrackingMode

ASKED_HOURS: Final = 24.0
"""Hours of work above which a run asks first."""

RunnerName = Annotated[Literal["ray", "local"], typer.Option(help="Ray, or one trial after the other in this process.")]
Address = Annotated[str | None, typer.Option(help="Address of a Ray cluster; without it one is started here.")]
Cpus = Annotated[
    int | None, typer.Option(min=1, help="CPUs of the Ray that is started \\[all that this process may use].")
]
Gpus = Annotated[int | None, typer.Option(min=0, help="GPUs of the Ray that is started \\[all that it sees].")]
NodeMinutes = Annotated[
    float | None,
    typer.Option(min=0, help="Minutes for a cluster to bring its first node \\[20 with an autoscaler, else 0]."),
]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Start nothing more after the first trial that fails by itself.")
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(envvar="MEDSWEEP_CACHE", help="Folder on each node's own disk for copies of what trials read."),
]
QuietRun = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress and no verdicts, only failures and the report.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Start more than a day of work without asking.")]


@uncollected()
def plan(
    sweep: SweepPath,
    store: StoreUrl = STORE_URL,
    show_all: Annotated[bool, typer.Option("--all", help="List every trial.")] = False,
    rehash: Rehash = False,
    as_json: AsJson = False,
) -> int:
    """Show what a sweep needs, what is there already, and what the rest costs. Runs nothing."""
    from medsweep.commands import documents, look_views, search_views, views
    from medsweep.study import session

    opened = session.open_sweep(sweep, location(store), rehash=rehash)
    if as_json:
        documents.print_json(documents.plan_document(opened))
        return 0
    console = views.stdout()
    console.print(views.arm_list(opened.plan))
    console.print(views.plan_table(opened))
    console.print(views.decision_table(opened, show_all=show_all))
    if opened.search is not None:
        say(search_views.progress_sentence(opened.search))
    if opened.looks is not None and opened.look is not None:
        console.print(look_views.plan_table(opened, opened.looks, opened.look), highlight=False)
    return 0


def run(  # noqa: PLR0917
    sweep: SweepPath,
    store: StoreUrl = STORE_URL,
    results: ResultsPath = None,
    runner: RunnerName = "ray",
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    wait_for_nodes: NodeMinutes = None,
    wandb: WandbMode = None,
    fail_fast: FailFast = False,
    cache: CacheFolder = None,
    rehash: Rehash = False,
    quiet: QuietRun = False,
    yes: Yes = False,
) -> int:
    """Run what is missing, then make tables, statistics and report. Run again to go on after any interruption."""
    from medsweep.commands import views
    from medsweep.store.opening import cache_for
    from medsweep.study import session

    _refuse_misplaced(runner, address, cpus, gpus, wait_for_nodes)
    where = location(store)
    copies, tracking = cache_for(cache, where), _tracking(wandb)
    opened = session.open_sweep(sweep, where, to="run", rehash=rehash)
    _tell_notes(opened, quiet=quiet)
    require_folder(opened.folder(results), "results")
    _require_consent(opened, yes=yes)
    options = session.RunOptions(runner, address, tracking, fail_fast, copies, cpus, gpus, quiet, wait_for_nodes)
    summary = opened.run(options)
    if not quiet or summary.exit_code != 0:
        views.tell_summary(summary, retry=command_line())
    _tell_results(opened, summary, sweep, results, options)
    return summary.exit_code


def _refuse_misplaced(
    runner: str, address: str | None, cpus: int | None, gpus: int | None, wait_for_nodes: float | None
) -> None:
    """Refuse options that say nothing beside each other, and more CPUs than there are."""
    from medsweep.execution.machine import cpus_here

    if address is not None and runner == "local":
        raise UserError(f"--address {address} is for --runner ray; leave one of the two out")
    for name, limit in (("cpus", cpus), ("gpus", gpus)):
        if limit is not None and (address is not None or runner == "local"):
            other = "--runner local" if runner == "local" else "--address"
            raise UserError(f"--{name} is for a Ray that is started here; leave it or {other} out")
    if wait_for_nodes is not None and address is None:
        raise UserError("--wait-for-nodes is for a cluster that is there already; give its --address, or leave it out")
    if cpus is not None and cpus > cpus_here():
        raise UserError(f"--cpus {cpus}: this process may use {cpus_here()} here; ask for no more")


def _require_consent(opened: "Session", *, yes: bool) -> None:
    """Ask before more than a day of work is started, or have it said by ``--yes`` where nobody can be asked.

    Raises:
        UserError: nobody can be asked, or the answer is no.
    """
    hours = opened.forecast().hours.middle
    if yes or hours <= ASKED_HOURS:
        return
    decides = opened.price_sentence()
    text = f"{people_hours(hours)} of work{'' if decides is None else f' ({decides})'}"
    if not _can_ask():
        raise UserError(f"this would start {text}; give --yes, since there is no terminal to ask on")
    if not typer.confirm(f"This starts {text}. Go on?", err=True):
        raise UserError("nothing was started; medsweep plan shows what the hours are for")


def _tell_notes(opened: "Session", *, quiet: bool) -> None:
    """What the check of the data warns of, and unless ``quiet`` what was chosen for the sweep or is not read."""
    for line in opened.plan.data_warnings:
        say(f"medsweep: warning, data: {line}", err=True)
    for line in () if quiet else opened.notes:
        say(f"medsweep: {line}", err=True)


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _tell_results(
    opened: "Session", summary: "Summary", sweep: Path, results: Path | None, options: "RunOptions"
) -> None:
    """Make the report and the mirror of what ran, and say what to type next.

    Raises:
        UserError, DamagedError, OSError: all trials are there and no report can be made of them.
    """
    from medsweep.commands import views

    tracking, quiet = options.tracking, options.quiet
    mirrors = tracking != "disabled"
    trouble: Exception | None = None
    # The trials come first, since the report links to their runs.
    mirrored = opened.mirror().written if mirrors and not summary.stopped else 0
    try:
        if not summary.stopped and opened.has_results():
            shown = opened.report_once(results, summary, command_line())
            views.print_report(shown.verdicts, shown.page, written=shown.when, quiet=quiet)
    except (UserError, DamagedError, OSError) as error:
        trouble = error
        if summary.exit_code != 0:
            say(f"no report: {error}")
    if mirrors:
        folder = None if summary.stopped else opened.folder(results)
        _end_mirror(opened, sweep, folder, mirrored, tracking, quiet=quiet)
    if trouble is not None and summary.exit_code == 0:
        raise trouble
    if summary.ok and not quiet:
        where = [] if results is None else ["--results", results]
        typer.echo(f"next: {typed('open', sweep, *where)}  shows the report in a browser")


def _end_mirror(
    opened: "Session", sweep: Path, results: Path | None, mirrored: int, tracking: "TrackingMode", *, quiet: bool
) -> None:
    """Mirror the report, push all where W&B is online, and say so; without ``results`` the run was stopped."""
    from medsweep.commands import wandb_views

    built = None if results is None else opened.mirror(results)
    if not quiet:
        typer.echo(wandb_views.mirror_line(built, sweep, str(opened.store), mirrored))
    if built is not None and results is not None and tracking == "online":
        pushed = opened.push(results)
        if pushed.failed or not quiet:
            typer.echo("\n".join(wandb_views.push_lines(pushed, built)))


def _tracking(flag: str | None) -> "TrackingMode":
    """The W&B mode; offline where it should be online and the server cannot be used, which is said."""
    from medsweep.tracking.mode import require_key, resolve_mode, unreachable

    tracking = resolve_mode(flag)
    if tracking == "online":
        require_key()
        if (reason := unreachable()) is not None:
            typer.echo(f"W&B: {reason}; it stays offline, and medsweep wandb push uploads all later", err=True)
            return "offline"
    return tracking


def status(sweep: SweepPath, store: StoreUrl = STORE_URL, as_json: AsJson = False) -> int:
    """Show which trials are published, running, waiting or failed, whoever runs them."""
    from medsweep.commands import documents, look_views, search_views, views
    from medsweep.study import session

    opened = session.open_sweep(sweep, location(store), to="read")
    if as_json:
        documents.print_json(documents.status_document(opened, views.status_counts(opened)))
        return 0
    views.stdout().print(views.status_table(opened), soft_wrap=True)
    if opened.look is not None:
        say(look_views.progress_sentence(opened.look))
    for line in [] if opened.search is None else search_views.status_lines(opened.search):
        say(line)
    return 0


def why(
    digest: Annotated[str, typer.Argument(help="Digest of a planned or published trial, or its beginning.")],
    store: StoreUrl = STORE_URL,
    as_json: AsJson = False,
) -> int:
    """Say which config field or input sets a trial apart from the nearest published one."""
    from medsweep.commands import documents, views
    from medsweep.planning.cost import explain
    from medsweep.store.opening import open_store

    answer = explain(digest, open_store(location(store), "read"))
    if as_json:
        documents.print_json(documents.why_document(answer))
    else:
        views.stdout().print(views.why_text(answer))
    return 0
