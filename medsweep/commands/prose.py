"""Sentences for a terminal, which fold between words there, and stay one line each in a pipe."""

import shutil
import sys
import textwrap


def say(text: str, *, err: bool = False) -> None:
    """Print sentences, one a line, to standard output or standard error. What is to be copied is printed otherwise."""
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        columns = shutil.get_terminal_size().columns
        text = "\n".join(folded(line, columns) for line in text.splitlines())
    # not typer.echo, which writes UTF-8 to terminals that know ASCII alone
    stream.write(f"{text}\n")
    stream.flush()


def folded(line: str, columns: int) -> str:
    """The line in lines of at most ``columns``, as far as its words allow; what begins deeper in goes on there.

    >>> folded("    two words", 10)
    '    two\\n    words'
    """
    inset = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(line, columns, subsequent_indent=inset, break_long_words=False, break_on_hyphens=False) or line
