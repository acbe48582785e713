"""``medsweep wandb build``, ``push`` and ``dashboard``: a sweep as runs and views of W&B, made from the store."""

from typing import Annotated

import typer

from medsweep.commands.options import STORE_URL, ResultsPath, StoreUrl, SweepPath
from medsweep.store.location import location

Entity = Annotated[str | None, typer.Option(help="User or team at W&B \\[the default of who is logged in].")]
Project = Annotated[str | None, typer.Option(help="Project at W&B \\[the sweep's name].")]


def build(sweep: SweepPath, store: StoreUrl = STORE_URL, results: ResultsPath = None) -> int:
    """Write each trial that has ended, and the report, as offline W&B runs. Sends nothing, repeats nothing."""
    from medsweep.commands import wandb_views
    from medsweep.study import session

    opened = session.open_sweep(sweep, location(store), to="read")
    built = opened.mirror(opened.folder(results))
    typer.echo(wandb_views.mirror_line(built, sweep, store))
    return 1 if built.failed else 0


def push(
    sweep: SweepPath,
    store: StoreUrl = STORE_URL,
    results: ResultsPath = None,
    entity: Entity = None,
    project: Project = None,
) -> int:
    """Build, and upload to W&B what is not there yet. Sends no patient id, no path and no key."""
    from medsweep.commands import wandb_views
    from medsweep.study import session
    from medsweep.tracking.mode import require_key

    require_key()
    opened = session.open_sweep(sweep, location(store), to="read")
    folder = opened.folder(results)
    built = opened.mirror(folder)
    pushed = opened.push(folder, entity, project)
    for line in wandb_views.push_lines(pushed, built):
        typer.echo(line)
    return 1 if pushed.failed or built.failed else 0


def dashboard(  # noqa: PLR0917
    sweep: SweepPath,
    store: StoreUrl = STORE_URL,
    results: ResultsPath = None,
    entity: Entity = None,
    project: Project = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the views as JSON; needs no account.")] = False,
) -> int:
    """Save views of the sweep and a report with its verdicts at W&B, or update those that are there."""
    from medsweep.commands import wandb_views
    from medsweep.study import session
    from medsweep.tracking.dashboard import save_views, write_specs
    from medsweep.tracking.mode import require_key
    from medsweep.tracking.views import import_workspaces

    import_workspaces()
    if not dry_run:
        require_key()
    opened = session.open_sweep(sweep, location(store), to="read")
    folder = opened.folder(results)
    if dry_run:
        typer.echo(f"W&B: views written to {write_specs(opened.dashboard(folder), folder, entity, project)}")
        return 0
    for line in wandb_views.dashboard_lines(save_views(opened.dashboard(folder), folder, entity, project)):
        typer.echo(line)
    return 0
