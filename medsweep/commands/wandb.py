"""``medsweep wandb build`` and ``push``: a sweep as runs of W&B, made from the store."""

import typer

from medsweep.commands.options import STORE, StorePath, SweepPath, require_store


def build(sweep: SweepPath, store: StorePath = STORE) -> int:
    """Write each trial that has ended as an offline W&B run. Sends nothing, and leaves what is there already."""
    from medsweep.commands import wandb_views
    from medsweep.study import session

    require_store(store)
    built = session.open_sweep(sweep, store, to="read").mirror()
    typer.echo(wandb_views.mirror_line(built, sweep, store))
    return 1 if built.failed else 0
