"""``medsweep explain`` and ``schema``: what a sweep file may say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medsweep.commands.prose import say
from medsweep.files import write_atomic

if TYPE_CHECKING:
    from medsweep.fields import FieldInFull


def explain(
    name: Annotated[str, typer.Argument(metavar="FIELD", help="A field or a section: gan.kimg, segment, replicates.")],
) -> int:
    """Say what a field of a sweep file means, what it takes, and which stages a change of it runs again."""
    from medsweep.commands import views
    from medsweep.study.fields import looked_up

    console = views.stdout()
    fields = looked_up(name)
    for field in fields:
        console.print(field.name, style="bold", highlight=False)
        say(f"  {field.meaning.replace('``', '')}")
        if not field.is_section:
            say(f"  {_facts(field)}")
    return 0


def schema(
    out: Annotated[Path | None, typer.Option(help="File to write to, instead of the terminal.")] = None,
) -> int:
    """Write the JSON Schema of a sweep file, with which editors check and complete it."""
    from medsweep.study.schema import schema_text

    if out is None:
        typer.echo(schema_text(), nl=False)
        return 0
    write_atomic(out, schema_text())
    typer.echo(f"{out}; let a sweep file begin with: # yaml-language-server: $schema={out}")
    return 0


def _facts(field: "FieldInFull") -> str:
    from medsweep.study.fields import read_by

    unit = f", in {field.unit}" if field.unit else ""
    default = "required" if field.default == "required" else f"default {field.default or 'as its own fields'}"
    return f"{default}; {field.takes.replace('`', '')}{unit}; read by {read_by(field)}"
