"""Errors a user can mend: one line that says what, the value seen, where, and what to do."""

import difflib
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

SHOWN: Final = 10
"""Mistakes of a file that are told at a time."""
ELSEWHERE: Final = {
    "architecture": "network",
    "epochs": "steps",
    "folder": "root",
    "image_size": "resolution",
    "img_size": "resolution",
    "iterations": "steps",
    "max_epochs": "steps",
    "metric": "primary",
    "model": "network",
    "path": "root",
}
"""What other programs call a field."""


class UserError(ValueError):
    """Shown without a traceback; the command ends with exit code 2."""

    @property
    def lines(self) -> tuple[str, ...]:
        """A line per mistake."""
        return (str(self),)


class SeveralError(UserError):
    """Several mistakes of one file, a line each, of which the first ten are told."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = tuple(dict.fromkeys(lines))
        rest = len(self._lines) - SHOWN
        super().__init__("\n".join([*self._lines[:SHOWN], *([f"... and {rest} more"] if rest > 0 else [])]))

    @property
    def lines(self) -> tuple[str, ...]:
        """A line per mistake, however many."""
        return self._lines

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return SeveralError, (self._lines,)


class Mistakes:
    """What is wrong with one file, gathered so that it can be mended in one go."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Keep the user error that ends the block, and go on after it."""
        try:
            yield
        except UserError as error:
            self.add(error)

    def add(self, error: UserError) -> None:
        """Keep a user error that was not raised."""
        self.lines += error.lines

    def raise_any(self) -> None:
        """Raise what was gathered, if there is anything."""
        if len(set(self.lines)) == 1:
            raise UserError(self.lines[0])
        if self.lines:
            raise SeveralError(self.lines)


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


def nearest_field(name: str, here: Iterable[str], elsewhere: Iterable[str] = ()) -> str:
    """As ``nearest`` for dotted fields, which may have been written into the wrong section.

    A name of the same last part, ``here`` or ``elsewhere``, is taken for meant before what other programs call it,
    then before what it may stand for, and last one that is merely similar.

    >>> nearest_field("count", ["gan.kimg", "synthesise.count"])
    "did you mean 'synthesise.count'?"
    >>> nearest_field("lr", ["segment.steps", "segment.learning_rate"])
    "did you mean 'segment.learning_rate'?"
    """
    own = list(dict.fromkeys(here))
    all_fields = list(dict.fromkeys([*own, *elsewhere]))
    if close := difflib.get_close_matches(name, own, n=1, cutoff=0.8):
        return f"did you mean {close[0]!r}?"
    last = _last(name)
    for is_meant, fields in itertools.product((_is_same, _is_other_word, _is_short), (own, all_fields)):
        if same := [field for field in fields if is_meant(last, _last(field))]:
            shown = sorted(same, key=lambda field: field.count("."))[:3]
            return f"did you mean {' or '.join(map(repr, shown))}?"
    if meant := meant_by(name, own):
        return meant
    similar = difflib.get_close_matches(last, map(_last, all_fields), n=1, cutoff=0.75)
    return f"did you mean {next(f for f in all_fields if _last(f) == similar[0])!r}?" if similar else nearest(name, own)


def _last(field: str) -> str:
    return field.rsplit(".", 1)[-1]


def _is_same(name: str, field: str) -> bool:
    return name == field


def _is_other_word(name: str, field: str) -> bool:
    return ELSEWHERE.get(name) == field


def _is_short(name: str, field: str) -> bool:
    """Whether a name is a field's first letters or the initials of its words: ``aug``, ``lr``."""
    return (len(name) >= 3 and field.startswith(name)) or ("_" in field and name == _initials(field))


def _initials(field: str) -> str:
    return "".join(word[:1] for word in field.split("_"))
