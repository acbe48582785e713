"""``medsweep wandb build`` and ``push``: a sweep as runs of W&B, made from the store."""

from typing import Annotated

import typer

from medsweep.commands.options import STORE, ResultsPath, StorePath, SweepPath


def build(sweep: SweepPath, store: StorePath = STORE, results: ResultsPath = None) -> int:
    """Write each trial that has ended, and the report, as offline W&B runs. Sends nothing, repeats nothing."""
    from medsweep.commands import wandb_views
    from medsweep.study import session

    opened = session.open_sweep(sweep, store, to="read")
    built = opened.mirror(opened.folder(results))
    typer.echo(wandb_views.mirror_line(built, sweep, store))
    return 1 if built.failed else 0


def push(
    sweep: SweepPath,
    store: StorePath = STORE,
    results: ResultsPath = None,
    entity: Annotated[str | None, typer.Option(help="User or team at W&B \\[the default of who is logged in].")] = None,
    project: Annotated[str | None, typer.Option(help="Project at W&B \\[the sweep's name].")] = None,
) -> int:
    """Build, and upload to W&B what is not there yet. Sends no patient id, no path and no key."""
    from medsweep.commands import wandb_views
    from medsweep.study import session
    from medsweep.tracking.mode import require_key

    require_key()
    opened = session.open_sweep(sweep, store, to="read")
    built = opened.mirror(opened.folder(results))
    pushed = opened.push(entity, project)
    for line in wandb_views.push_lines(pushed, built):
        typer.echo(line)
    return 1 if pushed.failed or built.failed else 0
