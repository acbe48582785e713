"""``medsweep launch``: a sweep file made into what a cluster runs."""

import functools
import inspect
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from medsweep.commands.options import Command, SweepPath
from medsweep.launch.options import Target, help_of, options_of, typed_options
from medsweep.launch.render import in_folder, read_launched, render, submit, write


def launch(
    sweep: SweepPath,
    target: Annotated[Target, typer.Option(help="What to make files for.")],
    out: Annotated[Path | None, typer.Option(help=escape("Folder of the files [launch/NAME/TARGET]."))] = None,
    submits: Annotated[bool, typer.Option("--submit", help="Hand them to the cluster as well.")] = False,
    **options: Any,
) -> int:
    """Make the files with which a cluster runs a sweep, and say, or run, the command that submits them."""
    from medsweep.study.stages import SCHEMA

    # What was not typed is None or an empty list.
    typed = {
        name: tuple(v) if isinstance(v, list) else v
        for name, v in options.items()
        if v not in (None, []) and v is not False
    }
    launched = read_launched(sweep, SCHEMA)
    rendered = render(launched, options_of(target, typed))
    folder = out or Path("launch") / launched.name / target.value
    for path in write(rendered, folder):
        typer.echo(path)
    code = submit(rendered, folder) if submits else 0
    if not submits:
        typer.echo(f"submit: {shlex.join(in_folder(rendered.command, rendered, folder))}")
    if rendered.then and code == 0:
        typer.echo(f"then:   {shlex.join(in_folder(rendered.then, rendered, folder))}")
    if rendered.last and code == 0:
        down = shlex.join(in_folder(rendered.last, rendered, folder))
        typer.echo(f"at the end: {down}  gives the machines back, which cost until then")
    return code


def with_options(command: Command) -> Command:
    """``command`` with a typer option in the place of its ``**options`` for each field of any target's options."""
    parameters = inspect.signature(command).parameters.values()
    own = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
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
    def called(**values: Any) -> int:
        """The command, as typer calls it."""
        return command(**values)

    # Typer builds the command line from the annotations and the signature of what it is given.
    options = [*own, *added]
    called.__annotations__ = {option.name: option.annotation for option in options} | {"return": int}
    vars(called)["__signature__"] = inspect.Signature(options, return_annotation=int)
    return called
