"""Arguments and options that several commands take."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from medsweep.errors import UserError

Command = Callable[..., int]
"""A command; it returns its exit code, and ``cli`` turns what it raises into one line."""

SweepPath = Annotated[
    Path, typer.Argument(metavar="SWEEP", help="YAML file of a sweep, or the name of one that medsweep brings along.")
]
StorePath = Annotated[Path, typer.Option("--store", envvar="MEDSWEEP_STORE", help="Folder of the finished trials.")]
ResultsPath = Annotated[Path | None, typer.Option("--results", help="Folder for tables and report \\[results/NAME].")]
Rehash = Annotated[bool, typer.Option("--rehash", help="Read all data files anew, whatever is remembered of them.")]
STORE: Final = Path("store")


def require_store(store: Path) -> None:
    """Refuse a store that is not there: a mistyped path must not become a new, empty store.

    Raises:
        UserError: there is no such folder.
    """
    if not store.is_dir():
        raise UserError(f"there is no store {store}; give its folder with --store")
