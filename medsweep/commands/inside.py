"""``medsweep ls``, ``show``, ``log``, ``open``, ``samples`` and ``diff``: looks inside, which change nothing."""

from pathlib import Path
from typing import Annotated

import typer

from medsweep.commands.options import STORE_URL, AsJson, ResultsPath, StoreUrl, SweepPath
from medsweep.errors import UserError

TrialDigest = Annotated[
    str, typer.Argument(metavar="TRIAL", help="Digest of a planned or published trial, or its beginning.")
]


def ls(store: StoreUrl = STORE_URL, as_json: AsJson = False) -> int:
    """List the sweeps that were planned in this store, with their state, size and age."""
    from medsweep.commands import documents, inside_views, views
    from medsweep.store.location import location
    from medsweep.store.opening import open_store
    from medsweep.study.inside import sweeps_in

    sweeps = sweeps_in(open_store(location(store), "read"))
    if as_json:
        documents.print_json(inside_views.sweep_rows(sweeps))
    elif sweeps:
        views.stdout().print(inside_views.sweep_table(sweeps))
    else:
        typer.echo(f"no sweep was planned in {store} yet; medsweep plan SWEEP --store {store}")
    return 0


def show(
    trial: TrialDigest,
    store: StoreUrl = STORE_URL,
    every: Annotated[bool, typer.Option("--all", help="Show the whole config, defaults as well.")] = False,
) -> int:
    """Show a trial: config, inputs, who reads it, how it ended, and its curves."""
    from medsweep.commands import inside_views, views
    from medsweep.store.location import location
    from medsweep.store.opening import open_store
    from medsweep.study.inside import trial_in_full

    record = trial_in_full(trial, open_store(location(store), "read"))
    views.stdout().print(inside_views.trial_text(record, every=every), soft_wrap=True, highlight=False)
    return 0


def log(trial: TrialDigest, store: StoreUrl = STORE_URL) -> int:
    """Print all that a trial reported, failed attempts with their tracebacks first."""
    from medsweep.commands.inside_views import log_lines
    from medsweep.store.location import location
    from medsweep.store.opening import open_store
    from medsweep.study.inside import trial_in_full

    for line in log_lines(trial_in_full(trial, open_store(location(store), "read"))):
        typer.echo(line)
    return 0


def open_report(sweep: SweepPath, results: ResultsPath = None) -> int:
    """Open the report of a sweep in a browser."""
    import webbrowser

    from medsweep.study.stages import SCHEMA
    from medsweep.sweep.load import load_sweep

    name = load_sweep(sweep, SCHEMA, reading=True).name
    page = (results or Path("results") / name) / "report.html"
    if not page.is_file():
        raise UserError(
            f"there is no report {page}; medsweep analyse {sweep} makes it, or give its folder by --results"
        )
    typer.echo(page)
    if not webbrowser.open(page.resolve().as_uri()):
        typer.echo("no browser could be started here; copy the file, or open it by its path", err=True)
    return 0


def samples(
    sweep: SweepPath,
    arm: Annotated[list[str] | None, typer.Option(help="Arm whose pool is shown; may be repeated \\[all].")] = None,
    count: Annotated[int, typer.Option(min=1, help="Pairs per picture, the first of the pool.")] = 16,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the pictures \\[results/NAME/samples].", show_default=False)
    ] = None,
    store: StoreUrl = STORE_URL,
) -> int:
    """Write a PNG grid of the first synthetic pairs of each arm, image beside mask."""
    from medsweep.store.location import location
    from medsweep.study import session
    from medsweep.study.pictures import write_samples

    opened = session.open_sweep(sweep, location(store), to="read")
    folder = out if out is not None else opened.folder(None) / "samples"
    for path in write_samples(opened, arm or [], folder, count):
        typer.echo(path)
    return 0


def diff(
    ours: Annotated[Path, typer.Argument(metavar="SWEEP_A", help="File or name of a sweep.")],
    theirs: Annotated[Path, typer.Argument(metavar="SWEEP_B", help="File or name of another.")],
) -> int:
    """Show the fields in which two sweeps differ, defaults filled in. Exit code 1 if there are any."""
    from medsweep.commands import inside_views, views
    from medsweep.planning.cost import differing
    from medsweep.study.stages import SCHEMA
    from medsweep.sweep.load import load_sweep

    a, b = (load_sweep(path, SCHEMA, reading=True).in_full() for path in (ours, theirs))
    rows = differing(a, b)
    if rows:
        views.stdout().print(inside_views.difference_table(rows, (str(ours), str(theirs))))
    else:
        typer.echo(f"{ours} and {theirs} say the same")
    return 1 if rows else 0
