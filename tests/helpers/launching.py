"""A sweep to launch, its rendered files, and stand-ins for the programs that take them."""

from pathlib import Path
from typing import Any

from medsweep.launch.options import Target, options_of
from medsweep.launch.render import LaunchedSweep, Rendered, read_launched, render
from medsweep.study.stages import SCHEMA

ROOT = Path(__file__).parents[2]
QUICKSTART = Path("sweeps/quickstart.yaml")
NASTY = 'it\'s a "$HOME" `id`; a\\b'


def launched(**changes: Any) -> LaunchedSweep:
    one = read_launched(QUICKSTART, SCHEMA)
    return LaunchedSweep(**{**vars(one), **changes})


def rendered(target: str, sweep: LaunchedSweep | None = None, **given: Any) -> Rendered:
    return render(sweep or launched(), options_of(Target(target), given))


def only(files: Rendered) -> str:
    (text,) = files.files.values()
    return text


def program(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)
