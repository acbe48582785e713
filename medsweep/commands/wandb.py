"""``medsweep wandb build`` and ``push``: a sweep as runs of W&B, made from the store."""

import typer

from medsweep.commands.options import STORE, ResultsPath, StorePath, SweepPath, require_store


def build(sweep: SweepPath, store: StorePath = STORE, results: ResultsPath = None) -> int:
    """Write each trial that has ended, and the report, as offline W&B runs. Sends nothing, repeats nothing."""
    from medsweep.commands import wandb_views
    from medsweep.study import session

    require_store(store)
    opened = session.open_sweep(sweep, store, to="read")
    built = opened.mirror(opened.folder(results))
    typer.echo(wandb_views.mirror_line(built, sweep, store))
    return 1 if built.failed else 0
