"""The command line: few verbs, no hyper-parameter flags, and a second run is a resume."""

import functools
import logging
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from medsweep import __version__
from medsweep.commands import analyse, data, launch, search
from medsweep.commands import store as store_commands
from medsweep.errors import UserError
from medsweep.store.store import DamagedError

app = typer.Typer(
    help="Sweeps and ablations of synthetic training images, from one YAML file to a tested answer.",
    epilog="Begin with  medsweep plan sweeps/quickstart.yaml  and then  medsweep run sweeps/quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
P = ParamSpec("P")

SweepPath = Annotated[Path, typer.Argument(metavar="SWEEP", help="YAML file of the sweep.")]
StorePath = Annotated[Path, typer.Option("--store", envvar="MEDSWEEP_STORE", help="Folder of the finished trials.")]
ResultsPath = Annotated[Path | None, typer.Option("--results", help="Folder for tables and report [results/NAME].")]
STORE = Path("store")


class RunnerName(StrEnum):
    """Where trials run."""

    RAY = "ray"
    LOCAL = "local"


class WandbMode(StrEnum):
    """What W&B is told."""

    OFFLINE = "offline"
    ONLINE = "online"
    DISABLED = "disabled"


def told_plainly(command: Callable[P, int]) -> Callable[P, None]:
    """Turn an error that the user can mend into one line and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        """Run the command and end with its exit code."""
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        try:
            code = command(*args, **kwargs)
        except UserError as error:
            typer.echo(f"medsweep: {error}", err=True)
            code = 2
        except DamagedError as error:
            typer.echo(f"medsweep: {error}; medsweep run sets it aside and makes it again", err=True)
            code = 2
        except KeyboardInterrupt:
            typer.echo("medsweep: stopped; run the same command to go on", err=True)
            code = 130
        raise typer.Exit(code)

    return wrapped


app.add_typer(data.make_app(told_plainly), name="data")
store_commands.register(app, told_plainly)
search.register(app, told_plainly)
analyse.register(app, told_plainly)
launch.register(app, told_plainly)


@app.command()
@told_plainly
def plan(
    sweep: SweepPath,
    store: StorePath = STORE,
    every: Annotated[bool, typer.Option("--all", help="List every trial.")] = False,
) -> int:
    """Show what a sweep needs, what is there already, and what the rest costs. Runs nothing."""
    from medsweep.commands import views
    from medsweep.study import session

    opened = session.open_sweep(sweep, store)
    console = views.stdout()
    console.print(views.arm_list(opened.plan))
    console.print(views.plan_table(opened.accounts()))
    console.print(views.decision_table(opened.plan, opened.decisions, opened.labels, every=every))
    if (line := opened.search_line()) is not None:
        console.print(line, soft_wrap=True, highlight=False)
    return 0


@app.command()
@told_plainly
def why(
    digest: Annotated[str, typer.Argument(help="Digest of a planned or published trial, or its beginning.")],
    store: StorePath = STORE,
) -> int:
    """Say which config field or input sets a trial apart from the nearest published one."""
    from medsweep.commands import views
    from medsweep.planning import cost as account
    from medsweep.store.store import Store

    views.stdout().print(views.why_text(account.explain(digest, Store.create(store))))
    return 0


@app.command()
@told_plainly
def run(  # noqa: PLR0917
    sweep: SweepPath,
    store: StorePath = STORE,
    results: ResultsPath = None,
    runner: Annotated[
        RunnerName, typer.Option(help="Ray, or one trial after the other in this process.")
    ] = RunnerName.RAY,
    address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster; without it one is started here.")
    ] = None,
    wandb: Annotated[WandbMode | None, typer.Option(help="W&B mode [offline unless logged in].")] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start nothing more after the first trial that fails by itself.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(envvar="MEDSWEEP_CACHE", help="Folder on each node's own disk for copies of what trials read."),
    ] = None,
) -> int:
    """Run what is missing, then make tables, statistics and report. Run again to go on after any interruption."""
    from medsweep.commands import views
    from medsweep.store.cache import cache_spec
    from medsweep.study import session

    if address is not None and runner is RunnerName.LOCAL:
        raise UserError(f"--address {address} is for --runner ray; leave one of the two out")
    copies = cache_spec(cache, store)
    opened = session.open_sweep(sweep, store)
    how = session.HowToRun(runner.value, address, wandb.value if wandb else None, fail_fast, copies)
    summary = opened.run(how)
    console = views.stdout()
    console.print(views.summary_text(summary, retry=views.command_line()), soft_wrap=True)
    code = summary.exit_code
    if not summary.stopped and opened.has_results():
        report = opened.answer(results, summary, views.command_line())
        for line in (report.headline, *report.verdicts):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        typer.echo(f"report: {report.path}")
    return code


@app.command()
@told_plainly
def status(sweep: SweepPath, store: StorePath = STORE) -> int:
    """Show which trials are published, running, waiting or failed, whoever runs them."""
    from medsweep.commands import views
    from medsweep.study import session

    opened = session.open_sweep(sweep, store)
    views.stdout().print(views.status_table(*opened.status()))
    return 0


@app.command()
@told_plainly
def results(sweep: SweepPath, store: StorePath = STORE, results: ResultsPath = None) -> int:
    """Write the tidy tables as parquet and CSV from what is published."""
    from medsweep.study import session

    for path in session.open_sweep(sweep, store).tables(results).paths:
        typer.echo(path)
    return 0


@app.command()
@told_plainly
def predict(
    sweep: SweepPath,
    out: Annotated[Path, typer.Option(help="Folder to write to: OUT/ARM/fold-F-seed-S/PATIENT.nii.gz.")],
    arm: Annotated[list[str] | None, typer.Option(help="Arm whose networks predict; may be repeated [all].")] = None,
    store: StorePath = STORE,
) -> int:
    """Write what the published networks see in their test patients, as NIfTI files that overlay the patients' own."""
    from medsweep.study import session

    for path in session.open_sweep(sweep, store).predict(arm or [], out):
        typer.echo(path)
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medsweep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of medsweep itself."""


def main() -> None:
    """Entry point of the ``medsweep`` command."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app()


if __name__ == "__main__":
    main()
