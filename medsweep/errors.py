"""Errors a user can mend: one line that says what, the value seen, where, and what to do."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Shown without a traceback; the command ends with exit code 2."""


def meant_by(name: str, known: Iterable[str]) -> str:
    """``did you mean 'seed'?``, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, sorted(set(known)), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause naming the known name closest to ``name``, or listing a few where none is close.

    >>> nearest("sed", ["seed", "fold"])
    "did you mean 'seed'?"
    """
    names = sorted(set(known))
    if meant := meant_by(name, names):
        return meant
    if not names:
        return "there is none to choose from"
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"known: {listed}"
