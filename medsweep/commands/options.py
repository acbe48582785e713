"""Arguments and options that several commands take."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from medsweep.errors import UserError

Command = Callable[..., int]
"""A command; it returns its exit code, and ``cli`` turns what it raises into one line."""

SweepPath = Annotated[
    Path, typer.Argument(metavar="SWEEP", help="YAML file of a sweep, or the name of one that medsweep brings along.")
]
StoreUrl = Annotated[
    str,
    typer.Option(
        "--store", envvar="MEDSWEEP_STORE", help="Folder of the finished trials, or a bucket: s3://, gs:// or az://."
    ),
]
ResultsPath = Annotated[Path | None, typer.Option("--results", help="Folder for tables and report \\[results/NAME].")]
Rehash = Annotated[bool, typer.Option("--rehash", help="Read all data files anew, whatever is remembered of them.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
WandbMode = Annotated[
    Literal["offline", "online", "disabled"] | None, typer.Option(help="W&B mode \\[offline unless logged in].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
STORE_URL: Final = "store"
ROOM: Final = 2**20
"""Bytes that a folder for results must take: a small report with its tables."""


def require_folder(folder: Path, name: str) -> None:
    """Refuse a folder for what a command makes if nothing can be written there, before hours are spent on making it.

    Raises:
        UserError: a file stands in its place, it cannot be written, or its disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".medsweep-") as probe:
            probe.write(bytes(ROOM))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        where = folder if error.filename is None else error.filename
        text = f"--{name} {folder} cannot take what is made: {error.strerror} ({where})"
        raise UserError(f"{text}; free the path or its disk, or give another folder") from None
