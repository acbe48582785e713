"""``medsweep launch``: a sweep file made into what a cluster runs."""

import functools
import inspect
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from medsweep.launch.options import Target, help_of, options_of, typed_options
from medsweep.launch.render import read_launched, render
from medsweep.launch.submit import in_folder, submit, write

Command = Callable[..., int]


def register(app: typer.Typer, told_plainly: Callable[[Command], Callable[..., None]]) -> None:
    """Add the command ``launch`` to ``app``, wrapped in ``told_plainly``, which ends with its exit code."""
    app.command("launch")(told_plainly(_with_options(launch)))


def launch(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP", help="YAML file of the sweep.")],
    target: Annotated[Target, typer.Option(help="What to make files for.")],
    out: Annotated[Path | None, typer.Option(help=escape("Folder of the files [launch/NAME/TARGET]."))] = None,
    submits: Annotated[bool, typer.Option("--submit", help="Hand them to the cluster as well.")] = False,
    **options: Any,
) -> int:
    """Make the files with which a cluster runs a sweep, and say, or run, the command that submits them."""
    # What was not typed is None or an empty list.
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items() if v not in (None, [])}
    launched = read_launched(sweep)
    rendered = render(launched, options_of(target, given))
    folder = out or Path("launch") / launched.name / target.value
    for path in write(rendered, folder):
        typer.echo(path)
    code = 0
    if submits:
        code = submit(rendered, folder)
    else:
        typer.echo(f"submit: {shlex.join(in_folder(rendered.command, rendered, folder))}")
    if rendered.then and code == 0:
        typer.echo(f"then:   {shlex.join(in_folder(rendered.then, rendered, folder))}")
    return code


def _with_options(command: Command) -> Command:
    """``command`` with a typer option in the place of its ``**options`` for each field of any target's options."""
    own = [one for one in inspect.signature(command).parameters.values() if one.kind is not one.VAR_KEYWORD]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, typer.Option(help=escape(help_of(name)), show_default=False)],
        )
        for name, kind in typed_options().items()
    ]

    @functools.wraps(command)
    def typed(**given: Any) -> int:
        """The command, as typer calls it."""
        return command(**given)

    every = [*own, *added]
    typed.__annotations__ = {one.name: one.annotation for one in every} | {"return": int}
    vars(typed)["__signature__"] = inspect.Signature(every, return_annotation=int)
    return typed
