"""``medsweep explain``: what a field of a sweep file means."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medsweep.fields import FieldInFull


def explain(
    name: Annotated[str, typer.Argument(metavar="FIELD", help="A field or a section: gan.kimg, segment, replicates.")],
) -> int:
    """Say what a field of a sweep file means, what it takes, and which stages a change of it runs again."""
    from medsweep.commands import views
    from medsweep.study.fields import looked_up

    console = views.stdout()
    found = looked_up(name)
    for field in found:
        console.print(field.name, style="bold", highlight=False)
        console.print(f"  {field.meaning.replace('``', '')}", highlight=False, soft_wrap=True)
        if not field.is_section:
            console.print(f"  {_facts(field)}", highlight=False, soft_wrap=True, style="dim")
    return 0


def _facts(field: "FieldInFull") -> str:
    from medsweep.study.fields import read_by

    unit = f", in {field.unit}" if field.unit else ""
    default = "required" if field.default == "required" else f"default {field.default or 'as its own fields'}"
    return f"{default}; {field.takes.replace('`', '')}{unit}; read by {read_by(field)}"
