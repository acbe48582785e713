"""The command line: few verbs, no hyper-parameter flags, and a second run is a resume."""

import errno
import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Final, ParamSpec

import typer

from medsweep import __version__
from medsweep.commands import data, inside, launch, reference, results, start, sweeps, wandb
from medsweep.commands import store as upkeep
from medsweep.commands.help_style import PlainCommand, PlainGroup
from medsweep.commands.prose import say
from medsweep.errors import SeveralError, UserError
from medsweep.stop_signals import STOPPED_EXIT, stop_signals
from medsweep.store.location import require_no_url
from medsweep.store.store import DamagedError

P = ParamSpec("P")
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors that are no fault of the program."""


def with_plain_errors(command: Callable[P, int]) -> Callable[P, None]:
    """Turn an error that the user can mend into one line and exit code 2, and a signal to stop into 130."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        """Run the command and end with its exit code."""
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        with stop_signals() as stop:
            try:
                stop.require_none()
                for name, value in kwargs.items():
                    require_no_url(f"--{name.replace('_', '-')}", value)
                code = command(*args, **kwargs)
            except BaseException as error:
                if stop.requested or isinstance(error, KeyboardInterrupt):  # whatever the signal has torn
                    with suppress(OSError):  # the terminal may be gone
                        typer.echo("medsweep: stopped; run the same command to go on", err=True)
                    code = STOPPED_EXIT
                elif isinstance(error, UserError):
                    for line in _told(error):
                        say(f"medsweep: {line}", err=True)
                    code = 2
                elif isinstance(error, DamagedError):
                    say(f"medsweep: {error}; medsweep run sets it aside and makes it again", err=True)
                    code = 2
                elif isinstance(error, OSError) and error.errno in OF_THE_DISK:
                    name = "" if error.filename is None else f" {error.filename}"
                    say(f"medsweep: cannot write{name}: {error.strerror}; free it or its disk", err=True)
                    code = 2
                else:
                    raise
            code = STOPPED_EXIT if stop.requested else code
        raise typer.Exit(code)

    return wrapped


def _told(error: UserError) -> list[str]:
    return str(error).splitlines() if isinstance(error, SeveralError) else [str(error)]


def _group(text: str, *commands: Callable[..., int]) -> typer.Typer:
    group = typer.Typer(cls=PlainGroup, help=text, no_args_is_help=True)
    # A callback keeps a single command a word of its own.
    group.callback()(lambda: None)
    for command in commands:
        name = command.__name__.removesuffix("_datasets").replace("_", "-")
        group.command(name, cls=PlainCommand)(with_plain_errors(command))
    return group


app = typer.Typer(
    cls=PlainGroup,
    help="Sweeps and ablations of synthetic training images, from one YAML file to a tested answer.",
    epilog="Begin with  medsweep demo  and go on with  medsweep new --root DIR",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
DATA, STORE, WANDB = "Data", "Store and cluster", "Results"
VERBS: Final[Mapping[str, tuple[Callable[..., int], ...]]] = {
    "Write a sweep": (start.demo, start.new, reference.explain, reference.schema, inside.diff),
    "Run it": (sweeps.plan, sweeps.run, sweeps.status, upkeep.retry),
    WANDB: (
        results.analyse,
        inside.open_report,
        results.results,
        results.best,
        results.predict,
        results.score,
        wandb.dashboard,
    ),
    "Look inside": (inside.ls, inside.show, inside.log, inside.samples, sweeps.why),
    STORE: (launch.with_options(launch.launch), upkeep.gc),
}
"""The commands in the order of work, by the heading under which the help lists them."""
for panel, verbs in VERBS.items():
    for verb in verbs:
        name = verb.__name__.removesuffix("_report")
        app.command(name, cls=PlainCommand, rich_help_panel=panel)(with_plain_errors(verb))
app.add_typer(
    _group("The folder of finished trials, or its bucket.", upkeep.verify, upkeep.copy),
    name="store",
    rich_help_panel=STORE,
)
app.add_typer(_group("A sweep as runs of W&B.", wandb.build, wandb.push), name="wandb", rich_help_panel=WANDB)
app.add_typer(
    _group(
        "Datasets: what is known, what a folder holds, what it looks like.",
        data.list_datasets, data.describe, data.check, data.prepare, data.preview, data.phantom, data.export_fold,
    ),
    name="data",
    rich_help_panel=DATA,
)  # fmt: skip


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"medsweep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of medsweep itself."""
