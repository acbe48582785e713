"""``medsweep analyse``: statistics and report of what is published, of one sweep or of several together.

Composition root; the command returns its exit code, and ``cli`` turns what it raises into one line.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from medsweep.errors import UserError

if TYPE_CHECKING:
    from medsweep.analysis.report.page import Format

Command = Callable[..., int]


def register(app: typer.Typer, told_plainly: Callable[[Command], Callable[..., None]]) -> None:
    """Add the command, wrapped in ``told_plainly``, which ends with its exit code."""
    app.command()(told_plainly(analyse))


def analyse(
    sweeps: Annotated[
        list[Path], typer.Argument(metavar="SWEEP...", help="YAML files of sweeps; several ask the same of other data.")
    ],
    store: Annotated[
        Path, typer.Option("--store", envvar="MEDSWEEP_STORE", help="Folder of the finished trials.")
    ] = Path("store"),
    results: Annotated[
        Path | None, typer.Option("--results", help="Folder for tables and report [results/NAME; of several, results].")
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="html, markdown or latex; may be repeated [html].")
    ] = None,
) -> int:
    """Make tables, statistics and the report from what is published; of several sweeps also what they say together."""
    from medsweep.analysis.report.page import checked
    from medsweep.commands.views import command_line
    from medsweep.study import report as answer
    from medsweep.study import session

    checked(formats or ["html"])
    chosen = cast("list[Format]", formats or ["html"])
    if not store.is_dir():
        raise UserError(f"there is no store {store}; give its folder with --store")
    opened = [session.open_sweep(path, store) for path in sweeps]
    _refuse_twice([one.sweep.name for one in opened])
    made = []
    for one in opened:
        folder = results / one.sweep.name if results is not None and len(opened) > 1 else results
        made.append(found := one.answer(folder, None, command_line(), chosen))
        for line in (found.headline, *found.verdicts):
            typer.echo(line)
        typer.echo(f"report: {found.path}")
    if len(opened) > 1:
        questions = list(dict.fromkeys(one.sweep.file.question for one in opened))
        folder = (results or Path("results")) / answer.ACROSS
        analyses = [one.analysis for one in made]
        path = answer.make_across(analyses, questions, folder, store=store, command=command_line(), formats=chosen)
        typer.echo(f"report: {path}")
    return 0


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"two of the files are sweeps called {twice[0]!r}; give each sweep once, or one a name of its own"
        )
