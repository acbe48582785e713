"""The docstrings below the fields of a config class: what each field means, read from the source where it is asked for.

Pydantic can read them itself, and does so whenever a class is made, which is in every command for a hundred classes.
"""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Mapping
from functools import cache

from pydantic import BaseModel


def meaning(model: type[BaseModel], name: str) -> str:
    """The docstring of the field ``name``, of the class that declares it last; empty where there is none."""
    owner = next((one for one in model.__mro__ if name in inspect.get_annotations(one)), model)
    return _docstrings(owner).get(name, "")


@cache
def _docstrings(model: type) -> Mapping[str, str]:
    """The docstrings in the body of one class; none where its source is not at hand."""
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):
        return {}
    (body,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(body, ast.ClassDef)
    return {
        line.target.id: inspect.cleandoc(below.value.value)
        for line, below in itertools.pairwise(body.body)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }
