"""How ``--help`` looks: an option without a value shows no kind of value, and an argument stands bare."""

from typing import Any

from typer import Context
from typer.core import TyperCommand, TyperGroup, TyperOption

BRACES = str.maketrans("", "", "{}")


class _Plain:
    """The look, for a class of commands that comes after it."""

    def get_params(self, ctx: Context) -> list[Any]:
        """All arguments and options; flags with nothing in the column of kinds."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if isinstance(param, TyperOption) and param.is_flag:
                param.metavar = ""
        return params

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """The words of the usage line."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.translate(BRACES) for piece in pieces]


class PlainCommand(_Plain, TyperCommand):
    """A verb."""


class PlainGroup(_Plain, TyperGroup):
    """A group of verbs."""
