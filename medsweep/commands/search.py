"""``medsweep best``: what a search has found so far. Composition root.

The command returns its exit code; ``cli`` turns what it raises into one line.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from medsweep.errors import UserError

Command = Callable[..., int]


def register(app: typer.Typer, told_plainly: Callable[[Command], Callable[..., None]]) -> None:
    """Add the command, wrapped in ``told_plainly``, which ends with its exit code."""
    app.command()(told_plainly(best))


def best(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP", help="YAML file of the sweep, with search:.")],
    store: Annotated[
        Path, typer.Option("--store", envvar="MEDSWEEP_STORE", help="Folder of the finished trials.")
    ] = Path("store"),
    results: Annotated[
        Path | None, typer.Option("--results", help="Folder whose search/ gets the history [results/NAME].")
    ] = None,
) -> int:
    """Show the best suggestions of a search, what mattered, and draw its history. Runs nothing."""
    from medsweep.analysis.figures.search import draw_search
    from medsweep.commands import search_views, views
    from medsweep.study import session

    if not store.is_dir():
        raise UserError(f"there is no store {store}; give its folder with --store")
    opened = session.open_sweep(sweep, store)
    search = opened.search
    if search is None:
        raise UserError(f"{sweep} has no search:, so nothing was suggested; medsweep analyse compares its arms")
    state = search.forward()
    if not state.told:
        raise UserError(f"no suggestion of {sweep} has a result yet; medsweep run {sweep} first")
    console = views.stdout()
    if any(told.feasible for told in state.told):
        console.print(search_views.best_table(search, state))
    for line in search_views.sentences(search, state):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    folder = opened.folder(results) / "search"
    objective = search.section.objectives[0]
    label = f"{objective.metric}, {objective.goal}d" + ("" if objective.metric == "hours" else ", validation")
    drawn = draw_search(search_views.history(search, state), label, folder / "history")
    for path in (drawn.png, drawn.svg, drawn.csv):
        typer.echo(path)
    return 0
