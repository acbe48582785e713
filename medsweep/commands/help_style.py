"""How ``--help`` looks: an option without a value shows no kind of value, and an argument stands bare."""

from typing import Any, TypeVar

from typer.core import TyperCommand, TyperGroup, TyperOption

P = TypeVar("P", bound=list[Any])
BRACES = str.maketrans("", "", "{}")


def _without_kinds(params: P) -> P:
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


class PlainCommand(TyperCommand):
    """A verb."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All arguments and options; flags with nothing in the column of kinds."""
        return _without_kinds(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line."""
        return [piece.translate(BRACES) for piece in super().collect_usage_pieces(ctx)]


class PlainGroup(TyperGroup):
    """A group of verbs."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As that of a verb."""
        return _without_kinds(super().get_params(ctx))
