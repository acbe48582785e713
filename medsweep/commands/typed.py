"""Commands as a user types them here: what was typed, and what to type next."""

import shlex
import shutil
import sys
from pathlib import Path

NAME = "medsweep"


def program() -> str:
    """The words that start medsweep in this terminal: its name where the shell finds it, else its path.

    A program that was started by its path, as ``make demo`` does, is not what the shell finds by its name.
    """
    started = Path(sys.argv[0])
    found = shutil.which(NAME)
    if started.name == "__main__.py" and started.parent.name == NAME:
        return NAME if _beside_python(found) else f"{shlex.quote(_from_here(Path(sys.executable)))} -m {NAME}"
    if started.name != NAME or (found is not None and Path(found).resolve() == started.resolve()):
        return NAME
    return shlex.quote(_from_here(started))


def typed(*words: object) -> str:
    """A command of medsweep with these words, as it is typed here."""
    return " ".join([program(), shlex.join(map(str, words))])


def companion(name: str) -> str:
    """Another program of the same installation, as it is started here."""
    return name if shutil.which(name) else shlex.quote(_from_here(Path(sys.executable).parent / name))


def command_line() -> str:
    """The command at hand, for the report and for trying again."""
    return typed(*sys.argv[1:])


def _beside_python(found: str | None) -> bool:
    return found is not None and Path(found).parent == Path(sys.executable).parent


def _from_here(path: Path) -> str:
    """Relative where it lies below the folder at hand."""
    whole = path.absolute()
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else str(whole)
