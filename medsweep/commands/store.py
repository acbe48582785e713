"""``medsweep store``, ``gc`` and ``retry``: is the store sound, what may go, what is tried again."""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsweep.commands.options import STORE_URL, StoreUrl, SweepPath
from medsweep.commands.typed import typed
from medsweep.durations import people_age
from medsweep.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from medsweep.store.location import Location
    from medsweep.store.store import Store
    from medsweep.store.waste import Waste

_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}


def verify(
    store: StoreUrl = STORE_URL,
    stage: Annotated[str | None, typer.Option(help="Look at this stage alone.")] = None,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Move damaged trials to STORE/damaged, to be run again.")
    ] = False,
) -> int:
    """Hash every published file and name what is not as it was published. Exit code 1 if there is any."""
    from rich.console import Console
    from rich.progress import Progress

    from medsweep.store.collection import check_store, stages_named
    from medsweep.store.location import location

    opened = _existing(location(store), writes=set_aside)
    stages = stages_named(opened, stage)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("hashing", total=sum(len(opened.listing(name)) for name in stages))
        checked = check_store(opened, stages, lambda _: progress.advance(task))
    damaged = [trial for trial in checked if trial.damages]
    for trial in damaged:
        for what in trial.damages:
            typer.echo(f"damaged: {trial.stage} {trial.digest[:16]}: {what}")
        if set_aside:
            typer.echo(f"set aside: {opened.quarantine(trial.stage, trial.digest)}")
    unread = [trial for trial in checked if trial.unread]
    for trial in unread:
        typer.echo(f"not looked at: {trial.unread}")
    gone = Counter((trial.stage, role) for trial in checked for role in trial.inputs_gone)
    for (name, role), count in sorted(gone.items()):
        typer.echo(f"inputs gone: {role} of {count} {name} trial(s); their results stand without it")
    typer.echo(
        f"{len(checked)} trial(s), {sum(trial.files for trial in checked)} files, {len(damaged)} trial(s) damaged"
        + (f", {len(unread)} not looked at" if unread else "")
        + ("; medsweep run makes those a sweep needs again" if damaged else "")
    )
    return 1 if damaged or unread else 0


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="Folder, or bucket, of the store to copy.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Folder, or bucket and prefix, that gets what it lacks.")],
) -> int:
    """Copy finished trials, plans and notes; every file is checked. After an interruption, run it again."""
    from rich.console import Console
    from rich.progress import Progress

    from medsweep.store.copying import copy_store
    from medsweep.store.location import location
    from medsweep.store.opening import open_store

    here, there = open_store(location(source), "read"), open_store(location(target), "run")
    if here.location == there.location:
        raise UserError(f"{source} and {target} are one store; name another to copy to")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("copying", total=sum(len(here.listing(name)) for name in here.stages()))
        copied = copy_store(here, there, lambda: progress.advance(task))
    for line in copied.left:
        typer.echo(f"not copied: {line}")
    typer.echo(
        f"copied {copied.trials} trial(s) and {copied.small} small file(s) from {here} to {there}; "
        f"{copied.there} trial(s) were there" + (f"; {len(copied.left)} not copied" if copied.left else "")
    )
    return 1 if copied.left else 0


def gc(
    sweeps: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SWEEP]...", help="Keep what these need; none: what any plan in the store needs."),
    ] = None,
    store: StoreUrl = STORE_URL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Also unfinished trials that a run would go on from, if this old: 12h, 7d."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Delete what no sweep needs: trials that no plan reaches, what failed or stopped attempts left behind."""
    from medsweep.commands import views
    from medsweep.store.collection import find_waste, living, planned, remove
    from medsweep.store.location import location
    from medsweep.store.presence import at_work
    from medsweep.store.waste import UNFINISHED

    opened = _existing(location(store), writes=not dry_run)
    age = None if older_than is None else _seconds(older_than)
    needed = _needed(sweeps, opened) if sweeps else planned(opened)
    waste = find_waste(opened, needed, age)
    if not waste:
        typer.echo(f"nothing to delete in {opened}: all of it is needed")
        return 0
    views.stdout().print(_table(waste))
    for item in waste:
        if item.kind == UNFINISHED:
            trial = f"{item.path.parent.name} {item.path.name[:16]}"
            typer.echo(f"unfinished: {trial}: {item.remark}, {people_age(item.newest)} old")
    if dry_run:
        is_busy = living(opened) is not None or any(True for _ in at_work(opened, "run"))
        busy = "; a run is at work in this store, so nothing could be deleted now" if is_busy else ""
        typer.echo(f"nothing was deleted (--dry-run){busy}")
        return 0
    if not yes:
        _ask(opened, sweeps or ())
    gone: list[Waste] = []
    remove(opened, waste, gone.append)
    typer.echo(f"deleted {len(gone)} item(s), {_size(sum(item.bytes for item in gone))}")
    return 0


def retry(
    sweep: SweepPath,
    store: StoreUrl = STORE_URL,
    failed: Annotated[bool, typer.Option("--failed", hidden=True)] = True,  # asked for by older scripts
    outcome: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only those that ended so; may be repeated \\[all].")
    ] = None,
) -> int:
    """Move what ended without a result to STORE/retried, so that the next run tries it again."""
    from medsweep.store.location import location
    from medsweep.study.retry import retry_failed

    opened = _existing(location(store), writes=True)
    trials = retry_failed(sweep, opened, outcome or ())
    if not trials:
        typer.echo(f"no trial of {sweep} ended without a result" + (f" as {' or '.join(outcome)}" if outcome else ""))
        return 0
    groups = Counter((trial.stage, trial.outcome, trial.published) for trial in trials)
    for (stage, ended, published), count in groups.items():
        what = f"set aside {count} published" if published else f"moved the notes on {count}"
        typer.echo(f"{what} {stage} trial(s) that ended as {ended}")
    typer.echo(f"to try again: {typed('run', sweep, '--store', store)}")
    return 0


def _existing(where: "Location", *, writes: bool) -> "Store":
    """The store to work in if it ``writes``, and to read else. Raises UserError: there is none, or it takes nothing."""
    from medsweep.store.opening import open_store

    opened = open_store(where, "read")
    return open_store(where, "run") if writes else opened


def _needed(sweeps: Sequence[Path], store: "Store") -> set[str]:
    from medsweep.study.reach import needed_by

    return {digest for path in sweeps for digest in needed_by(path, store)}


def _ask(store: "Store", sweeps: Sequence[Path]) -> None:
    needing = ", ".join(map(str, sweeps)) or "the plans in the store"
    if not sys.stdin.isatty():
        raise UserError(f"nothing was deleted from {store}: there is no terminal to ask at; give --yes, or --dry-run")
    if not typer.confirm(f"delete all of this from {store}, keeping what {needing} need?"):
        raise UserError(f"nothing was deleted from {store}")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text)
    if match is None:
        raise UserError(f"--older-than {text} is no age; give a number of hours, days or weeks, such as 12h, 7d or 2w")
    return float(match[1]) * _SECONDS[match[2]]


def _table(waste: Sequence["Waste"]) -> "Table":
    from rich.table import Column, Table

    counted = (Column(head, justify="right") for head in ("items", "size", "newest"))
    table = Table("to delete", *counted, box=None, pad_edge=False)
    for kind in dict.fromkeys(item.kind for item in waste):
        rows = [item for item in waste if item.kind == kind]
        size, newest = sum(item.bytes for item in rows), max(item.newest for item in rows)
        table.add_row(kind, str(len(rows)), _size(size), f"{people_age(newest)} ago")
    table.add_section()
    table.add_row("all", str(len(waste)), _size(sum(item.bytes for item in waste)), "")
    return table


def _size(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)
